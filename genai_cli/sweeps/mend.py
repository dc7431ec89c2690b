"""Repair cells whose folders are lost or damaged, from sweep.yaml alone.

A sweep writes down what was asked before it makes the first folder, so that a process that is
killed at any moment after that leaves nothing that could not be made again.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli.config import compose, schema, values
from genai_cli.config.schema import TrainConfig
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Launcher, gpus_of
from genai_cli.runner.prepare import Prepared, prepare
from genai_cli.store import run_config, run_folder
from genai_cli.sweeps import asked
from genai_cli.sweeps.checked import drop_absent_keys
from genai_cli.system import atomic_write

Change = Callable[[Path, TrainConfig], TrainConfig]  # (cell, as its words say) → as it was written


def keep_config(cell: Path, cfg: TrainConfig) -> TrainConfig:
    """Return the config unchanged: a grid's cell is trained as composed."""
    return cfg


def find_damage(cell: Path) -> str:
    """Return the reason why a cell cannot be trained from its folder; "" if it can."""
    if not cell.is_dir():
        return "its folder is gone"
    if not (cell / run_folder.CONFIG).exists():
        return f"it has no {run_folder.CONFIG}"
    try:
        run_config.load_config(cell)
    except UserError:
        return f"its {run_folder.CONFIG} is damaged"
    if not run_folder.read_json(cell / run_folder.RUN):
        return f"it has no whole {run_folder.RUN}"
    return "" if (cell / run_folder.CHECKPOINTS).is_dir() else f"it has no {run_folder.CHECKPOINTS}"


def repair_cells(
    folder: Path,
    content: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
    launcher: Launcher,
    first: Change = keep_config,
    now: Change = keep_config,
) -> dict[Path, str]:
    """Write damaged cells again: all are checked before the first is written.

    Args:
        folder: the sweep.
        content: its sweep.yaml.
        cells: those of it that are looked at.
        launcher: what will train them.
        first: gives the config whose fingerprint stands in sweep.yaml.
        now: gives the one to be written, where it has changed since then (a rung of halving).

    Returns:
        The cells that were written, and what was wrong with each.

    Raises:
        UserError: one of them would come out as another run than it was.
    """
    command = str(content.get("command") or "")
    made: list[tuple[Path, Prepared]] = []
    repaired: dict[Path, str] = {}
    built: dict[str, dict[str, Any]] = {}
    for cell in cells:
        path = folder / cell["folder"]
        why = find_damage(path)
        if not why:
            continue
        values.refuse_interpolation(cell["overrides"], folder / run_folder.SWEEP)
        try:
            prepared = _compose(command, cell["overrides"], built, gpus_of(launcher))
        except UserError as error:
            raise UserError(f"{path} is damaged and cannot be written again: {error}") from None
        if asked.fingerprint(schema.to_dict(first(path, prepared.cfg))) != cell.get("config"):
            raise UserError(
                f"{path} is damaged, and its words give another config today (a YAML, its data or "
                "the code has changed); remove the cell from sweep.yaml, or put back what changed"
            )
        repaired[path] = why
        made.append((path, Prepared(now(path, prepared.cfg), prepared.data, prepared.run_info)))
    for path, prepared in made:
        _write(path, prepared, command)
    return repaired


def _compose(
    command: str, overrides: Sequence[str], built: dict[str, dict[str, Any]], gpus: int | None
) -> Prepared:
    try:
        given = compose.parse_line(shlex.split(command)[2:])
    except (ValueError, UserError):
        given = compose.parse_line([])
    line = given._replace(overrides=list(overrides), multirun=False, show=[])
    (cell,) = compose.compose_cells("train", line)
    config, _ = drop_absent_keys(cell._replace(swept={"bottleneck": ""}))
    return prepare(config, lambda _: None, built=built, gpus=gpus)


def _write(path: Path, prepared: Prepared, command: str) -> None:
    """A cell's config.yaml and run.json; checkpoints and rows that are there stay."""
    described = run_folder.read_json(path / run_folder.RUN)
    path.mkdir(exist_ok=True)
    (path / run_folder.CHECKPOINTS).mkdir(exist_ok=True)
    run_folder.write_config(path, schema.to_dict(prepared.cfg))
    fresh = prepared.run_info | {"command": command, "started": run_folder.now()}
    atomic_write.write_json(path / run_folder.RUN, fresh | described)
