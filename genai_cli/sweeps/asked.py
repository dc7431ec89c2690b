"""Write the manifest of a sweep (sweep.yaml): its command, its settings and its cells."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli.config.compose import ComposedCell
from genai_cli.config.sweep_lists import cell_words, over_words
from genai_cli.config.values import refuse_interpolation
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Launcher
from genai_cli.store import run_folder, safe_yaml
from genai_cli.sweeps.settings import Sweep
from genai_cli.system import atomic_write


def manifest(
    command: str,
    sweep: Sweep,
    launcher: Launcher,
    cells: Sequence[tuple[str, ComposedCell, Mapping[str, Any]]],
    left_out: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Build the content of sweep.yaml.

    Args:
        command: as typed.
        sweep: how it is searched.
        launcher: what starts its cells.
        cells: folder, words and plain config of each.
        left_out: what is varied in the cells that cannot be trained, and why.
    """
    described = {
        "schema": run_folder.SCHEMA,
        "command": command,
        "varied": list(dict.fromkeys(key for _, cell, _ in cells for key in cell.swept)),
        "launcher": dataclasses.asdict(launcher),
        "sweep": dataclasses.asdict(sweep),
    }
    if left_out:
        described["left_out"] = [{"cell": cell, "why": why} for cell, why in left_out]
    described["cells"] = [cell_entry(name, cell, config) for name, cell, config in cells]
    return described


def cell_entry(name: str, cell: ComposedCell, config: Mapping[str, Any]) -> dict[str, Any]:
    """Build a cell's entry in sweep.yaml: enough to write its folder again and to compare it."""
    return {"folder": name, "overrides": cell.overrides, "config": fingerprint(config)}


def fingerprint(config: Mapping[str, Any]) -> str:
    """Hash a config to twelve hex digits; configs that train the same run have equal hashes.

    How figures are drawn changes no number, and sweeps of version 0.1 did not record it.
    """
    text = json.dumps({k: v for k, v in config.items() if k != "figures"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    atomic_write.write_text(folder / run_folder.SWEEP, safe_yaml.dump(content))


def refuse_untrusted_line(folder: Path, content: Mapping[str, Any], folders: Sequence[str]) -> None:
    """Refuse a sweep.yaml whose stored words would look something up or read foreign folders.

    Args:
        folder: the sweep, a search.
        content: its sweep.yaml.
        folders: of ``-cd``, as typed today.

    Raises:
        UserError: words that look something up; a folder of configs that the line does not name.
    """
    line = content.get("line")
    given = line if isinstance(line, dict) else {}
    words, config_dirs = given.get("overrides") or [], given.get("config_dirs") or []
    if not all(
        isinstance(x, list) and all(isinstance(w, str) for w in x) for x in (words, config_dirs)
    ):
        raise UserError(f"{folder / run_folder.SWEEP} is damaged")
    searched = content.get("sweep")
    varied = searched if isinstance(searched, dict) else {}
    over, listed = varied.get("over"), varied.get("cells")
    if isinstance(over, dict):
        words = [*words, *over_words(over, [])]
    if isinstance(listed, list):
        words = [*words, *itertools.chain(*cell_words(listed, (), []))]
    refuse_interpolation(words, folder / run_folder.SWEEP)
    for config_dir in config_dirs:
        if str(Path(config_dir).resolve()) not in folders:
            raise UserError(
                f"this search was started with configs of {config_dir}; to take them from there "
                f"again, type: genai sweep resume {folder} -cd {shlex.quote(config_dir)}"
            )
