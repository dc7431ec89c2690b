"""Why a run diverged: the steps since its last checkpoint are taken again, each looked at.

A run is a function of its seed and the step, so they end where they ended before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from genai_cli import outcome, runs
from genai_cli.data.dataset import Dataset
from genai_cli.schema import TrainConfig
from genai_cli.session import epoch_row, is_best
from genai_cli.training import blackbox, checkpoint, finite, setup
from genai_cli.training.distributed import ALONE, Ranks
from genai_cli.training.finite import Diverged
from genai_cli.training.loop import Training, calibrate, drawn, evaluate, evaluation_terms, train
from genai_cli.training.randomness import permutation
from genai_cli.training.ranges import BEHIND
from genai_cli.training.snapshot import Snapshot, snapshot
from genai_cli.training.step import make_step

if TYPE_CHECKING:
    from collections.abc import Sequence

HINT = "try a smaller optimizer.lr or trainer.clip=1"
SHOWN = 8  # examples that a line names


class Incident(NamedTuple):
    """What is known of a number that is not finite."""

    error: Diverged  # in one line, with what to type
    step: int | None  # before which all was well; None: no step was found


def investigate(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    kind: str,
    reached: int,
    error: Diverged,
    cuts: Sequence[int] = (),
    ranks: Ranks = ALONE,
) -> Incident:
    """Find the first bad step and write its black box; of several ranks all call it.

    Args:
        folder: the run; its checkpoints are whole and finite.
        cfg, data: its own, on ``device``.
        kind: of its steps.
        reached: the steps it had done when ``error`` was noticed.
        error: what was noticed.
        cuts: of its rate, see rollback.py.
        ranks: that train it.
    """
    try:
        state = _restored(folder, cfg, data, device, cuts, ranks)
        before = _before_the_first(state, cfg, data, device, kind, reached)
        if before is None:
            return Incident(Diverged(f"{error}; {_elsewhere(state, cfg, data, error)}"), None)
        if not ranks.first:
            return Incident(error, before.step)
        report = _box(folder, cfg, data, device, kind, before, cuts)
    except Exception as other:  # no second failure hides the first
        said = " ".join(str(other).split())[:120]
        return Incident(
            Diverged(f"{error}; {HINT} (no black box: {type(other).__name__}: {said})"), None
        )
    return Incident(Diverged(_told(folder, report, error)), before.step)


def _restored(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    cuts: Sequence[int],
    ranks: Ranks,
) -> Training:
    state = setup.new_training(cfg, data, device, resume=True)
    checkpoint.load(folder / runs.CHECKPOINTS, state)
    state.ranks, state.cuts = ranks, tuple(cuts)
    return state


def _before_the_first(
    state: Training,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    kind: str,
    reached: int,
) -> Snapshot | None:
    """The state before the first step after which something is not finite; None: there is none."""
    step = make_step(kind if kind in ("compiled", "graph") else "eager", state, cfg, device)
    before = snapshot(state)
    try:
        for now in train(state, data, cfg, device, step):
            finite.check(now)
            if now.step >= reached or now.ranks.stop():
                return None
            if now.at_epoch_end and cfg.schedule["name"] == "plateau":  # its rate follows these
                with now.averaged():
                    calibrate(now, data, cfg.seed)
                    val = evaluate(now, data.val, cfg.seed, "validation", cfg.precision)
                is_best(now, epoch_row(now, val), cfg)
            before = snapshot(now)
    except Diverged:
        return before
    return None


def _box(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    kind: str,
    before: Snapshot,
    cuts: Sequence[int],
) -> dict[str, Any]:
    """The black box of the step after ``before``; its report."""
    run = setup.new_training(cfg, data, device, resume=True)
    run.model.train()
    run.step = before.step
    order = permutation(len(data.train), cfg.seed, run.epoch)
    rows = order.split(cfg.batch_size)[run.step % run.steps_per_epoch]
    batch = data.train.batch(rows)
    batch, noise = drawn(run, data, cfg, batch, len(rows), slice(0, len(rows)))
    facts = {
        "epoch": run.epoch + 1,
        "step": run.step + 1,
        "steps_per_epoch": run.steps_per_epoch,
        "step_kind": kind,
        "cuts": list(cuts),
        "batch_rows": rows.tolist(),
    }
    return blackbox.write(folder, cfg, data.spec, before, batch, noise, facts)


def _told(folder: Path, report: dict[str, Any], error: Diverged) -> str:
    """The one line: what, when, whose, where, and what to type."""
    replay = f"look at it: genai replay {outcome.reference(folder)}; {HINT}"
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
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    plural = "s" if len(rows) > 1 else ""
    return f"training example{plural} {', '.join(map(str, rows[:SHOWN]))}{more}"


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
