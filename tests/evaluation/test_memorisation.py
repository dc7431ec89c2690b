"""Copies are found, fresh draws are not accused; classes and modes are counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from genai_cli.evaluation import memorisation as memorisation_room
from genai_cli.evaluation.memorisation import (
    area_interval,
    closest,
    memorisation,
    nearest,
    nearest_of,
)
from genai_cli.evaluation.modes import class_shares, modes


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nearest_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    x, reference = (
        torch.tensor([[0.0, 0], [5, 5], [9, 1]]),
        torch.tensor([[3.0, 4], [9, 9], [9, 0]]),
    )
    for part in (1, 2, 10**6):
        monkeypatch.setattr(memorisation_room, "TILE", (part, part))
        found = nearest(x, reference)
        assert found.index.tolist() == [0, 0, 2]
        assert found.distance.tolist() == pytest.approx([5, math.sqrt(5), 1])


def test_wide_rows_give_the_distances_of_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    x, reference = normal(60, 3, 7, 7) + 100, normal(170, 3, 7, 7, seed=1) + 100
    reference[[3, 90]] = x[:2]  # copies, one of them twice
    reference[120] = x[0]
    d = torch.cdist(x.flatten(1), reference.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    for tile in ((7, 16), (512, 4096), (60, 3)):
        monkeypatch.setattr(memorisation_room, "TILE", tile)
        found = nearest(x, reference)
        torch.testing.assert_close(found.distance, d.amin(1), rtol=1e-12, atol=1e-12)
        assert found.index[:2].tolist() == [3, 90]  # of equals the first
        assert (found.index == d.argmin(1)).all()


def test_copies_are_found() -> None:
    train, test = normal(300, 1, 6, 6), normal(100, 1, 6, 6, seed=1)
    copies = train[:50] + 0.01 * normal(50, 1, 6, 6, seed=2)
    found = memorisation(copies, train, test)
    assert found.p < 1e-10
    assert found.closer == 1
    pairs = closest(found.near)
    assert len(pairs) == 8
    assert (pairs[:, 0] == pairs[:, 1]).all()  # a copy's nearest is its source
    near = found.near.distance[pairs[:, 0]]
    assert (near.diff() >= 0).all()
    assert near[0] == found.near.distance.min()


def test_nearest_of_images_is_brute_forces_and_of_a_copy_is_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memorisation_room, "TILE", (3, 7))
    train = normal(50, 3, 4, 5) + 1000  # a large mean costs no digits
    x = torch.cat([normal(20, 3, 4, 5, seed=1) + 1000, train[[3, 49]]])
    found = nearest_of(x, train.split(11))
    d = (x[:, None] - train).flatten(2).square().sum(2).sqrt()
    assert torch.equal(found.index, d.argmin(1))
    torch.testing.assert_close(found.distance, d.amin(1), rtol=1e-9, atol=0)
    assert (found.distance[-2:] == 0).all()


@pytest.mark.parametrize(("area", "n", "m"), [(1.0, 12, 12), (0.0, 10, 3), (0.96, 12, 12)])
def test_the_interval_has_a_width_and_stays_within_0_and_1(area: float, n: int, m: int) -> None:
    low, high = area_interval(area, n, m)
    assert 0 <= low <= area <= high <= 1
    assert high - low > 0.1
    mirrored = area_interval(1 - area, m, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_the_interval_holds_a_share_near_one() -> None:
    """DeLong's holds it in 75 of 100."""
    rng, held = np.random.default_rng(0), 0
    true = 0.5 * math.erfc(-2.5 / 2)
    for _ in range(300):
        ours, theirs = rng.normal(size=12) - 2.5, rng.normal(size=12)
        area = (ours[:, None] < theirs).mean()
        low, high = area_interval(area, 12, 12)
        held += low <= true <= high
    assert held >= 276


def test_a_few_copies_among_fresh_samples_lead_the_pairs() -> None:
    train, test = normal(300, 10), normal(200, 10, seed=1)
    samples = torch.cat([normal(100, 10, seed=2), train[[7, 250]]])
    found = memorisation(samples, train, test)
    assert closest(found.near, 3)[:2].tolist() == [[100, 7], [101, 250]]
    assert found.p > 0.05  # two of 102 do not shift a distribution: hence the pairs


def test_fresh_draws_are_accused_as_often_as_the_level_says() -> None:
    train, below = normal(200, 5), 0
    for seed in range(200):
        p = memorisation(normal(50, 5, seed=1 + seed), train, normal(50, 5, seed=1000 + seed)).p
        below += p < 0.05
    assert 2 <= below <= 22  # 10 expected; sd 3, and one training set for all


def test_held_out_distances_may_be_given() -> None:
    samples, train, test = normal(60, 4), normal(90, 4, seed=1), normal(40, 4, seed=2)
    a, b = (memorisation(samples, train, t) for t in (test, nearest(test, train)))
    assert (a.p, a.closer, a.low, a.high) == (b.p, b.closer, b.low, b.high)


def test_the_interval_holds_one_half_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(300):
        train = normal(400, 3, seed=9000 + seed)
        found = memorisation(normal(80, 3, seed=seed), train, normal(60, 3, seed=1000 + seed))
        assert found.low < found.closer < found.high
        held += found.low <= 0.5 <= found.high
    assert 273 <= held <= 297  # 285 expected; sd 3.8


def test_far_samples_are_no_copies() -> None:
    found = memorisation(normal(50, 3, seed=2) + 9, normal(100, 3), normal(50, 3, seed=1))
    assert found.p > 0.999
    assert found.closer < 0.01


def test_class_shares() -> None:
    assert class_shares(torch.tensor([0, 2, 2, 2]), 4).tolist() == [0.25, 0, 0.75, 0]
    with pytest.raises(ValueError, match="0 … 1"):
        class_shares(torch.tensor([0, 2]), 2)


def test_modes_by_hand() -> None:
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    points = torch.tensor([[0.1, 0], [0, 0.1], [10, 0.2], [10.5, 0], [5, 5], [0, 0]])
    found = modes(points, centres, radius=0.3, least=2)
    assert found.hits.tolist() == [3, 1, 0]
    assert found.covered == 1
    assert found.inside == pytest.approx(4 / 6)


def test_modes_of_the_mixture_itself() -> None:
    angle = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    centres = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    points = centres[torch.arange(20000) % 8] + 0.02 * normal(20000, 2)
    found = modes(points, centres, radius=0.06)
    assert found.covered == 8
    assert found.inside == pytest.approx(1 - math.exp(-4.5), abs=0.003)
