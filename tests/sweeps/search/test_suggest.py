"""Where the next trial is placed: a function of the trials so far, better than chance."""

from __future__ import annotations

import math
import statistics

import pytest

from genai_cli.store.trials import FAILED, FINISHED, PRUNED, RUNNING, Trial
from genai_cli.sweeps.search.space import Dimension, Space
from genai_cli.sweeps.search.suggest import suggest
from genai_cli.sweeps.settings import Sweep

SPACE = Space(
    (
        Dimension("lr", low=1e-5, high=1e-1, log=True),
        Dimension("k", low=2.0, high=32.0, step=1.0, whole=True),
        Dimension("act", choices=("relu", "silu")),
    ),
    (),
)
TPE = Sweep(search="tpe", startup=5)


def cost(values: dict[str, str]) -> float:
    """Least at lr = 1e-3, k = 20, silu."""
    far = math.log10(float(values["lr"])) + 3
    return far**2 + ((int(values["k"]) - 20) / 10) ** 2 + (values["act"] == "relu")


def searched(sweep: Sweep, number: int) -> list[Trial]:
    trials: list[Trial] = []
    while len(trials) < number:
        values = suggest(SPACE, sweep, trials)
        assert values is not None
        trials.append(Trial("", values, FINISHED, {1: cost(values)}, cost(values)))
    return trials


def test_the_trials_so_far_say_where_the_next_one_is() -> None:
    pytest.importorskip("optuna")
    trials = searched(TPE, 9)
    assert suggest(SPACE, TPE, trials[:7]) == trials[7].values  # also in another process, later
    other = [t._replace(cost=-t.cost) for t in trials[:7]]
    assert suggest(SPACE, TPE, other) != trials[7].values
    assert suggest(SPACE, Sweep(search="tpe", seed=1), trials[:7]) != trials[7].values


def test_the_first_trials_are_those_of_a_random_search() -> None:
    random = searched(Sweep(search="random"), 5)
    assert [t.values for t in searched(TPE, 5)] == [t.values for t in random]


def test_tpe_ends_nearer_to_the_best_than_random() -> None:
    pytest.importorskip("optuna")
    late = {}
    for kind in ("tpe", "random"):
        costs = []
        for seed in range(3):
            trials = searched(Sweep(search=kind, seed=seed), 25)
            costs += [t.cost for t in trials[15:]]
        late[kind] = statistics.median(costs)
    assert late["tpe"] < 0.5 * late["random"]


def test_tpe_leaves_a_region_that_fails_or_is_pruned() -> None:
    pytest.importorskip("optuna")
    for state in (FAILED, PRUNED):
        trials: list[Trial] = []
        while len(trials) < 25:
            values = suggest(SPACE, TPE, trials)
            assert values is not None
            if float(values["lr"]) > 1e-3:
                curve = {1: 9.0} if state == PRUNED else {}
                trials.append(Trial("", values, state, curve))
            else:
                trials.append(Trial("", values, FINISHED, {1: 1.0, 2: 0.5}, 0.5))
        late = [float(t.values["lr"]) > 1e-3 for t in trials[12:]]
        assert sum(late) < 0.35 * len(late)  # half of the space


def test_several_at_once_are_not_placed_on_one_spot() -> None:
    pytest.importorskip("optuna")
    trials = searched(TPE, 8)
    for _ in range(4):
        values = suggest(SPACE, TPE, trials)
        assert values is not None
        trials.append(Trial("", values, RUNNING))
    assert len({t.values["lr"] for t in trials[8:]}) == 4


def test_a_small_space_is_searched_to_its_end_without_a_repetition() -> None:
    space = Space((Dimension("a", choices=("p", "q")), Dimension("b", choices=("x", "y"))), ())
    for kind in ("random", "tpe"):
        if kind == "tpe":
            pytest.importorskip("optuna")
        trials: list[Trial] = []
        while (values := suggest(space, Sweep(search=kind, startup=2), trials)) is not None:
            trials.append(Trial("", values, FINISHED, {1: 0.0}, 0.0))
        assert len(trials) == len({str(t.values) for t in trials}) == 4
