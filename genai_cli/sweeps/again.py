"""`genai sweep resume`: the cells of a sweep that have not come to their end, from their folders.

What is missing or damaged is written again from sweep.yaml, and only if it comes out as it was: a
YAML that was edited since then must not slip another run into a cell.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli import compose, options, runs
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers import start as launchers
from genai_cli.launchers import versions, worker
from genai_cli.launchers.settings import LAUNCHERS, Launcher
from genai_cli.outcome import set_status
from genai_cli.schema import TrainConfig
from genai_cli.sweeps import asked, launch
from genai_cli.sweeps.checked import without_absent_keys
from genai_cli.training import setup
from genai_cli.training.preempt import Signals
from genai_cli.verbs.train import Prepared, prepare

DONE = ("finished", "stopped")


def resume(folder: Path, words: Sequence[str], folders: Sequence[str] = ()) -> int:
    """Train what is left of a sweep; the exit code as of `genai train -m`, 0 if nothing is left.

    Args:
        folder: the sweep.
        words: ``hydra/launcher=NAME`` and ``hydra.launcher.KEY=value``, where it is to be another.
        folders: of ``-cd``.

    Raises:
        UserError: a damaged sweep.yaml, a cell that cannot be written again, another process that
            launches cells of this sweep.
    """
    content = asked.read(folder)
    how = launcher(content, words, folders)
    asked_for = content.get("sweep")
    if isinstance(asked_for, dict) and asked_for.get("search", "grid") != "grid":
        from genai_cli.search import launch as search  # its cells come as others end

        with Signals() as signals:
            return search.resume(folder, how, signals)
    with launch.alone(folder):
        cells = [cell for cell in content["cells"] if not _done(folder / cell["folder"])]
        held = [c["folder"] for c in cells if runs.held(folder / c["folder"])]
        left = [c for c in cells if c["folder"] not in held]
        for name in held:
            print(f"{folder / name} is being trained by another process: left to it")
        if not left:
            print(f"{folder}: nothing left to do: {len(content['cells']) - len(held)} runs done")
            return 0
        written = _written_again(folder, content, left)
        configs = {cell: setup.config_of(cell) for cell in (folder / c["folder"] for c in left)}
        launchers.check(how, list(configs.values()))
        for cell in written:
            print(f"{cell}: written again from {runs.SWEEP}")
        _tell_changes(list(configs))
        for cell in configs:
            set_status(cell, "running")
    data = _data(configs) if how.name == "serial" or _stacked(configs) else {}
    jobs = _jobs(configs, data)
    number = f"{len(left)} of {len(content['cells'])} runs left"
    print(f"sweep  {folder}: {number}", flush=True)
    with Signals() as signals:
        return launch.train(folder, jobs, how, signals, data)


def launcher(content: Mapping[str, Any], words: Sequence[str], folders: Sequence[str]) -> Launcher:
    """The launcher of a line or, but for the keys that a line gives, the sweep's own."""
    stored = content.get("launcher")
    named = any(word.partition("=")[0] == "hydra/launcher" for word in words)
    if named or not isinstance(stored, dict) or stored.get("name") not in LAUNCHERS:
        return options.read("hydra/launcher", LAUNCHERS, "serial", words, folders)
    given = options.given_keys(words, "hydra/launcher")
    own = options.read("hydra/launcher", LAUNCHERS, stored["name"], [], folders)
    shell = stored.get("setup")
    if "setup" not in given and shell and shell != getattr(own, "setup", None):
        raise UserError(  # a folder may be a stranger's: what it says is never run as code
            f"this sweep was started with hydra.launcher.setup={shell}, which is shell; "
            "to run that again, type it"
        )
    return options.typed(LAUNCHERS[stored["name"]], stored | given, "hydra.launcher.")


def _done(cell: Path) -> bool:
    return runs.read_json(cell / runs.RUN).get("status") in DONE


def _whole(cell: Path) -> bool:
    """Whether a cell can be trained from what lies in its folder."""
    try:
        setup.config_of(cell)
    except UserError:
        return False
    return bool(runs.read_json(cell / runs.RUN)) and (cell / runs.CHECKPOINTS).is_dir()


def _written_again(
    folder: Path, content: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """The cells that had to be written again; first all are checked, then all written.

    Raises:
        UserError: one of them would come out as another run than it was.
    """
    damaged = [cell for cell in cells if not _whole(folder / cell["folder"])]
    if not damaged:
        return []
    command = str(content.get("command") or "")
    made: list[tuple[Path, Prepared]] = []
    built: dict[str, dict[str, Any]] = {}
    for cell in damaged:
        path = folder / cell["folder"]
        try:
            prepared = _compose(command, cell["overrides"], built)
        except UserError as error:
            raise UserError(f"{path} is damaged and cannot be written again: {error}") from None
        if asked.fingerprint(setup.plain(prepared.cfg)) != cell.get("config"):
            raise UserError(
                f"{path} is damaged, and its words give another config today (a YAML, its data or "
                "the code has changed); remove the cell from sweep.yaml, or put back what changed"
            )
        made.append((path, prepared))
    for path, prepared in made:
        _write(path, prepared, command)
    return [path for path, _ in made]


def _compose(command: str, overrides: Sequence[str], built: dict[str, dict[str, Any]]) -> Prepared:
    try:
        given = compose.parse(shlex.split(command)[2:])
    except (ValueError, UserError):
        given = compose.parse([])
    line = given._replace(overrides=list(overrides), multirun=False, show=[])
    (cell,) = compose.cells("train", line)
    config, _ = without_absent_keys(cell._replace(swept={"bottleneck": ""}))
    return prepare(config, lambda _: None, built=built)


def _write(path: Path, prepared: Prepared, command: str) -> None:
    """A cell's config.yaml and run.json; checkpoints and rows that are there stay."""
    described = runs.read_json(path / runs.RUN)
    path.mkdir(exist_ok=True)
    (path / runs.CHECKPOINTS).mkdir(exist_ok=True)
    runs.write_config(path, setup.plain(prepared.cfg))
    fresh = prepared.described | {"command": command, "started": runs.now()}
    runs.write_json(path / runs.RUN, fresh | described)


def _tell_changes(cells: Sequence[Path]) -> None:
    """Other code than the cells were written by, in one line; each cell's log has its own."""
    found: dict[str, int] = {}
    for cell in cells:
        for change in versions.changes(runs.read_json(cell / runs.RUN)):
            found[change] = found.get(change, 0) + 1
    for change, number in found.items():
        print(f"note: the code has changed: {change} ({number} of {len(cells)} runs)",
              file=sys.stderr)  # fmt: skip


def _stacked(configs: Mapping[Path, TrainConfig]) -> list[Path]:
    """The cells that may train as one stack: it has no way to go on with a run."""
    return [c for c, cfg in configs.items() if cfg.trainer.pack != "none" and not worker.begun(c)]


def _data(configs: Mapping[Path, TrainConfig]) -> dict[Path, Dataset]:
    """The data sets of the cells, each loaded once; of what cannot be had its cell will tell."""
    loaded: dict[str, Dataset | None] = {}
    for cfg in configs.values():
        key = repr([cfg.dataset, cfg.split_seed])
        if key not in loaded:
            try:
                loaded[key] = setup.load_data(cfg)
            except UserError:
                loaded[key] = None
    found = {c: loaded[repr([cfg.dataset, cfg.split_seed])] for c, cfg in configs.items()}
    return {cell: data for cell, data in found.items() if data is not None}


def _jobs(configs: Mapping[Path, TrainConfig], data: Mapping[Path, Dataset]) -> list[list[Path]]:
    """Each cell alone, but for stacks of those that have not begun."""
    stacked = [cell for cell in _stacked(configs) if cell in data]
    units = launch.units([Prepared(configs[c], data[c], {}) for c in stacked]) if stacked else []
    jobs = [[stacked[i] for i in unit] for unit in units]
    return jobs + [[cell] for cell in configs if cell not in stacked]
