"""A classifier's errors raise no alarm, a class that is drawn too seldom does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genai_cli.audit import measure
from genai_cli.audit.shares import (
    among_clear,
    apparent,
    confusion_of,
    difference,
    marks,
    of_counts,
    quantile,
)
from genai_cli.audit.world import RejectingClassifier
from genai_cli.evaluation.reference import ReferenceClassifier

K = 10
TRUE = np.full(K, 0.1)


def rates(right: float = 0.9) -> np.ndarray:
    """(K, K) of a classifier that takes every class for the next where it errs."""
    return right * np.eye(K) + (1 - right) * np.roll(np.eye(K), 1, axis=1)


def drawn(shares: np.ndarray, n: int, rng: np.random.Generator, real: int) -> tuple:
    """(counts of n samples read, confusion of ``real`` examples a class)."""
    read = rng.multinomial(n, shares @ rates())
    return read, np.stack([rng.multinomial(real, row) for row in rates()])


def test_apparent_shares_are_those_of_the_confusion() -> None:
    rare = np.r_[0.01, np.full(9, 0.11)]
    found = apparent(rare, 1000 * rates())
    np.testing.assert_allclose(found.value, rare @ rates())
    assert found.value[0] == pytest.approx(0.02)  # half of what is read as it is another's
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()
    np.testing.assert_array_equal(apparent(np.eye(K)[3], 1000 * np.eye(K)).value, np.eye(K)[3])


def test_a_class_nobody_has_seen_is_taken_to_be_read_rightly() -> None:
    confusion = 50 * np.eye(K)
    confusion[4] = 0
    assert apparent(TRUE, confusion).value[4] == pytest.approx(0.1)


@pytest.mark.parametrize("real", [36, 1000])
@pytest.mark.parametrize("share", [0.1, 0.01, 0.0])
def test_an_unbiased_run_raises_no_alarm(real: int, share: float) -> None:
    rng = np.random.default_rng(0)
    shares = np.r_[share, np.full(9, (1 - share) / 9)]
    runs = [marks(*_drawn_and_read(shares, rng, real)) for _ in range(400)]
    alarms = sum(bool(m.any()) for m in runs)
    assert alarms <= 28  # of 400: 5 % and two standard deviations


def _drawn_and_read(shares: np.ndarray, rng: np.random.Generator, real: int) -> tuple:
    read, confusion = drawn(shares, 2000, rng, real)
    return read, shares, confusion


def test_without_the_confusion_it_would() -> None:
    rng = np.random.default_rng(0)
    rare = np.r_[0.01, np.full(9, 0.11)]
    read, _ = drawn(rare, 2000, rng, 1000)
    assert marks(read, rare, 1000 * np.eye(K))[0] == 1


@pytest.mark.parametrize(("factor", "mark"), [(0.3, -1), (3.0, 1)])
def test_a_class_drawn_too_seldom_or_often_is_marked(factor: float, mark: int) -> None:
    rng = np.random.default_rng(1)
    ours = TRUE.copy()
    ours[4] *= factor
    ours /= ours.sum()
    read, confusion = drawn(ours, 2000, rng, 1000)
    assert marks(read, TRUE, confusion)[4] == mark


def test_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(2)
    rare = np.r_[0.01, np.full(9, 0.11)]
    inside = []
    for _ in range(300):
        _, confusion = drawn(rare, 1, rng, 36)
        found = apparent(rare, confusion)
        inside.append((found.low <= rare @ rates()) & (rare @ rates() <= found.high))
    assert np.mean(inside) > 0.93


def test_the_difference_of_equals_holds_zero() -> None:
    a = of_counts(np.array([30, 70]))
    d = difference(a, a)
    assert (d.low < 0).all()
    assert (d.high > 0).all()
    np.testing.assert_allclose(d.low, -d.high)


def test_unclear_examples_leave_shares_of_the_clear() -> None:
    # class 0 is clear in half of the cases, the others always
    confusion = np.c_[100 * np.eye(K), np.zeros(K)]
    confusion[0, 0], confusion[0, K] = 50, 50
    shares, clear = among_clear(TRUE, confusion)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == pytest.approx(0.05 / 0.95)
    assert clear.shape == (K, K)


def test_the_level_is_shared_among_the_classes() -> None:
    assert quantile(1) == pytest.approx(1.959964)
    assert quantile(10) == pytest.approx(2.807034)


def test_confusions_count() -> None:
    true, read = np.array([0, 0, 1, 2]), np.array([0, 3, 1, 0])
    expected = [[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert confusion_of(true, read, (3, 4)).tolist() == expected


def test_what_is_no_number_is_of_no_clear_class() -> None:
    brighter = ReferenceClassifier(lambda x: 100 * x.flatten(1), 1.0, "")  # of two pixels
    reader = RejectingClassifier(brighter, 0.9)
    images = torch.tensor([[0.0, 1.0], [0.0, torch.nan], [0.0, torch.inf], [1.0, 0.0]])
    spec = SimpleNamespace(unit_interval=True, levels=256)
    world = SimpleNamespace(data=SimpleNamespace(spec=spec))
    stored = measure._as_data(images.view(4, 1, 1, 2), world)
    assert reader(stored).tolist() == [1, 2, 2, 0]
