"""`genai train -m`: check every cell, claim one folder for all, hand its cells to a launcher.

A folder is written whole before the first cell starts; from then on a cell is known by its folder
alone, so that a launcher, a requeued job and `genai sweep resume` start it in the same way.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from genai_cli import compose, options, runs
from genai_cli.data.dataset import Dataset
from genai_cli.launchers import start as launchers
from genai_cli.launchers.settings import LAUNCHERS, Launcher
from genai_cli.outcome import set_status
from genai_cli.sweeps import folder as folders
from genai_cli.sweeps.checked import checked
from genai_cli.sweeps.settings import Sweep
from genai_cli.training.preempt import Signals
from genai_cli.verbs.train import Prepared, start


def launch(line: compose.Line, command: str) -> int:
    """A whole sweep, from the line to its table.

    Returns:
        0 if all are done, 1 if any failed, 130 or 143 if the sweep was interrupted.

    Raises:
        UserError: a mistake in any cell, which is named; nothing is launched then.
    """
    sweep = options.read("sweep", Sweep, "none", line.sweep, line.config_dirs)
    how = options.read("hydra/launcher", LAUNCHERS, "serial", line.launcher, line.config_dirs)
    kept = checked(compose.cells("train", line, sweep.over))
    units = _units([prepared for _, prepared in kept])
    config = kept[0][1].cfg
    folder = runs.claim(runs.outputs_root(config.outputs), config.name or "sweep")
    names = [folders.cell_name(i, cell) for i, (cell, _) in enumerate(kept)]
    asked = {
        "schema": runs.SCHEMA,
        "command": command,
        "varied": list(dict.fromkeys(key for cell, _ in kept for key in cell.swept)),
        "launcher": dataclasses.asdict(how),
        "cells": [
            {"folder": name, "overrides": cell.overrides}
            for name, (cell, _) in zip(names, kept, strict=True)
        ],
    }
    with Signals() as signals:
        for name, (_, prepared) in zip(names, kept, strict=True):
            (folder / name).mkdir()
            start(prepared, command, folder / name)
        runs.write_text(folder / runs.SWEEP, yaml.safe_dump(asked, sort_keys=False))
        folders.write_table(folder)
        print(f"sweep  {folder}: {len(kept)} runs", flush=True)
        jobs = [[folder / names[i] for i in unit] for unit in units]
        data = {folder / name: p.data for name, (_, p) in zip(names, kept, strict=True)}
        return train(folder, jobs, how, signals, data)


def train(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    how: Launcher,
    signals: Signals,
    data: Mapping[Path, Dataset] | None = None,
) -> int:
    """Train cells of a sweep that are written, to their ends; the exit code as of `launch`.

    Args:
        folder: the sweep.
        jobs: its cells to train; those of one job are one stack.
        how: the launcher.
        signals: on one, what runs is saved and the rest is not begun.
        data: data sets that are loaded already.
    """
    try:
        launchers.start(folder, jobs, how, signals, data or {})
    finally:  # a second Ctrl-C comes through here, too
        cells = [cell for job in jobs for cell in job]
        waiting = [cell for cell in cells if not (cell / runs.LOG).exists()]
        for cell in waiting:
            set_status(cell, "interrupted")
        folders.write_table(folder)
    if signals.code:
        told = f"{len(waiting)} runs not begun; go on with: genai sweep resume {folder}"
        print(f"sweep interrupted, {told}")
    print(f"\n{folders.summary(folder)}")
    rows = folders.rows(folder)
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        print(f"genai train: {failed} of {len(rows)} runs failed", file=sys.stderr)
    print(f"sweep  {folder}")
    return signals.code or int(failed > 0)


def _units(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Which cells train together: each alone, unless trainer.pack says otherwise."""
    if all(cell.cfg.trainer.pack == "none" for cell in prepared):
        return [[i] for i in range(len(prepared))]
    from genai_cli.training import pack_plan

    configs, data = [cell.cfg for cell in prepared], [cell.data for cell in prepared]
    return pack_plan.units(configs, data, lambda text: print(text, file=sys.stderr))
