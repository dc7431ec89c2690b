"""Write the header, the summary and the status of a run at its start and its end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from genai_cli.config import ranks
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.doctor import at_end as doctor
from genai_cli.evaluation.budget import Budget, of_training
from genai_cli.models.summary import layers
from genai_cli.rng import generator
from genai_cli.runner.console import Reporter
from genai_cli.runner.measuring import FinalResults, amount, measure
from genai_cli.runner.progress import Meter
from genai_cli.store import run_folder
from genai_cli.store.labels import address
from genai_cli.store.run_folder import MeasuredPart, measured_part
from genai_cli.system import atomic_write, disk_errors
from genai_cli.system.preemption import Interrupted, Signals
from genai_cli.system.text import format_number, format_table
from genai_cli.training.distributed import SINGLE_RANK, PeerLost, Ranks, claim_error_report
from genai_cli.training.finite import Diverged
from genai_cli.training.state import Training

LONGEST = 600  # characters of an error on stderr


def log_header(
    report: Reporter,
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    state: Training,
    damaged: str | None,
) -> None:
    """Log the folder, data, model, device and layer table of a run."""
    spec, n = data.spec, data.n
    shape = "×".join(map(str, spec.event_shape))
    levels = f", {spec.levels} levels" if spec.levels else ""
    device = next(state.model.parameters()).device
    threads = torch.get_num_threads()
    where_it_runs = (
        f"{device}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else str(device)
    )
    if state.ranks.world > 1:
        where_it_runs = f"{state.ranks.world} ranks, each on {where_it_runs}"
    report.line(f"run    {folder}")
    report.line(
        f"data   {data.name}: {n['train']:,} training, {n['val']:,} validation, "
        f"{n['test']:,} test examples of {shape}{levels}"
    )
    report.line(
        f"model  {cfg.model['name']}, loss {cfg.loss['name']}, optimizer {cfg.optimizer['name']}; "
        f"{where_it_runs}, {'fp32 or bf16' if cfg.precision == 'auto' else cfg.precision}"
    )
    for note in data.notes:
        report.line(f"note   {note}")
    batch = data.train.batch(torch.arange(1))
    state.model.eval()
    noise = state.model.noise(1, generator(cfg.seed, "layers", 0, device))
    table = layers(state.model, batch, noise)
    rows = [(x.name, x.shape, f"{x.parameters:,}") for x in table]
    total = sum(x.parameters for x in table)
    report.line()
    report.table("layers", ("layer", "output", "parameters"), [*rows, ("in all", "", f"{total:,}")])
    report.line()
    if damaged:
        report.line(f"note: {damaged}")
    if state.step:
        where = f"epoch {state.epoch}" if state.at_epoch_end else f"step {state.step}"
        report.line(f"going on after {where}")


def finalize(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    state: Training,
    status: str,
    report: Reporter,
    signals: Signals | None = None,
    budget: Budget | None = None,
) -> int:
    """Measure the best weights on the test split, draw, write summary.json, print the table.

    All ranks measure, rank 0 does the rest. A signal ends it at once: the run is then trained and
    not measured, which `genai resume` does.

    Args:
        folder: of the run, where the state is saved.
        cfg: of the run.
        data: on the model's device.
        state: after its last step.
        status: finished or stopped.
        report: what it says.
        signals: what the caller listens with, if not the ranks.
        budget: how long it may take, if not the share of the training (evaluation/budget.py).

    Returns:
        The exit code: 0, or that of the signal.
    """
    report.stop_live()
    signals = signals or state.ranks.signals or Signals()
    group = state.ranks
    if budget is None:
        asked = run_folder.read_json(folder / run_folder.RUN).get("measure")
        default_budget = of_training(state.elapsed(), asked)
        budget = Budget(*group.broadcast((default_budget.seconds, default_budget.part)))
    try:
        with signals.raise_on_signal(), Meter(quiet=report.quiet) as meter:
            measured = measure(folder, cfg, data, state, report, budget, signals, meter)
    except Interrupted as left:
        code = left.code
        group.leave(code)
    except PeerLost:
        code = group.left()
        if not code:
            raise
    else:
        code = 0
    if code:
        not_measured(folder, cfg, state, status, report)
    elif measured is not None:
        _write(folder, cfg, data, state, status, report, measured)
    return code


def _summary(folder: Path, cfg: TrainConfig, state: Training, status: str) -> dict[str, Any]:
    """summary.json of a run that is not measured."""
    monitored = None
    if cfg.monitor is not None and state.best_step:
        rows = run_folder.read_metrics(folder)
        value = next(r[cfg.monitor] for r in rows if r["step"] == state.best_step)
        monitored = {"name": cfg.monitor, "value": value, "epoch": state.best_epoch}
    return {
        "schema": run_folder.SCHEMA,
        "status": status,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": round(state.elapsed(), 3),
        "monitor": monitored,
        "measured": False,
        "metrics": {},
        "evidence": {},
    }


def not_measured(
    folder: Path, cfg: TrainConfig, state: Training, status: str, report: Reporter
) -> None:
    """The run is trained and saved, and was told to stop before it was measured; rank 0 writes it.

    What an earlier session has measured of the same weights stays.
    """
    if not state.ranks.first:
        return
    report.stop_live()
    old = run_folder.read_json(folder / run_folder.SUMMARY)
    if not old.get("metrics") or old.get("step") != state.step:
        atomic_write.write_json(folder / run_folder.SUMMARY, _summary(folder, cfg, state, status))
    set_status(folder, status)
    outcome = f"{status} and saved at step {state.step}, not measured yet"
    report.line(f"{outcome}; measure it with: genai resume {address(folder)}")


def _write(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    state: Training,
    status: str,
    report: Reporter,
    measured: FinalResults,
) -> None:
    """The last of `finalize`: summary.json, the status, the table."""
    metrics, seen, findings, files = measured
    written = _summary(folder, cfg, state, status)
    seconds = written["seconds"]
    written |= {"measured": True, "metrics": metrics, "evidence": seen}
    atomic_write.write_json(folder / run_folder.SUMMARY, written)
    set_status(folder, status, done=("measure",))
    report.line()
    if status == "stopped":
        reason = run_folder.read_json(folder / run_folder.RUN).get("reason")
        patience = f"no better {cfg.monitor} for {cfg.trainer.patience} epochs"
        report.line(f"stopped early: {reason or patience}")
    best = f", weights of epoch {state.best_epoch} (best {cfg.monitor})" if state.best_step else ""
    if best and data.validation == "test":
        best += ", which chose them"
    averaged = ", averaged" if state.ema else ""
    whole = MeasuredPart(len(data.test), state.model.test_draws)
    part = measured_part(metrics) or whole
    many = f"{whole.n:,} examples" if part == whole else amount(part, whole)
    title = f"test split, {many}{best}{averaged}"
    report.line(format_table(title, ("", "value", "95 % interval"), metric_rows(metrics)))
    if part != whole:
        report.line(f"all of it: genai resume {address(folder)} measure=all")
    report.line()
    report.line(f"figures  {' '.join(f.name for f in files)}")
    for line in doctor.lines(findings):
        report.line(line)
    report.line(f"{status} after {state.epoch} epochs and {seconds:.1f} s: {folder}")


def metric_rows(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(name, value, interval) of every number of a summary, and of what it is held against."""
    rows = []
    for name, entry in metrics.items():
        floor = entry.get("floor")
        for what, values in ((name, entry), *([(f"  {floor['what']}", floor)] if floor else ())):
            known = values["low"] is not None
            interval = (
                f"{format_number(values['low'])} – {format_number(values['high'])}" if known else ""
            )
            rows.append((what, format_number(values["value"]), interval))
    return rows


def interrupted(folder: Path, state: Training, code: int, report: Reporter) -> int:
    """The run was told to stop and has saved itself."""
    report.stop_live()
    set_status(folder, "interrupted")
    outcome = f"interrupted and saved at step {state.step}"
    report.line(f"{outcome}; go on with: genai resume {address(folder)}")
    return code


def failed(folder: Path, error: Exception, report: Reporter, group: Ranks = SINGLE_RANK) -> int:
    """Write the traceback of a failed run to train.log and one line to stderr; the exit code.

    Of several ranks the one with the error reports it, not those that then miss that rank.
    """
    report.stop_live()
    lost = isinstance(error, PeerLost)
    if group.rank and isinstance(error, Diverged):  # rank 0 has the same numbers
        return 1
    trace = "".join(traceback.format_exception(error)).rstrip()
    with suppress(OSError):  # the disk may be what failed; that is told
        if group.first:
            report.log(trace)
        elif not lost:  # rank 0 says as much
            log(folder, f"[rank {group.rank}] {trace}")
    with suppress(OSError):
        set_status(folder, "failed")
    if lost and ranks.is_supervised():  # who is gone is told by who watches
        return ranks.PEER_LOST
    if not claim_error_report():
        return 1
    first = " ".join(str(error).split()) or type(error).__name__
    kind = "" if isinstance(error, Diverged | PeerLost) else f"{type(error).__name__}: "
    if disk := disk_errors.explain(error, folder):
        kind, first = "", f"{disk[0]}; {disk[1]}, then: genai resume {folder}"
    everybody = group.world == 1 or isinstance(error, Diverged)
    where = "" if everybody else f"[rank {group.rank}] "
    print(f"genai: {folder} failed: {where}{kind}{first[:LONGEST]}", file=sys.stderr)
    return 1


def log(folder: Path, text: str) -> None:
    """Add to the train.log of a run that another process writes, or wrote."""
    with open(folder / run_folder.LOG, "a", encoding="utf-8") as file:
        file.write(text + "\n")


def set_status(folder: Path, status: str, done: Collection[str] = ()) -> None:
    """Write a run's status and time into run.json; the keys in ``done`` go."""
    run_info = run_folder.read_json(folder / run_folder.RUN)
    finished = None if status == "running" else run_folder.now()
    kept = {key: value for key, value in run_info.items() if key not in done}
    atomic_write.write_json(
        folder / run_folder.RUN, kept | {"status": status, "finished": finished}
    )
