"""Energy distance against brute force and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genai_cli.evaluation import pairwise
from genai_cli.evaluation.energy import energy_distance, mean_distance


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute(x: Tensor, y: Tensor) -> float:
    """Σ |xᵢ − yⱼ| / (nm), one pair at a time."""
    return sum(math.dist(a, b) for a in x.tolist() for b in y.tolist()) / (len(x) * len(y))


@pytest.mark.parametrize("width", [1, 2, 5, pairwise.NARROW, pairwise.NARROW + 1, 64])
def test_equals_brute_force_whatever_the_block(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(37, width), normal(23, width, seed=1) * 2 + 1
    expected = 2 * brute(x, y) - brute(x, x) - brute(y, y)
    for block in (1, 50, 10**6):
        monkeypatch.setattr(pairwise, "BLOCK", block)
        assert energy_distance(x, y) == pytest.approx(expected, rel=1e-7)


def test_two_points_by_hand() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])
    # E|X−Y| = 5/2, E|X−X'| = 1/2 (the pairs with itself count), E|Y−Y'| = 0
    assert mean_distance(x, y) == 2.5
    assert energy_distance(x, y) == 4.5


def test_of_normal_points_is_the_closed_form() -> None:
    """E|N(m, 2)| is known, so is the distance of N(0, 1) and N(m, 1)."""
    shift, n = 1.5, 4000
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]
    folded = 2 / math.sqrt(math.pi) * math.exp(-(shift**2) / 4) + shift * math.erf(shift / 2)
    expected = 2 * folded - 2 * 2 / math.sqrt(math.pi)
    assert energy_distance(quantiles, quantiles + shift) == pytest.approx(expected, rel=1e-3)


def test_one_distribution_reads_the_bias_of_the_v_statistic() -> None:
    n = 500
    values = [
        energy_distance(normal(n, 1, seed=2 * i), normal(n, 1, seed=2 * i + 1)) for i in range(100)
    ]
    assert sum(values) / 100 == pytest.approx(2 / n * 2 / math.sqrt(math.pi), rel=0.2)


def test_is_zero_only_for_equal_sets_and_symmetric() -> None:
    x, y = normal(50, 3), normal(60, 3, seed=1)
    assert energy_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert energy_distance(x, y) == pytest.approx(energy_distance(y, x)) != 0
    assert energy_distance(x, y + 10) > energy_distance(x, y + 5) > energy_distance(x, y) > 0


def test_images_and_large_means_lose_no_digits() -> None:
    x, y = normal(40, 1, 5, 5), normal(40, 1, 5, 5, seed=1)
    assert energy_distance(x + 1e6, y + 1e6) == pytest.approx(energy_distance(x, y), rel=1e-6)


def test_refuses_what_does_not_compare() -> None:
    with pytest.raises(ValueError, match="2 columns against 3"):
        energy_distance(normal(4, 2), normal(4, 3))
    with pytest.raises(ValueError, match="both sides"):
        energy_distance(normal(4, 2), normal(0, 2))


def test_each_pair_is_measured_once_and_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 points of the plane are 3 · 10⁸ distances, which no memory is to hold at once."""
    sizes: list[int] = []
    cdist = torch.cdist

    def counting(x: Tensor, y: Tensor, **how: object) -> Tensor:
        sizes.append(len(x) * len(y))
        return cdist(x, y, **how)

    monkeypatch.setattr(torch, "cdist", counting)
    monkeypatch.setattr(pairwise, "BLOCK", 20_000)
    value = energy_distance(normal(1000, 2), normal(800, 2, seed=1))
    assert sum(sizes) == 1000 * 800 + 1000**2 + 800**2
    assert max(sizes) <= 20_000
    assert 1e-4 < value < 2e-2
