"""Which keys mattered: by hand, on a bowl, and on nothing at all."""

from __future__ import annotations

import numpy as np
import pytest

from genai_cli.store.trials import FAILED, FINISHED, Trial
from genai_cli.sweeps.search.importance import group_values, measure_importance


def trials(cost, n: int = 20, seed: int = 0) -> list[Trial]:
    """Trials in a space of a rate, a width, words and a share."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(n):
        rate, width = 10 ** draw.uniform(-4, -1), int(draw.integers(2, 33))
        word, share = str(draw.choice(["relu", "tanh"])), draw.uniform()
        value = cost(np.log10(rate), width, word, draw.normal())
        values = {"rate": repr(rate), "width": str(width), "word": word, "share": repr(share)}
        found.append(Trial(str(i), values, FINISHED, {}, value))
    return found


KEYS = ["width", "rate", "word", "share"]


@pytest.mark.parametrize("seed", range(4))
def test_the_key_that_counts_is_told_from_the_others(seed: int) -> None:
    bowl = trials(lambda rate, width, word, e: 4 * (rate + 2.5) ** 2 + 0.1 * e, seed=seed)
    found = measure_importance(bowl, KEYS)
    assert [one.key for one in found if one.counts] == ["rate"]
    assert found[0].key == "rate"
    assert 0.5 < found[0].share <= 1.0
    assert found[0].summary.startswith("explains ")
    assert found[1].summary == "not told apart from chance"


def test_of_nothing_no_key_counts() -> None:
    counted = [
        one
        for seed in range(40)
        for one in measure_importance(trials(lambda *a: a[3], seed=seed), KEYS)
        if one.counts
    ]
    assert len(counted) <= 5  # 2 are expected of 40 searches at 5 %


def test_a_trial_that_diverged_is_one_rank_and_one_that_failed_the_worst() -> None:
    known = trials(lambda rate, width, word, e: 4 * (rate + 2.5) ** 2)
    before = measure_importance(known, KEYS)
    worst = max(range(20), key=lambda i: known[i].cost)
    known[worst] = known[worst]._replace(cost=1e30)
    assert measure_importance(known, KEYS) == before
    known[worst] = known[worst]._replace(cost=None, state=FAILED)
    assert measure_importance(known, KEYS) == before


def test_the_share_by_hand() -> None:
    """Two groups of four, wholly apart: H = 12/(8·9) · (10²/4 + 26²/4) - 3·9 = 16/3."""
    values = [("a", c) for c in (1, 2, 3, 4)] + [("b", c) for c in (5, 6, 7, 8)]
    found = measure_importance(
        [Trial("", {"k": k}, FINISHED, {}, float(c)) for k, c in values], ["k"]
    )
    assert found[0].share == pytest.approx((16 / 3 - 1) / 6)
    assert found[0].counts


def test_too_few_trials_say_nothing() -> None:
    assert measure_importance(trials(lambda rate, *a: rate, n=7), KEYS) == []
    assert measure_importance(trials(lambda *a: 1.0), KEYS) == []


def test_groups_of_neighbours_never_part_equals() -> None:
    assert group_values(["b", "a", "b"]) == [1, 0, 1]
    assert group_values(["1e-3", "1e-2", "0.001"]) == [0, 1, 0]
    many = group_values([str(v) for v in [1, 1, 1, 1, 1, 2, 3, 4, 5, 6]])
    assert len(set(many[:5])) == 1
    assert many == sorted(many)
    assert set(many) == set(range(max(many) + 1))
