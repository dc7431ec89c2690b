"""What a run says and writes at its start and its end, however it ends."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from genai_cli import ranks, runs, storage
from genai_cli.console import Reporter
from genai_cli.data.dataset import Dataset
from genai_cli.doctor import at_end as doctor
from genai_cli.evaluation import evidence, summary
from genai_cli.networks.layers import layers
from genai_cli.schema import TrainConfig
from genai_cli.textual import plain_table, short
from genai_cli.training import checkpoint
from genai_cli.training.distributed import ALONE, PeerLost, Ranks, tells
from genai_cli.training.finite import Diverged
from genai_cli.training.loop import Training, finish
from genai_cli.training.randomness import generator

LONGEST = 600  # characters of an error on stderr


def check_finite(row: Mapping[str, float]) -> None:
    """Raise `Diverged`, naming the first term of an epoch that is not finite."""
    for name, value in row.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} became {value} in epoch {int(row['epoch'])} "
                           f"(step {int(row['step'])})")  # fmt: skip


def introduce(
    report: Reporter,
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    state: Training,
    damaged: str | None,
) -> None:
    """Folder, data, model and device, and the layer table."""
    spec, n = data.spec, data.n
    shape = "×".join(map(str, spec.event_shape))
    levels = f", {spec.levels} levels" if spec.levels else ""
    device = next(state.model.parameters()).device
    threads = torch.get_num_threads()
    place = (
        f"{device}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else str(device)
    )
    if state.ranks.world > 1:
        place = f"{state.ranks.world} ranks, each on {place}"
    report.line(f"run    {folder}")
    report.line(
        f"data   {data.name}: {n['train']:,} training, {n['val']:,} validation, "
        f"{n['test']:,} test examples of {shape}{levels}"
    )
    report.line(
        f"model  {cfg.model['name']}, loss {cfg.loss['name']}, optimizer {cfg.optimizer['name']}; "
        f"{place}, {'fp32 or bf16' if cfg.precision == 'auto' else cfg.precision}"
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


def conclude(
    folder: Path, cfg: TrainConfig, data: Dataset, state: Training, status: str, report: Reporter
) -> None:
    """Measure the best weights on the test split, draw, write summary.json, print the table.

    All ranks measure, rank 0 does the rest.
    """
    report.stop_live()
    seen = evidence.unaveraged_loss(state, data, cfg.seed, cfg.precision)
    folder_of = checkpoint.named(folder / runs.CHECKPOINTS, "best")
    checkpoint.load_weights(folder_of, state.model, ema=state.ema is not None)
    state.model.eval()
    state.model.step.fill_(state.step)
    finish(state.model, data)
    player = {"ema": state.ema is not None, "checkpoint": folder_of.name}
    metrics, extra = summary.metrics(state.model, data, cfg, player, state.ranks)
    check_finite(
        {f"test/{name.removeprefix('test/')}": entry["value"] for name, entry in metrics.items()}
        | {"epoch": state.epoch, "step": state.step}
    )
    if not state.ranks.first:
        return
    seen |= evidence.measure(state.model, data, cfg.seed)
    found = doctor.at_the_end(folder, metrics, seen, report.log)
    from genai_cli.figures import of_run  # matplotlib: not before the first step

    files = of_run.draw(folder, state.model, data, cfg, extra, state.best_epoch, doctor.note(found))
    monitored = None
    if cfg.monitor is not None and state.best_step:
        rows = runs.read_metrics(folder)
        value = next(r[cfg.monitor] for r in rows if r["step"] == state.best_step)
        monitored = {"name": cfg.monitor, "value": value, "epoch": state.best_epoch}
    seconds = round(state.elapsed(), 3)
    written = {
        "schema": runs.SCHEMA,
        "status": status,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": seconds,
        "monitor": monitored,
        "metrics": metrics,
        "evidence": seen,
    }
    runs.write_json(folder / runs.SUMMARY, written)
    set_status(folder, status)
    report.line()
    if status == "stopped":
        reason = runs.read_json(folder / runs.RUN).get("reason")
        patience = f"no better {cfg.monitor} for {cfg.trainer.patience} epochs"
        report.line(f"stopped early: {reason or patience}")
    best = f", weights of epoch {state.best_epoch} (best {cfg.monitor})" if state.best_step else ""
    if best and data.validation == "test":
        best += ", which chose them"
    averaged = ", averaged" if state.ema else ""
    title = f"test split, {len(data.test):,} examples{best}{averaged}"
    report.line(plain_table(title, ("", "value", "95 % interval"), metric_rows(metrics)))
    report.line()
    report.line(f"figures  {' '.join(f.name for f in files)}")
    for line in doctor.lines(found):
        report.line(line)
    report.line(f"{status} after {state.epoch} epochs and {seconds:.1f} s: {folder}")


def metric_rows(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(name, value, interval) of every number of a summary, and of what it is held against."""
    rows = []
    for name, entry in metrics.items():
        floor = entry.get("floor")
        for what, told in ((name, entry), *([(f"  {floor['what']}", floor)] if floor else ())):
            known = told["low"] is not None
            interval = f"{short(told['low'])} – {short(told['high'])}" if known else ""
            rows.append((what, short(told["value"]), interval))
    return rows


def interrupted(folder: Path, state: Training, code: int, report: Reporter) -> int:
    """The run was told to stop and has saved itself."""
    report.stop_live()
    set_status(folder, "interrupted")
    told = f"interrupted and saved at step {state.step}"
    report.line(f"{told}; go on with: genai resume {reference(folder)}")
    return code


def reference(folder: Path) -> str:
    """What to type for a run: the end of its folder's name, where that is enough."""
    known = folder.resolve().parents[1] == runs.outputs_root().resolve()
    short_enough = known and not runs.is_sweep(folder.parent)
    return folder.name.rsplit("-", 1)[-1] if short_enough else str(folder)


def failed(folder: Path, error: Exception, report: Reporter, group: Ranks = ALONE) -> int:
    """The traceback goes to train.log, one line to stderr: the error's own, of several ranks that
    of the one that has it, not of those that then miss it."""
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
    if lost and ranks.watched():  # who is gone is told by who watches
        return ranks.LOST
    if not tells():
        return 1
    first = " ".join(str(error).split()) or type(error).__name__
    kind = "" if isinstance(error, Diverged | PeerLost) else f"{type(error).__name__}: "
    if disk := storage.trouble(error, folder):
        kind, first = "", f"{disk[0]}; {disk[1]}, then: genai resume {folder}"
    everybody = group.world == 1 or isinstance(error, Diverged)
    where = "" if everybody else f"[rank {group.rank}] "
    print(f"genai: {folder} failed: {where}{kind}{first[:LONGEST]}", file=sys.stderr)
    return 1


def log(folder: Path, text: str) -> None:
    """Add to the train.log of a run that another process writes, or wrote."""
    with open(folder / runs.LOG, "a", encoding="utf-8") as file:
        file.write(text + "\n")


def set_status(folder: Path, status: str) -> None:
    """Write a run's status and time into run.json."""
    described = runs.read_json(folder / runs.RUN)
    finished = None if status == "running" else runs.now()
    runs.write_json(folder / runs.RUN, described | {"status": status, "finished": finished})
