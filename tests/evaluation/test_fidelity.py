"""Distances and neighbourhood measures: torch-fidelity, SciPy, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from genai_cli.evaluation import fidelity, pairwise
from genai_cli.evaluation.fidelity import (
    Moments,
    Real,
    Running,
    coverage,
    frechet_distance,
    kernel_distance,
    moments,
    neighbourhoods,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- Fréchet distance


def by_scipy(a: Tensor, b: Tensor) -> float:
    a, b = a.numpy(), b.numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    mean = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return mean + np.trace(first) + np.trace(second) - 2 * np.trace(root).real


def test_moments_are_numpys() -> None:
    x = normal(30, 4)
    found = moments(x)
    assert np.allclose(found.mean, x.numpy().mean(0), rtol=1e-12)
    assert np.allclose(found.covariance, np.cov(x.numpy(), rowvar=False), rtol=1e-12)


@pytest.mark.parametrize("parts", [(30,), (1, 29), (10, 0, 19, 1), (1,) * 30])
def test_running_moments_are_those_of_all(parts: tuple[int, ...]) -> None:
    x = normal(30, 4) + 1e6  # where the sum of squares less the square of sums has 4 digits left
    running = Running(4)
    for part in x.split(list(parts)):
        running.add(part)
    found, expected = running.moments(), moments(x)
    assert torch.allclose(found.mean, expected.mean, rtol=1e-14)
    assert torch.allclose(found.covariance, torch.cov(x.T), rtol=1e-8, atol=1e-8)
    before = found.covariance.clone()
    running.add(100 * normal(50, 4, seed=1))
    assert torch.equal(found.covariance, before)  # what was handed out stays


def test_running_refuses() -> None:
    running = Running(3)
    with pytest.raises(ValueError, match="at least 2 examples, got 0"):
        running.moments()
    with pytest.raises(ValueError, match="4 columns against 3"):
        running.add(normal(5, 4))
    with pytest.raises(ValueError, match="1 of 5 examples hold a number that is not finite"):
        running.add(normal(5, 3).index_fill(0, torch.tensor(2), torch.nan))


@pytest.mark.parametrize("width", [1, 3, 40])
def test_frechet_equals_scipys_matrix_root(width: int) -> None:
    a = normal(200, width) @ normal(width, width, seed=2)
    b = normal(150, width, seed=1) @ normal(width, width, seed=3) + 0.5
    if width > 1:
        assert frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-8)
    else:  # (m₁ − m₂)² + (s₁ − s₂)²
        expected = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
        assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-10)


def test_frechet_of_commuting_covariances_is_the_closed_form() -> None:
    mean, eye = torch.zeros(5, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    turn = torch.linalg.qr(normal(5, 5)).Q
    first, second = torch.arange(1.0, 6.0).double(), torch.tensor([4.0, 0, 9, 1, 2]).double()
    a = Moments(mean, turn @ first.diag() @ turn.T)
    b = Moments(mean + 2, turn @ second.diag() @ turn.T)
    expected = 5 * 4 + (first.sqrt() - second.sqrt()).square().sum()
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-8)  # one is singular
    assert frechet_distance(Moments(mean, eye), Moments(mean, 9 * eye)) == pytest.approx(5 * 4)


def by_singular_values(a: Tensor, b: Tensor) -> float:
    """Tr (C₁ C₂)^½ as the sum of the singular values of R₁ᵀ R₂, C = R Rᵀ: exact for any rank."""

    def root(covariance: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        rounding = values[-1] * len(values) * torch.finfo(values.dtype).eps
        return vectors * torch.where(values > rounding, values, 0.0).sqrt()

    first, second = moments(a), moments(b)
    cross = torch.linalg.svdvals(root(first.covariance).T @ root(second.covariance)).sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return ((first.mean - second.mean).square().sum() + traces - 2 * cross).item()


@pytest.mark.parametrize(("n", "width"), [(200, 40), (100, 128), (20, 100), (2, 30)])
def test_frechet_equals_an_exact_root_and_torch_fidelitys_own(n: int, width: int) -> None:
    a = (normal(n, width) @ normal(width, width, seed=2)).relu()
    b = (normal(n + 7, width, seed=1) + 0.3).relu()
    a[:, :5] = b[:, :3] = 0  # features that are always 0
    found = frechet_distance(a, b)
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-6)
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, (a, b)), verbose=False)
    assert found == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_frechet_of_fewer_examples_than_columns() -> None:
    """Singular covariances: no imaginary part, not below zero, rounding of 1e-7 of the trace."""
    x, shift = normal(20, 100), torch.full((100,), 0.1, dtype=torch.float64)
    room = 1e-7 * moments(x).covariance.trace().item()
    assert 0 <= frechet_distance(x, x) <= room
    assert frechet_distance(x, x + shift) == pytest.approx(1, abs=room)
    assert frechet_distance(torch.ones(5, 3), torch.zeros(4, 3)) == 3  # no variance at all


def test_frechet_takes_moments_symmetric_and_at_any_dtype() -> None:
    a, b = normal(60, 6), normal(70, 6, seed=1) * 2
    value = frechet_distance(a, b)
    assert frechet_distance(moments(a), b) == value
    assert frechet_distance(b, a) == pytest.approx(value, rel=1e-12)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(value, rel=1e-5)


def test_frechet_refuses() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(normal(1, 3), normal(5, 3))
    with pytest.raises(ValueError, match="3 columns against 4"):
        frechet_distance(normal(5, 3), normal(5, 4))
    with pytest.raises(ValueError, match="5 of 5 examples hold a number that is not finite"):
        frechet_distance(normal(5, 3), normal(5, 3) / 0)


# ---- kernel distance


def by_definition(x: Tensor, y: Tensor) -> float:
    """The unbiased MMD² with (x·y/D + 1)³, pair by pair (Gretton et al. 2012, eq. 3)."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    own_x = (kernel(x, x).sum() - kernel(x, x).diagonal().sum()) / (n * (n - 1))
    own_y = (kernel(y, y).sum() - kernel(y, y).diagonal().sum()) / (m * (m - 1))
    return (own_x + own_y - 2 * kernel(x, y).mean()).item()


def test_kernel_distance_of_small_sets_is_the_definition() -> None:
    x, y = normal(60, 7), normal(60, 7, seed=1) * 1.2 + 0.3
    expected = by_definition(x, y)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert kernel_distance(x, y, seed=9) == pytest.approx(expected, rel=1e-12)  # all are in it
    assert kernel_distance(x.float(), y.float()) == pytest.approx(expected, rel=1e-5)


def test_kernel_distance_of_large_sets_is_torch_fidelitys() -> None:
    x, y = normal(1500, 5), normal(1200, 5, seed=1) + 0.1
    found = kernel_distance(x, y, seed=3)
    theirs = kid_features_to_metric(x, y, kid_subsets=20, rng_seed=3, verbose=False)
    assert found == theirs["kernel_inception_distance_mean"]
    assert kernel_distance(x, y, seed=4) != found
    assert found == pytest.approx(by_definition(x, y), rel=0.2)


def test_kernel_distance_is_unbiased_and_sees_a_shift() -> None:
    """Of two sets of one distribution, on average 0 at any n, where a Fréchet distance is not."""
    pairs = [(normal(50, 4, seed=2 * i), normal(50, 4, seed=2 * i + 1)) for i in range(100)]
    values = np.array([kernel_distance(a, b) for a, b in pairs])
    assert abs(values.mean()) < 3 * values.std() / 10
    assert (values < 0).any()
    assert np.mean([frechet_distance(a, b) for a, b in pairs]) > 0.1
    assert np.mean([kernel_distance(a, b + 1) for a, b in pairs]) > 20 * values.std()


def test_kernel_distance_refuses() -> None:
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        kernel_distance(normal(1, 3), normal(5, 3))
    with pytest.raises(ValueError, match="3 columns against 4"):
        kernel_distance(normal(5, 3), normal(5, 4))
    with pytest.raises(ValueError, match="not finite"):
        kernel_distance(normal(5, 3), normal(5, 3) / 0)


# ---- precision, recall, density, coverage


def brute(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, ...]:
    """The definitions, ball by ball."""

    def radii(x: np.ndarray) -> np.ndarray:
        return np.array(
            [
                np.sort(np.linalg.norm(np.delete(x, i, 0) - x[i], axis=1))[k - 1]
                for i in range(len(x))
            ]
        )

    def held(centres: np.ndarray, points: np.ndarray) -> np.ndarray:
        around = radii(centres)
        return np.array(
            [
                [np.linalg.norm(c - p) <= r for p in points]
                for c, r in zip(centres, around, strict=True)
            ]
        )

    in_real, in_fake = held(real, fake), held(fake, real)
    return (
        in_real.any(0).mean(),
        in_fake.any(0).mean(),
        in_real.sum(0).mean() / k,
        in_real.any(1).mean(),
    )


@pytest.mark.parametrize(("width", "k"), [(2, 1), (2, 5), (30, 3)])
def test_equals_the_definitions_ball_by_ball(
    width: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fake = normal(60, width), 0.8 * normal(45, width, seed=1) + 0.3
    expected = brute(real.numpy(), fake.numpy(), k)
    for block in (1, 100, 10**6):
        monkeypatch.setattr(pairwise, "BLOCK", block)
        assert neighbourhoods(real, fake, k) == pytest.approx(expected, abs=1e-12)
        assert coverage(real, fake, k) == pytest.approx(expected[3], abs=1e-12)


@pytest.mark.parametrize("width", [2, 40])
def test_precision_and_recall_are_torch_fidelitys(width: int) -> None:
    real, fake = normal(300, width), 0.9 * normal(250, width, seed=1) + 0.1
    for k in (1, 3, 5):
        theirs = prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
        found = neighbourhoods(real, fake, k)
        assert found.precision == pytest.approx(theirs["precision"], abs=1e-6)
        assert found.recall == pytest.approx(theirs["recall"], abs=1e-6)


def test_balls_of_the_real_set_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, sets = normal(200, 30), [normal(150, 30, seed=seed) for seed in (1, 2)]
    expected = [neighbourhoods(real, fake, 4) for fake in sets]
    once = Real(real, 4)
    reach = fidelity._reach
    monkeypatch.setattr(
        fidelity, "_reach", lambda x, k: pytest.fail("again") if len(x) == 200 else reach(x, k)
    )
    assert [once.against(fake) for fake in sets] == expected
    assert [once.coverage(fake) for fake in sets] == [found.coverage for found in expected]


def test_points_on_the_edge_are_inside_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of 17 grey levels have many equal distances: one rounding must not decide."""
    levels = torch.randint(3, (300, 40), generator=torch.Generator().manual_seed(0)).double() / 16
    real, fake = levels[:160], torch.cat([levels[160:], levels[:20]])
    exact = brute_in_whole_numbers((real * 16).long(), (fake * 16).long(), 5)
    for block in (1, 500, 3333, 10**6):
        monkeypatch.setattr(pairwise, "BLOCK", block)
        assert neighbourhoods(real, fake) == pytest.approx(exact, abs=1e-12)


def brute_in_whole_numbers(real: Tensor, fake: Tensor, k: int) -> tuple[float, ...]:
    def squared(a: Tensor, b: Tensor) -> Tensor:
        return (a[:, None] - b).square().sum(2)

    def reach(x: Tensor) -> Tensor:
        return squared(x, x).sort(1).values[:, k]  # the first is its own

    in_real = squared(real, fake) <= reach(real)[:, None]
    in_fake = squared(fake, real) <= reach(fake)[:, None]
    shares = (in_real.any(0), in_fake.any(0), in_real.sum(0).double() / k, in_real.any(1))
    return tuple(share.double().mean().item() for share in shares)


def test_neighbourhoods_refuse_what_is_not_finite() -> None:
    broken = normal(20, 3).index_fill(0, torch.tensor([2, 7]), torch.inf)
    with pytest.raises(ValueError, match="2 of 20 examples hold a number that is not finite"):
        neighbourhoods(normal(20, 3), broken)
    with pytest.raises(ValueError, match="3 columns against 4"):
        neighbourhoods(normal(20, 3), normal(20, 4))


def test_far_samples_have_nothing_and_copies_everything() -> None:
    real = normal(100, 3)
    assert neighbourhoods(real, real + 100) == (0, 0, 0, 0)
    copied = neighbourhoods(real, real.clone())
    assert (copied.precision, copied.recall, copied.coverage) == (1, 1, 1)
    assert copied.density == pytest.approx(6 / 5)  # in its own k = 5 … and its twin's, on average


def test_one_mode_of_two_halves_coverage_and_keeps_precision() -> None:
    real = torch.cat([normal(500, 2), normal(500, 2, seed=1) + 50])
    found = neighbourhoods(real, normal(1000, 2, seed=2))
    assert found.precision > 0.95
    assert found.density == pytest.approx(1, rel=0.1)  # it does not see what is left out
    assert found.recall < 0.55
    assert 0.45 < found.coverage <= 0.5


def test_fewer_samples_cover_less() -> None:
    real, fake = normal(1000, 2), normal(1000, 2, seed=1)
    assert coverage(real, fake[:1]) < coverage(real, fake[:100]) < coverage(real, fake)


@pytest.mark.parametrize("k", [0, 10])
def test_refuses_a_neighbour_that_is_not_there(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} needs 1 ≤ k < 10"):
        neighbourhoods(normal(10, 2), normal(20, 2), k)


def test_two_sets_of_one_distribution_cover_by_theory() -> None:
    """E coverage = 1 − (n−1)…(n−k) / ((2n−1)…(2n−k)), whatever the distribution."""
    n, k = 1000, 5
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    for width in (1, 8, 100, 1000):
        found = neighbourhoods(normal(n, width), normal(n, width, seed=1), k)
        assert found.coverage == pytest.approx(expected, abs=0.02)  # sd of the mean: about 0.006
        assert found.density == pytest.approx(1, abs=0.15)


@pytest.mark.slow
def test_published_values_of_two_equal_normal_sets() -> None:
    """The README of clovaai/generative-evaluation-prdc: n = 10,000, 1,000 columns, k = 5.

    One draw of each: the mean of the density is 1, a few hubs in so many columns move it.
    """
    found = neighbourhoods(normal(10000, 1000), normal(10000, 1000, seed=1), 5)
    assert found.precision == pytest.approx(0.477, abs=0.02)
    assert found.recall == pytest.approx(0.471, abs=0.02)
    assert found.density == pytest.approx(1.056, abs=0.05)
    assert found.coverage == pytest.approx(0.974, abs=0.01)
