"""Run `genai train -m`: validate all cells, claim one folder, hand the cells to a launcher.

A folder is written whole before the first cell starts; from then on a cell is known by its folder
alone, so that a launcher, a requeued job and `genai sweep resume` start it in the same way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.config import compose, schema
from genai_cli.data.dataset import Dataset
from genai_cli.launchers import start as launchers
from genai_cli.launchers.settings import Launcher, gpus_of, read_launcher
from genai_cli.runner.prepare import Prepared, start
from genai_cli.store import run_folder
from genai_cli.store import sweep_table as folders
from genai_cli.sweeps import asked
from genai_cli.sweeps.cells import cell_name, sweep_lock, sync_cells
from genai_cli.sweeps.checked import SkipInvalid, refuse_sweep, validate_cells
from genai_cli.sweeps.given import read_sweep
from genai_cli.system.preemption import Signals


def launch(line: compose.CommandLine, command: str) -> int:
    """Run a whole sweep, from the command line to its table.

    Returns:
        0 if all are done, 1 if any failed, 130 or 143 if the sweep was interrupted.

    Raises:
        UserError: a mistake in any cell, which is named; nothing is launched then.
    """
    sweep, launcher = read_sweep(line), read_launcher(line)
    if sweep.search != "grid":  # its cells come as others end
        from genai_cli.sweeps.search.launch import launch as search

        return search(line, command, sweep, launcher)
    left_out = SkipInvalid()
    refuse = left_out if sweep.skip_invalid else refuse_sweep
    composed = compose.compose_cells("train", line, sweep.over, refuse, sweep.cells)
    kept = validate_cells(composed, refuse, gpus_of(launcher))
    launchers.check(launcher, [prepared.cfg for _, prepared in kept])
    jobs_of = group_cells([prepared for _, prepared in kept])
    config = kept[0][1].cfg
    folder = run_folder.claim(run_folder.outputs_root(config.outputs), config.name or "sweep")
    names = [cell_name(i, cell) for i, (cell, _) in enumerate(kept)]
    cells = {name: prepared for name, (_, prepared) in zip(names, kept, strict=True)}
    described = [
        (name, cell, schema.to_dict(prepared.cfg))
        for name, (cell, prepared) in zip(names, kept, strict=True)
    ]
    with Signals() as signals, sweep_lock(folder):
        # before its folders: from then on any of them can be written again
        asked.write_manifest(
            folder, asked.manifest(command, sweep, launcher, described, left_out.cells)
        )
        write_cells(folder, cells, command)
        print(f"sweep  {folder}: {len(kept)} runs", flush=True)
        jobs = [[folder / names[i] for i in job] for job in jobs_of]
        data = {folder / name: prepared.data for name, prepared in cells.items()}
        return train(folder, jobs, launcher, signals, data)


def write_cells(folder: Path, cells: Mapping[str, Prepared], command: str) -> None:
    """Write the run folders of a sweep; they are on disk when this returns."""
    for name, prepared in cells.items():
        (folder / name).mkdir()
        start(prepared, command, folder / name, durable=False)
    if hasattr(os, "sync"):  # one wait for a thousand folders, not two for each
        os.sync()


def train(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    launcher: Launcher,
    signals: Signals,
    data: Mapping[Path, Dataset] | None = None,
) -> int:
    """Train cells whose folders are written and return the exit code, as `launch` does.

    Args:
        folder: the sweep; the caller holds its `sweep_lock`.
        jobs: its cells to train; those of one job are one stack.
        launcher: the launcher.
        signals: on one, what runs is saved and the rest is not begun.
        data: data sets that are loaded already.

    Raises:
        UserError: the launcher cannot start any.
    """
    cells = [cell for job in jobs for cell in job]
    waiting: list[Path] = []
    elsewhere = False
    folders.write_table(folder)
    try:
        with folders.keep_current(folder):
            elsewhere = launchers.start(folder, jobs, launcher, signals, data or {})
    finally:  # a second Ctrl-C comes through here, too
        if not elsewhere:
            waiting = sync_cells(cells, launcher.name != "slurm")
        folders.write_table(folder)
    if signals.code:
        message = f"{len(waiting)} runs not begun; go on with: genai sweep resume {folder}"
        print(f"sweep interrupted, {message}")
    elif elsewhere:
        return 0
    print(f"\n{folders.summary(folder)}")
    rows = folders.rows(folder)
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        print(f"genai train: {failed} of {len(rows)} runs failed", file=sys.stderr)
    print(f"sweep  {folder}")
    return signals.code or int(failed > 0)


def group_cells(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Group cells that train together by index: one a group, unless trainer.pack says otherwise."""
    if all(cell.cfg.trainer.pack == "none" for cell in prepared):
        return [[i] for i in range(len(prepared))]
    from genai_cli.training.stack import plan

    configs, data = [cell.cfg for cell in prepared], [cell.data for cell in prepared]
    return plan.group_cells(configs, data, lambda text: print(text, file=sys.stderr))
