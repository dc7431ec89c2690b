"""Intervals hold the truth as often as they say, for few examples too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from genai_cli.evaluation import intervals
from genai_cli.evaluation.intervals import bootstrap, of_means, over_sets, wilson

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [2, 4, 10, 25])
def test_of_few_examples(n: int) -> None:
    """A plain percentile bootstrap holds 54, 81, 91 and 92 of 100."""
    draws = np.random.default_rng(n)
    held = 0
    for seed in range(10):
        columns = {f"mse {i}": draws.normal(3, 1, n) for i in range(50)}
        for mean, low, high in of_means(columns, seed).values():
            assert low < mean < high
            held += low <= 3 <= high
    assert 0.92 <= held / 500 <= 0.98


def test_one_example_has_none() -> None:
    assert of_means({"mse": np.array([2.0])}) == {"mse": (2.0, None, None)}


def test_bootstrap_of_many_is_the_normal_interval_of_each_column() -> None:
    values = RNG.normal(size=(2000, 2)) * [1, 10]
    low, high = bootstrap(values)
    half = 1.96 * values.std(0, ddof=1) / math.sqrt(2000)
    np.testing.assert_allclose(high - low, 2 * half, rtol=0.1)
    np.testing.assert_allclose((low + high) / 2, values.mean(0), atol=0.2 * half.max())
    assert np.array_equal(bootstrap(values), [low, high])


@pytest.mark.parametrize(
    ("n", "share"), [pytest.param(360, 0.997, marks=pytest.mark.slow), (360, 0.985), (40, 0.95)]
)
def test_of_a_share_of_right_answers(n: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bootstrap holds 66, 89 and 88 of 100: where all are right it has no width."""
    monkeypatch.setattr(intervals, "RESAMPLES", 2)  # a share takes none of them
    held = 0
    draws = np.random.default_rng(n)
    for _ in range(200):
        right = (draws.random(n) < share).astype(float)
        mean, low, high = of_means({"accuracy": right})["accuracy"]
        assert 0 <= low <= mean <= high <= 1
        held += low <= share <= high
    assert held / 200 > 0.92
    (_, low, high) = of_means({"accuracy": np.ones(n)})["accuracy"]
    assert low < 1 - 1 / n
    assert high == 1


def test_wilson_intervals_are_the_published_ones() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    share, n = np.array([81 / 263, 15 / 148, 0, 1 / 29]), np.array([263, 148, 20, 29])
    low, high = wilson(share, n)
    assert np.allclose(low, [0.2553, 0.0624, 0.0, 0.0061], atol=1e-4)
    assert np.allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=1e-4)


def test_over_sets_is_students_t() -> None:
    values = [0.2, 0.5, 0.1, 0.9, 0.4]
    found = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert over_sets(values) == pytest.approx((np.mean(values), *found))
    assert over_sets([3.0]) == (3.0, None, None)


def test_over_sets_stays_where_the_number_can_be() -> None:
    mean, low, high = over_sets([0.0, 0.0, 0.0, 0.0, 1.0], 0.0, 1.0)
    assert (low, mean) == (0.0, 0.2)
    assert 0.7 < high < 1
