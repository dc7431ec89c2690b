"""What a run or a sweep will cost, and the batch script that would be submitted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genai_cli.errors import UserError

if TYPE_CHECKING:
    from genai_cli.config.compose import ComposedCell
    from genai_cli.launchers.settings import Launcher
    from genai_cli.runner.prepare import Prepared


def render_batch_script(launcher: Launcher, kept: Sequence[tuple[ComposedCell, Prepared]]) -> str:
    """Return the batch script that would be submitted; its folder is not claimed yet."""
    from genai_cli.config import schema
    from genai_cli.launchers import queue
    from genai_cli.launchers.script import render_script
    from genai_cli.launchers.share import needs_of
    from genai_cli.store import run_folder
    from genai_cli.sweeps.launch import group_cells

    prepared = [one for _, one in kept]
    root = Path(run_folder.outputs_root(prepared[0].cfg.outputs)).resolve()
    jobs = len(group_cells(prepared)) if len(prepared) > 1 else 1
    most = queue.read_max_array_size() if jobs > 1 else 1
    if jobs > most:
        message = f"{jobs:,} jobs are submitted as {-(-jobs // most)} arrays; this is the first"
        print(f"{message} (MaxArraySize={most})", file=sys.stderr)
    ranks = needs_of(schema.to_dict(one.cfg) for one in prepared).ranks // launcher.nodes
    sheet = root / "DATE" / "FOLDER" / "slurm" / "000.json"
    return render_script(launcher, sheet, min(jobs, most), "genai-xxxx-xxxxxxxx", ranks)


def print_costs(kept: Sequence[tuple[ComposedCell, Prepared]], launcher: Launcher | None) -> int:
    from genai_cli.config import schema
    from genai_cli.launchers.settings import Processes, Serial
    from genai_cli.runner import cost as cost_module
    from genai_cli.runner.cost import Cost, Failed, measure_cost
    from genai_cli.sweeps import forecast as forecasts
    from genai_cli.system.text import format_table

    launcher = launcher or Serial()
    _check_devices(launcher, [prepared.cfg.device for _, prepared in kept])
    workers, environment = _worker_environment(launcher, [prepared for _, prepared in kept])
    costs: dict[str, Cost] = {}
    rows: dict[str, list[str]] = {}
    failures = 0
    cells = [(cost_module.shape(p.cfg), cell, p) for cell, p in kept]
    names = _names(cells)
    seconds, disk = [], 0
    for key, name in names.items():
        configs = [p.cfg for k, _, p in cells if k == key]
        print(f"measuring {len(rows) + failures + 1}/{len(names)}  {name}", file=sys.stderr)
        try:
            cost = costs[key] = measure_cost(schema.to_dict(configs[0]), environment)
        except Failed as error:
            print(f"genai plan: {name} fails: {error}", file=sys.stderr)
            failures += 1
            continue
        each = [forecasts.forecast(cfg, cost) for cfg in configs]
        times = sorted(one.seconds + cost.start for one in each)
        span = list(dict.fromkeys(map(forecasts.format_duration, (times[0], times[-1]))))
        rows[key] = [
            *(name, str(len(configs)), f"{cost.parameters:,}", forecasts.format_bytes(cost.memory)),
            *([forecasts.format_bytes(cost.gpu)] if cost.gpu is not None else []),
            f"{1000 * cost.step:.1f} ms",
            forecasts.format_duration(cost.steps_per_epoch * cost.step + cost.validation),
            " – ".join(span),
            forecasts.format_bytes(max(one.disk for one in each)),
        ]
    if not rows:
        return 1
    for key, _, prepared in cells:
        if key in costs:
            one = forecasts.forecast(prepared.cfg, costs[key])
            seconds.append(one.seconds)
            disk += one.disk
    gpu = ["GPU memory"] if any(cost.gpu is not None for cost in costs.values()) else []
    head = ["shape", "cells", "parameters", "memory", *gpu, "step", "epoch", "run", "disk"]
    body = [row if len(row) == len(head) else [*row[:4], "–", *row[4:]] for row in rows.values()]
    print(format_table("expected", head, body))
    start = max(cost.start for cost in costs.values())
    one_by_one = forecasts.compute_makespan(seconds, 1, start, each=False)
    print(f"\ncells  {len(seconds)}, {forecasts.format_bytes(disk)} of disk at most")
    print(f"time   {forecasts.format_duration(one_by_one)} one after the other")
    if not isinstance(launcher, Serial):
        at_once = forecasts.count_parallel(launcher, len(seconds), workers)
        separate_jobs = not isinstance(launcher, Processes)
        time = forecasts.format_duration(
            forecasts.compute_makespan(seconds, at_once, start, each=separate_jobs)
        )
        queued = ", without the wait in the queue" if separate_jobs else ""
        print(f"       {time} with {launcher.name}, {at_once} at a time{queued}")
    for text in forecasts.check_limits(launcher, list(costs.values()), seconds):
        print(f"note   {text}")
    fewest = min(cost.timed for cost in costs.values())
    print(
        f"These are estimates, from {fewest} or more timed steps of each shape on this machine. "
        "Early stopping\ncan only shorten them, and so may compiling (trainer.step=auto), "
        "which was not tried."
    )
    return int(failures > 0)


def _check_devices(launcher: Launcher, devices: Sequence[str]) -> None:
    """Refuse a device that this machine lacks, because a plan is measured here.

    Raises:
        UserError: there is none, as on a login node without a GPU.
    """
    from genai_cli.training.machine import pick_device

    for device in dict.fromkeys(devices):
        try:
            pick_device(device)
        except UserError as error:
            why = str(error).partition(";")[0]
            raise UserError(
                f"{why}, and a plan for {launcher.name} is measured here; type device=cpu to "
                f"measure on this CPU, or --script to see what would be submitted"
            ) from None


def _worker_environment(
    launcher: Launcher, prepared: Sequence[Prepared]
) -> tuple[int, dict[str, str]]:
    """Return (number of workers, environment of one) that the launcher would use."""
    from genai_cli.config import schema
    from genai_cli.launchers.settings import Processes, Slurm
    from genai_cli.launchers.share import divide_machine, needs_of, resolve_per_gpu, visible_gpus

    environment = dict(os.environ)
    request = needs_of(schema.to_dict(p.cfg) for p in prepared)
    if isinstance(launcher, Slurm):
        threads = max(1, launcher.cpus // (request.ranks // launcher.nodes))
        environment |= {"OMP_NUM_THREADS": str(threads), "GENAI_CORES": str(launcher.cpus)}
    if not isinstance(launcher, Processes):
        return 1, environment
    gpus = visible_gpus() if request.gpu or request.named else []
    if gpus:
        launcher = resolve_per_gpu(launcher, lambda: [p.cfg for p in prepared])
    parts = divide_machine(len(prepared), launcher, request, gpus)
    return parts.workers, parts.environment(0)


def _names(cells: Sequence[tuple[str, ComposedCell, Prepared]]) -> dict[str, str]:
    """Name each shape by the varied keys that are equal in all its cells."""
    names: dict[str, str] = {}
    for key in dict.fromkeys(key for key, _, _ in cells):
        swept = [cell.swept for k, cell, _ in cells if k == key]
        model = next(p.cfg.model["name"] for k, _, p in cells if k == key)
        alike = {k: v for k, v in swept[0].items() if all(s.get(k) == v for s in swept)}
        if len({k for k, _, _ in cells}) > 1:
            words = [v if k == "model" else f"{k}={v}" for k, v in alike.items()]
        else:
            words = []
        names[key] = " ".join(words) or model
    return names
