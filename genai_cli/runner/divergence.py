"""Find the step at which a run diverged by repeating the steps since its last checkpoint.

A run is a function of its seed and the step, so they end where they ended before.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.store import labels, run_folder
from genai_cli.training import checkpoint, finite
from genai_cli.training.divergence import blackbox
from genai_cli.training.divergence.ranges import BEHIND
from genai_cli.training.finite import Diverged
from genai_cli.training.loop import calibrate, draw_step_inputs, evaluate, evaluation_terms, train
from genai_cli.training.progress import epoch_row, is_best
from genai_cli.training.schedule import LRSchedule
from genai_cli.training.snapshot import Snapshot, snapshot
from genai_cli.training.state import Training
from genai_cli.training.step_kinds.make import make_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HINT = "try a smaller optimizer.lr or trainer.clip=1"
MAX_EXAMPLES = 8  # examples that a line names


class Incident(NamedTuple):
    """A non-finite number: the error to report and the step in which it appeared."""

    error: Diverged  # in one line, with what to type
    step: int | None  # before which all was well; None: no step was found
    stopped: bool = False  # by a signal, before one was found


class _Stopped(Exception):
    """A signal came."""


def investigate(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    kind: str,
    state: Training,
    error: Diverged,
) -> Incident:
    """Find the first bad step and write its black box; of several ranks all call it.

    Args:
        folder: the run; its checkpoints are whole and finite.
        cfg, data: its own, on ``device``.
        kind: of its steps.
        state: as it was when ``error`` was noticed; it is taken back, for there may be no room
            for a second one.
        error: what was noticed.
    """
    try:
        before = _before_the_first(folder, state, cfg, data, device, kind)
        if before is None:
            return Incident(Diverged(f"{error}; {_elsewhere(state, cfg, data, error)}"), None)
        if not state.ranks.first:
            return Incident(error, before.step)
        report = _box(folder, state, cfg, data, kind, before)
    except _Stopped:
        advice = f"the search for its step was cut short: genai resume {labels.address(folder)}"
        return Incident(Diverged(f"{error}; {advice}, or {HINT}"), None, stopped=True)
    except Exception as other:  # no second failure hides the first
        message = " ".join(str(other).split())[:120]
        return Incident(
            Diverged(f"{error}; {HINT} (no black box: {type(other).__name__}: {message})"), None
        )
    return Incident(Diverged(_format_incident(folder, report, error)), before.step)


def _take_back(folder: Path, state: Training, cfg: TrainConfig) -> None:
    """Make ``state`` that of the newest checkpoint, as a run that is resumed gets it."""
    state.schedule = LRSchedule(cfg.schedule)
    state.best, state.best_epoch, state.best_step = math.inf, 0, 0
    checkpoint.load(folder / run_folder.CHECKPOINTS, state)


def _before_the_first(
    folder: Path,
    state: Training,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    kind: str,
) -> Snapshot | None:
    """The state before the first step after which something is not finite; None: there is none.

    A copy of every state would cost as much as its step: so the steps are taken once to find the
    number, and once more up to it.

    Raises:
        _Stopped: by a signal.
    """
    reached = state.step
    _take_back(folder, state, cfg)
    good = state.step
    try:
        for now in _again(state, cfg, data, device, kind, reached):
            good = now.step
        return None
    except Diverged:
        _take_back(folder, state, cfg)
    if state.step < good:
        try:
            next(n for n in _again(state, cfg, data, device, kind, reached) if n.step == good)
        except Diverged:  # earlier than just now
            return None
    return snapshot(state)


def _again(
    state: Training, cfg: TrainConfig, data: Dataset, device: torch.device, kind: str, reached: int
) -> Iterator[Training]:
    """``state`` after each of its steps before number ``reached``, all of them looked at.

    Raises:
        Diverged: something in it is not finite.
        _Stopped: by a signal.
    """
    step = make_step(kind if kind in ("compiled", "graph") else "eager", state, cfg, device)
    for now in train(state, data, cfg, device, step):
        finite.check(now)
        if now.step >= reached:
            return
        if now.ranks.stop():
            raise _Stopped
        if now.at_epoch_end and cfg.schedule["name"] == "plateau":  # its rate follows these
            with now.averaged():
                calibrate(now, data, cfg.seed)
                val = evaluate(now, data.val, cfg.seed, "validation", cfg.precision)
            is_best(now, epoch_row(now, val), cfg)
        yield now


def _box(
    folder: Path,
    run: Training,
    cfg: TrainConfig,
    data: Dataset,
    kind: str,
    before: Snapshot,
) -> dict[str, Any]:
    """The black box of the step after ``before``, where ``run`` stands; its report."""
    run.model.train()
    order = data.order(cfg.seed, run.epoch)
    rows = order.split(cfg.batch_size)[run.step % run.steps_per_epoch]
    batch = data.train.batch(rows)
    batch, noise = draw_step_inputs(run, data, cfg, batch, len(rows), slice(0, len(rows)))
    facts = {
        "epoch": run.epoch + 1,
        "step": run.step + 1,
        "steps_per_epoch": run.steps_per_epoch,
        "step_kind": kind,
        "cuts": list(run.cuts),
        "batch_rows": rows.tolist(),
    }
    return blackbox.write(folder, cfg, data.spec, before, batch, noise, facts)


def _format_incident(folder: Path, report: dict[str, Any], error: Diverged) -> str:
    """The one line: what, when, whose, where, and what to type."""
    replay = f"look at it: genai replay {labels.address(folder)}; {HINT}"
    step = f"in epoch {report['epoch']} (step {report['step']})"
    if not report["reproduced"]:
        return f"{error}; taken again alone, {step.removeprefix('in ')} stays finite; {replay}"
    player, term, value = report["player"], report["term"], report["value"]
    whose = "" if player == "model" else f" of the {player}"
    if term == "gradient":
        return f"a gradient{whose} became {value} {step}, first in {report['layer']}; {replay}"
    if term == "update":
        return f"{report['layer']} became {value} {step}, in its update; {replay}"
    name = f"train/{term}" if player == "model" else f"train/{player}/{term}"
    rows = report["rows"]
    where = report["layer"] if report["layer"] == BEHIND else f"in {report['layer']}"
    whom = "all examples" if len(rows) == len(report["batch_rows"]) else _examples(rows)
    return f"{name} became {value} {step}, first {where}, for {whom}; {replay}"


def _examples(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - MAX_EXAMPLES} more" if len(rows) > MAX_EXAMPLES else ""
    plural = "s" if len(rows) > 1 else ""
    return f"training example{plural} {', '.join(map(str, rows[:MAX_EXAMPLES]))}{more}"


def _elsewhere(state: Training, cfg: TrainConfig, data: Dataset, error: Diverged) -> str:
    """What to say where every training step is finite."""
    if str(error).startswith("test/"):
        return f"every training step is finite; {HINT}"
    if str(error).startswith("val/"):
        with state.averaged(), torch.no_grad():
            start = 0
            terms = evaluation_terms(state.model, data.val, cfg.seed, "validation", cfg.precision)
            for values in terms:
                fine = torch.stack([v.isfinite() for v in values.values()]).all(0)
                if not fine.all():
                    at = [start + i for i in (~fine).nonzero().flatten().tolist()]
                    named = _examples(at).replace("training", "validation")
                    return f"every training step is finite, but not the loss of {named}; {HINT}"
                start += len(fine)
    return f"taken again, every step is finite: this device does not repeat itself; {HINT}"
