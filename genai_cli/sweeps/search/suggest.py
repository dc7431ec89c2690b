"""Suggest the next trial as a function of the space, the seed and the trials so far.

Optuna's study is made anew from the run folders for every trial, so there is no state to save: a
search that was killed places the trials that the undisturbed one would have placed.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence
from typing import Any

from genai_cli.errors import UserError
from genai_cli.rng import derive_seed
from genai_cli.store.trials import ENDED, FAILED, FINISHED, PRUNED, Trial
from genai_cli.sweeps.search.space import Dimension, Space, sample_lattice
from genai_cli.sweeps.settings import Sweep

MAX_TRIES = 50  # suggestions that were tried before, after which there is nothing new


def check(sweep: Sweep) -> None:
    """Raise UserError if the search is tpe and Optuna is not installed."""
    if sweep.search == "tpe" and importlib.util.find_spec("optuna") is None:
        raise UserError(
            "sweep.search=tpe needs Optuna: pip install 'genai-cli[optuna]'; "
            "sweep=random needs nothing"
        )


def suggest(space: Space, sweep: Sweep, trials: Sequence[Trial]) -> dict[str, str] | None:
    """Suggest the values of the next trial, unlike all before; None if there are no new ones.

    Args:
        space: what to choose from.
        sweep: how.
        trials: all so far, in order; those without an end yet are taken for bad ones, so that
            several are not placed on one spot.
    """
    before = {tuple(sorted(t.values.items())) for t in trials}
    startup = sweep.search == "random" or len(trials) < sweep.startup
    for attempt in range(0 if startup else MAX_TRIES):
        seed = derive_seed(sweep.seed, "trial", len(trials) + (attempt << 32))
        values = _suggest_tpe(space, sweep, trials, seed % 2**32)
        if tuple(sorted(values.items())) not in before:
            return values
    draws = range(len(trials), len(trials) + MAX_TRIES + 20 * len(before))
    for number in draws:
        values = sample_lattice(space, number, sweep.seed)
        if tuple(sorted(values.items())) not in before:
            return values
    return None


def _suggest_tpe(space: Space, sweep: Sweep, trials: Sequence[Trial], seed: int) -> dict[str, str]:
    """One suggestion of Optuna's tree-structured Parzen estimator."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)  # gamma goes in Optuna 6, and we stay below
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=1,  # ours are in the trials
            multivariate=True,
            constant_liar=True,
            gamma=_count_good_trials,
            seed=seed,
        )
    study = optuna.create_study(direction="minimize", sampler=sampler)
    distributions = {d.key: _to_distribution(d) for d in space.dimensions}
    study.add_trials([_to_frozen_trial(space, distributions, trial) for trial in trials])
    params = study.ask(distributions).params
    return {d.key: d.text(params[d.key]) for d in space.dimensions}


def _count_good_trials(number: int) -> int:
    """Of so many trials those that the next is to be like: a quarter.

    Optuna's tenth is two of twenty. On a bowl with noise in two dimensions, 20 trials, 10 seeds,
    the second ten were at -20.5 with a quarter and at -17.1 with a tenth; its floor is at -22.5.
    """
    return max(1, math.ceil(0.25 * number))


def _to_distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    d = dimension
    if d.choices:
        return CategoricalDistribution(d.choices)
    if d.whole:
        return IntDistribution(int(d.low), int(d.high), log=d.log, step=int(d.step or 1))
    return FloatDistribution(d.low, d.high, log=d.log, step=d.step)


def _to_frozen_trial(space: Space, distributions: dict[str, Any], trial: Trial) -> Any:
    """A trial as Optuna keeps it. One that failed is a pruned one without a value: the worst."""
    from optuna.trial import TrialState, create_trial

    states = {FINISHED: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.PRUNED}
    state = states[trial.state] if trial.state in ENDED else TrialState.RUNNING
    if state == TrialState.COMPLETE and trial.cost is None:  # nothing was monitored
        state = TrialState.PRUNED
    params = {}
    for d in space.dimensions:
        text = trial.values[d.key]
        params[d.key] = text if d.choices else int(text) if d.whole else float(text)
    return create_trial(
        state=state,
        params=params,
        distributions=distributions,
        value=trial.cost if state == TrialState.COMPLETE else None,
        intermediate_values=dict(trial.curve) if trial.state == PRUNED else {},
    )
