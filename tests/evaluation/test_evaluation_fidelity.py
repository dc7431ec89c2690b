"""Fréchet distance and neighbourhood measures against SciPy, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from genai_cli.evaluation import pairwise
from genai_cli.evaluation.fidelity import (
    Moments,
    coverage,
    frechet_distance,
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
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-10)
    assert frechet_distance(Moments(mean, eye), Moments(mean, 9 * eye)) == pytest.approx(5 * 4)


def test_frechet_of_fewer_examples_than_columns() -> None:
    """Singular covariances: no imaginary part, no noise, zero for equal sets."""
    x, shift = normal(20, 100), torch.full((100,), 0.1, dtype=torch.float64)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + shift) == pytest.approx(1, rel=1e-9)


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
    for width in (1, 8, 100):
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
