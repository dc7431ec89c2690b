"""Resume the unfinished cells of a sweep from their folders (`genai sweep resume`).

What is missing or damaged is written again from sweep.yaml, and only if it comes out as it was: a
YAML that was edited since then must not slip another run into a cell.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli.config import groups, values
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers import start as launchers
from genai_cli.launchers import versions, worker
from genai_cli.launchers.settings import ALIASES, LAUNCHERS, Launcher, read_choice
from genai_cli.runner import load
from genai_cli.runner.prepare import Prepared
from genai_cli.store import run_config, run_folder, sweep_table
from genai_cli.sweeps import asked, launch
from genai_cli.sweeps.cells import sweep_lock
from genai_cli.sweeps.left import begin_cells, inspect_cells
from genai_cli.sweeps.mend import repair_cells
from genai_cli.system.preemption import Signals

DONE = ("finished", "stopped")


def resume(folder: Path, words: Sequence[str], folders: Sequence[str] = ()) -> int:
    """Train the unfinished cells and return the exit code of `genai train -m`; 0 if none is left.

    Args:
        folder: the sweep.
        words: ``hydra/launcher=NAME`` and ``hydra.launcher.KEY=value``, where it is to be another.
        folders: of ``-cd``.

    Raises:
        UserError: a damaged sweep.yaml, a cell that cannot be written again, another process that
            launches cells of this sweep.
    """
    content = sweep_table.read(folder)
    settings = resolve_launcher(content, words, folders)
    asked_for = content.get("sweep")
    if isinstance(asked_for, dict) and asked_for.get("search", "grid") != "grid":
        asked.refuse_untrusted_line(folder, content, folders)
        from genai_cli.sweeps.search import launch as search  # its cells come as others end

        with Signals() as signals:
            return search.resume(folder, settings, signals)
    with sweep_lock(folder):
        cells = [cell for cell in content["cells"] if not _is_done(folder / cell["folder"])]
        queued = launchers.list_queued(folder)
        busy = [c for c in cells if (folder / c["folder"]).resolve() in queued]
        if busy:
            jobs_of = (queued[(folder / c["folder"]).resolve()] for c in busy)
            numbers = ", ".join(dict.fromkeys(jobs_of))
            print(f"{len(busy)} of {len(cells)} runs are in Slurm's queue: job {numbers}")
        cells = [c for c in cells if c not in busy]
        held = [c["folder"] for c in cells if run_folder.is_training(folder / c["folder"])]
        left = [c for c in cells if c["folder"] not in held]
        for name in held:
            print(f"{folder / name} is being trained by another process: left to it")
        if held:
            print(f"look again when it has ended: genai sweep resume {folder}")
        if not left:
            done = len(content["cells"]) - len(held) - len(busy)
            print(f"{folder}: nothing left to do: {done} runs done")
            return 0
        mended = repair_cells(folder, content, left, settings)
        configs = {
            cell: run_config.load_config(cell) for cell in (folder / c["folder"] for c in left)
        }
        launchers.check(settings, list(configs.values()))
        _print_changes(list(configs))
        begin_cells(folder, inspect_cells(list(configs), mended), len(content["cells"]))
        data = (
            _load_datasets(configs)
            if settings.name == "serial" or _select_stackable(configs)
            else {}
        )
        jobs = _group_jobs(configs, data)
        with Signals() as signals:
            return launch.train(folder, jobs, settings, signals, data)


def resolve_launcher(
    content: Mapping[str, Any], words: Sequence[str], folders: Sequence[str]
) -> Launcher:
    """Return the launcher named on the line, or else the stored one updated by the line's keys."""
    stored = content.get("launcher")
    named = any(word.partition("=")[0] == "hydra/launcher" for word in words)
    name = stored.get("name") if isinstance(stored, dict) else None
    name = ALIASES.get(name, name) if isinstance(name, str) else None
    if named or not isinstance(stored, dict) or name not in LAUNCHERS:
        return read_choice(words, folders)
    values.refuse_interpolation([f"{k}: {v}" for k, v in stored.items()], Path(run_folder.SWEEP))
    given = groups.parse_words(words, "hydra/launcher")
    default = read_choice([], folders, name)
    shell = stored.get("setup")
    if "setup" not in given and shell and shell != getattr(default, "setup", None):
        raise UserError(  # a folder may be a stranger's: what it says is never run as code
            f"this sweep was started with hydra.launcher.setup={shell}, which is shell; "
            "to run that again, type it"
        )
    keys = stored | {"name": name} | given
    return groups.build_settings(LAUNCHERS[name], keys, "hydra.launcher.")


def _is_done(cell: Path) -> bool:
    waits = run_folder.unmeasured(run_folder.read_json(cell / run_folder.SUMMARY))
    return not waits and run_folder.read_json(cell / run_folder.RUN).get("status") in DONE


def _print_changes(cells: Sequence[Path]) -> None:
    """Other code than the cells were written by, in one line; each cell's log has its own."""
    counts: dict[str, int] = {}
    for cell in cells:
        for change in versions.list_changes(run_folder.read_json(cell / run_folder.RUN)):
            counts[change] = counts.get(change, 0) + 1
    for change, number in counts.items():
        print(f"note: the code has changed: {change} ({number} of {len(cells)} runs)",
              file=sys.stderr)  # fmt: skip


def _select_stackable(configs: Mapping[Path, TrainConfig]) -> list[Path]:
    """The cells that may train as one stack: it has no way to go on with a run."""
    return [
        c
        for c, cfg in configs.items()
        if cfg.trainer.pack != "none" and not worker.has_checkpoint(c)
    ]


def _load_datasets(configs: Mapping[Path, TrainConfig]) -> dict[Path, Dataset]:
    """The data sets of the cells, each loaded once; of what cannot be had its cell will tell."""
    loaded: dict[str, Dataset | None] = {}
    for cfg in configs.values():
        key = repr([cfg.dataset, cfg.split_seed])
        if key not in loaded:
            try:
                loaded[key] = load.load_data(cfg)
            except UserError:
                loaded[key] = None
    datasets = {c: loaded[repr([cfg.dataset, cfg.split_seed])] for c, cfg in configs.items()}
    return {cell: data for cell, data in datasets.items() if data is not None}


def _group_jobs(
    configs: Mapping[Path, TrainConfig], data: Mapping[Path, Dataset]
) -> list[list[Path]]:
    """Each cell alone, but for stacks of those that have not begun."""
    stacked = [cell for cell in _select_stackable(configs) if cell in data]
    units = (
        launch.group_cells([Prepared(configs[c], data[c], {}) for c in stacked]) if stacked else []
    )
    jobs = [[stacked[i] for i in unit] for unit in units]
    return jobs + [[cell] for cell in configs if cell not in stacked]
