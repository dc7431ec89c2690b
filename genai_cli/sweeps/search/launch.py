"""Run a search (``sweep=tpe``, random, halving): a sweep whose next cells depend on results.

The folder is that of any sweep. A round is: read what the folders say, choose what comes next,
write it, hand it to the launcher. So a search that was killed goes on by doing the next round.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genai_cli.config import compose, schema, validation
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers import start as launchers
from genai_cli.launchers.settings import Launcher
from genai_cli.runner.prepare import Prepared
from genai_cli.store import run_folder
from genai_cli.store import sweep_table as folders
from genai_cli.store.sweep_table import read
from genai_cli.store.trials import FINISHED, PRUNED, Goal, Trial, Trials, best
from genai_cli.sweeps.asked import write_manifest
from genai_cli.sweeps.cells import sweep_lock, sync_cells
from genai_cli.sweeps.left import begin_cells, inspect_cells
from genai_cli.sweeps.mend import repair_cells
from genai_cli.sweeps.search import suggest
from genai_cli.sweeps.search.halving import HalvingSearch
from genai_cli.sweeps.search.importance import measure_importance
from genai_cli.sweeps.search.placed import SequentialSearch
from genai_cli.sweeps.settings import Sweep
from genai_cli.system.preemption import Signals
from genai_cli.system.text import format_number


def launch(line: compose.CommandLine, command: str, sweep: Sweep, launcher: Launcher) -> int:
    """Run a whole search, from the command line to its table, and return the sweep's exit code.

    Raises:
        UserError: a mistake, before anything is written.
    """
    search = _make_search(line, sweep, launcher)
    prepared = search.prepare()
    goal = derive_goal(prepared)
    launchers.check(launcher, [p.cfg for p in prepared])
    config = prepared[0].cfg
    folder = run_folder.claim(run_folder.outputs_root(config.outputs), config.name or "sweep")
    asked = {
        "schema": run_folder.SCHEMA,
        "command": command,
        "varied": search.varied,
        "launcher": dataclasses.asdict(launcher),
        "sweep": dataclasses.asdict(sweep),
        "goal": goal._asdict(),
        "line": {"overrides": line.overrides, "config_dirs": line.config_dirs},
        "best": None,
        "left_out": [],
        "cells": [],
    }
    with Signals() as signals, sweep_lock(folder):
        search.begin(folder, asked, prepared)
        print(f"sweep  {folder}: {search.summary}", flush=True)
        return _run_rounds(folder, asked, search, launcher, signals)


def plan_cells(
    line: compose.CommandLine, sweep: Sweep, launcher: Launcher
) -> tuple[list[tuple[compose.ComposedCell, Prepared]], str]:
    """Return the cells to measure for `genai plan`, and a description of what they stand for."""
    search = _make_search(line, sweep, launcher)
    prepared = search.prepare()
    derive_goal(prepared)
    cells = search.cells
    if isinstance(search, SequentialSearch):
        description = (
            f"{search.summary}; planned are the {len(cells)} corners of its space, each one trial"
        )
    else:
        description = f"{search.summary}; planned are all to the last rung, which few will reach"
    return list(zip(cells, prepared, strict=True)), description


def resume(folder: Path, launcher: Launcher, signals: Signals) -> int:
    """Resume a search: first the cells that did not end, then the rounds still to come.

    Args:
        folder: a sweep whose sweep.yaml has a search.
        launcher: the launcher, which may be another one than before.
        signals: what the caller listens with.

    Raises:
        UserError: sweep.yaml is damaged, or the YAML files have changed since the search began.
    """
    with sweep_lock(folder):
        return _resume(folder, launcher, signals)


def _resume(folder: Path, launcher: Launcher, signals: Signals) -> int:
    asked = read(folder)
    try:
        sweep = Sweep(**asked["sweep"])
        given = asked["line"]
        line = compose.CommandLine(given["overrides"], True, given["config_dirs"], [], [], [])
        goal = Goal(**asked["goal"])
    except (KeyError, TypeError):
        raise UserError(f"{folder / run_folder.SWEEP} is damaged") from None
    search = _make_search(line, sweep, launcher)
    search.resume(folder, asked)
    trials = Trials(folder, goal).read(asked["cells"], asked["varied"])
    again = [folder / t.name for t in trials if t.state not in (FINISHED, PRUNED)]
    _refuse_busy(folder, again)
    mended = repair_cells(folder, asked, asked["cells"], launcher, search.first, search.now)
    if again:
        begin_cells(folder, inspect_cells(again, mended), len(asked["cells"]))
    return _run_rounds(folder, asked, search, launcher, signals, again)


def _make_search(
    line: compose.CommandLine, sweep: Sweep, launcher: Launcher
) -> HalvingSearch | SequentialSearch:
    suggest.check(sweep)
    if not getattr(launcher, "wait", True):
        raise UserError(
            "hydra.launcher.wait=false: a search has to see how its runs end; use wait=true"
        )
    return (HalvingSearch if sweep.search == "halving" else SequentialSearch)(line, sweep, launcher)


def derive_goal(prepared: Sequence[Prepared]) -> Goal:
    """Return the goal of the search: the monitor, which must be comparable in all cells.

    Raises:
        UserError: nothing is monitored, or numbers that cannot be compared are.
    """
    from genai_cli.models.build import model_class

    first = prepared[0].cfg
    monitor = first.monitor
    if monitor is None:
        raise UserError(
            "a search follows the monitor; set monitor=val/loss (gan: val/generator/loss)"
        )
    for key, of in (
        ("monitor", lambda c: c.monitor),
        ("loss", lambda c: c.loss),
        ("dataset", lambda c: c.dataset),
        ("split_seed", lambda c: c.split_seed),
        ("model.beta", lambda c: c.model.get("beta")),
        ("model.free_bits", lambda c: c.model.get("free_bits")),
    ):
        if len({repr(of(p.cfg)) for p in prepared}) > 1:
            reason = f"{monitor} of one cell is then no better or worse than that of another"
            if key.startswith("model.") and not monitor.endswith("/loss"):
                continue
            more = "; set monitor=val/reconstruction" if key.startswith("model.") else ""
            raise UserError(f"a search cannot vary {key}: {reason}{more}")
    higher_is_better = model_class(first.model["name"]).higher_is_better
    return Goal(monitor, monitor.rpartition("/")[2] in higher_is_better)


def _run_rounds(
    folder: Path,
    asked: dict[str, Any],
    search: HalvingSearch | SequentialSearch,
    launcher: Launcher,
    signals: Signals,
    again: Sequence[Path] = (),
) -> int:
    """Rounds until there is nothing left, or a signal; then the table, the figure, the best.

    The first is that of the cells in ``again``, which did not end before.
    """
    goal = Goal(**asked["goal"])
    trials = Trials(folder, goal)
    now: Callable[[], list[Trial]] = lambda: trials.read(asked["cells"], asked["varied"])  # noqa: E731
    _train(folder, again, launcher, signals, {})
    while not signals.code:
        jobs, data = search.next(folder, asked, now())
        if not jobs:
            break
        for cell in jobs:
            trials.ended.pop(cell.name, None)
        _train(folder, jobs, launcher, signals, data)
        _record_best(folder, asked, now(), goal)
    return _finalize(folder, asked, now(), goal, signals)


def _train(
    folder: Path,
    cells: Sequence[Path],
    launcher: Launcher,
    signals: Signals,
    data: dict[Path, Dataset],
) -> None:
    """As `sweeps.launch.train`, without its last words."""
    if not cells:
        return
    folders.write_table(folder)
    elsewhere = False
    try:
        with folders.keep_current(folder):
            elsewhere = launchers.start(folder, [[c] for c in cells], launcher, signals, data)
    finally:  # a second Ctrl-C comes through here, too
        if not elsewhere:
            sync_cells(cells, launcher.name != "slurm")
        folders.write_table(folder)
    if elsewhere and not signals.code:  # nothing can be decided without them
        raise _queued_error(folder)


def _refuse_busy(folder: Path, cells: Sequence[Path]) -> None:
    """Raises UserError where somebody else trains one of these cells: what comes next hangs on how
    it ends."""
    queued = launchers.list_queued(folder)
    if any(cell.resolve() in queued for cell in cells):
        raise _queued_error(folder)
    for cell in cells:
        if run_folder.is_training(cell):
            raise UserError(
                f"{cell} is being trained by another process; when it has ended go on with: "
                f"genai sweep resume {folder}"
            )


def _queued_error(folder: Path) -> UserError:
    return UserError(
        f"trials of {folder} are still in Slurm's queue; when they are over go on with: "
        f"genai sweep resume {folder}"
    )


def _record_best(folder: Path, asked: dict[str, Any], trials: list[Trial], goal: Goal) -> None:
    best_trial = best(trials)
    if best_trial is not None and best_trial.cost is not None:
        asked["best"] = {
            "cell": best_trial.name,
            "value": goal.cost(best_trial.cost),
            "epoch": best_trial.epoch,
            "values": dict(best_trial.values),
        }
    write_manifest(folder, asked)


def _finalize(
    folder: Path, asked: dict[str, Any], trials: list[Trial], goal: Goal, signals: Signals
) -> int:
    from genai_cli.figures import style
    from genai_cli.sweeps.search.figure import plot_search

    _record_best(folder, asked, trials, goal)
    folders.write_table(folder)
    if signals.code:
        print(f"search interrupted; go on with: genai sweep resume {folder}")
    print(f"\n{folders.summary(folder)}")
    failed = sum(t.state == "failed" for t in trials)
    if failed:
        print(f"genai train: {failed} of {len(trials)} runs failed", file=sys.stderr)
    if asked["left_out"]:
        print(f"{len(asked['left_out'])} could not be built: see {folder / run_folder.SWEEP}")
    best_entry = asked["best"]
    if best_entry:
        values = " ".join(f"{k}={v}" for k, v in best_entry["values"].items())
        print(
            f"best   {best_entry['cell']}: {goal.column} {format_number(best_entry['value'])} "
            f"in epoch {best_entry['epoch']}, {values}"
        )
        pruned = sum(t.state == "pruned" for t in trials)
        steps = sum(t.steps for t in trials)
        print(f"       {len(trials)} trials, {pruned} of them pruned, {steps:,} steps in all")
        for share in measure_importance(trials, asked["varied"]):
            print(f"       {share.key}: {share.summary}")
        config = schema.flatten(run_folder.read_config(folder / best_entry["cell"]))
        with style.output(**validation.figure_settings({}, [config])):
            plot_search(folder / "search.png", asked, trials, goal)
    print(f"sweep  {folder}")
    return signals.code or int(failed > 0)
