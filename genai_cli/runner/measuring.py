"""Evaluate a trained run on its test split, diagnose it and draw its figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.doctor import at_end as doctor
from genai_cli.doctor.finding import Finding
from genai_cli.evaluation import evidence, summary
from genai_cli.evaluation.budget import Budget
from genai_cli.runner.console import Reporter
from genai_cli.runner.progress import Meter
from genai_cli.store import run_folder
from genai_cli.store.run_folder import MeasuredPart
from genai_cli.system.preemption import Signals
from genai_cli.training import checkpoint
from genai_cli.training.finite import check_finite
from genai_cli.training.loop import finish
from genai_cli.training.state import Training

LONG = 2.0  # seconds of measuring that are worth a line


class FinalResults(NamedTuple):
    """The metrics, diagnoses and figures of a finished run."""

    metrics: dict[str, dict[str, Any]]
    evidence: dict[str, float]
    findings: list[Finding]
    files: list[Path]


def measure(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    state: Training,
    report: Reporter,
    budget: Budget,
    signals: Signals,
    meter: Meter,
) -> FinalResults | None:
    """Compute the metrics and figures that `lifecycle.finalize` writes; None beyond rank 0.

    Nothing of it is in run.json or summary.json yet, and every figure is renamed when it is whole:
    it may be left at any moment.
    """
    rows = run_folder.read_metrics(folder)
    averaged = rows[-1].get("val/loss", math.nan) if rows else math.nan
    seen = evidence.unaveraged_loss(state, data, cfg.seed, cfg.precision, averaged)
    folder_of = checkpoint.named(folder / run_folder.CHECKPOINTS, "best")
    checkpoint.load_weights(folder_of, state.model, ema=state.ema is not None)
    state.model.eval()
    state.model.step.fill_(state.step)
    finish(state.model, data)
    player = {"ema": state.ema is not None, "checkpoint": folder_of.name}

    def stage(name: str, total: int, each: int = 1) -> Callable[[int], None]:
        advance = meter.stage(name, total)

        def tick(n: int) -> None:
            signals.check()
            advance(each * n)

        return tick

    def test(part: MeasuredPart, seconds: float) -> Callable[[int], None]:
        whole = MeasuredPart(len(data.test), state.model.test_draws)
        if seconds > LONG or part != whole:
            about = f", about {seconds:.0f} s" if seconds > LONG else ""
            report.line(f"measuring {amount(part, whole)}{about}")
        return stage("test split", part.n * part.draws, state.ranks.world)

    metrics, extra = summary.metrics(state.model, data, cfg, player, state.ranks, budget, test)
    check_finite(
        {f"test/{name.removeprefix('test/')}": entry["value"] for name, entry in metrics.items()}
        | {"epoch": state.epoch, "step": state.step}
    )
    if not state.ranks.first:
        return None
    seen |= evidence.measure(state.model, data, cfg.seed)
    findings = doctor.at_the_end(folder, metrics, seen, report.log)
    from genai_cli.evaluation import run_figures  # matplotlib: not before the first step

    about = folder, state.model, data, cfg, extra, state.best_epoch, doctor.note(findings)
    files = run_figures.draw(*about, budget.left, lambda total: stage("figures", total))
    return FinalResults(metrics, seen, findings, files)


def amount(part: MeasuredPart, whole: MeasuredPart) -> str:
    """Describe in words how much of a test split is measured."""
    few = f"{part.n:,} of " if part.n < whole.n else ""
    draws = f", {part.draws} of {whole.draws} noises each" if part.draws < whole.draws else ""
    return f"{few}{whole.n:,} test examples{draws}"
