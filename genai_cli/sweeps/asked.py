"""sweep.yaml: what was asked of a sweep, and the cells that came of it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from genai_cli import plain_yaml, runs
from genai_cli.compose import Cell
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Launcher
from genai_cli.sweeps.lists import cell_words, over_words
from genai_cli.sweeps.settings import Sweep


def asked(
    command: str,
    sweep: Sweep,
    how: Launcher,
    cells: Sequence[tuple[str, Cell, Mapping[str, Any]]],
    left_out: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """The content of sweep.yaml.

    Args:
        command: as typed.
        sweep: how it is searched.
        how: what starts its cells.
        cells: folder, words and plain config of each.
        left_out: what is varied in the cells that cannot be trained, and why.
    """
    described = {
        "schema": runs.SCHEMA,
        "command": command,
        "varied": list(dict.fromkeys(key for _, cell, _ in cells for key in cell.swept)),
        "launcher": dataclasses.asdict(how),
        "sweep": dataclasses.asdict(sweep),
    }
    if left_out:
        described["left_out"] = [{"cell": cell, "why": why} for cell, why in left_out]
    described["cells"] = [entry(name, cell, config) for name, cell, config in cells]
    return described


def entry(name: str, cell: Cell, config: Mapping[str, Any]) -> dict[str, Any]:
    """A cell in sweep.yaml: enough to write its folder again, and to know that it is the same."""
    return {"folder": name, "overrides": cell.overrides, "config": fingerprint(config)}


def fingerprint(config: Mapping[str, Any]) -> str:
    """Twelve characters that tell whether two configs are equal."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write(folder: Path, content: Mapping[str, Any]) -> None:
    runs.write_text(folder / runs.SWEEP, plain_yaml.dump(content))


def own_line(folder: Path, content: Mapping[str, Any], folders: Sequence[str]) -> None:
    """Refuse what the trials to come must not take from a sweep.yaml, which may be a stranger's.

    Args:
        folder: the sweep, a search.
        content: its sweep.yaml.
        folders: of ``-cd``, as typed today.

    Raises:
        UserError: words that look something up; a folder of configs that the line does not name.
    """
    line = content.get("line")
    given = line if isinstance(line, dict) else {}
    words, places = given.get("overrides") or [], given.get("config_dirs") or []
    if not all(isinstance(x, list) and all(isinstance(w, str) for w in x) for x in (words, places)):
        raise UserError(f"{folder / runs.SWEEP} is damaged")
    searched = content.get("sweep")
    varied = searched if isinstance(searched, dict) else {}
    over, listed = varied.get("over"), varied.get("cells")
    if isinstance(over, dict):
        words = [*words, *over_words(over, [])]
    if isinstance(listed, list):
        words = [*words, *itertools.chain(*cell_words(listed, (), []))]
    no_lookup(words, folder / runs.SWEEP)
    for place in places:
        if str(Path(place).resolve()) not in folders:
            raise UserError(
                f"this search was started with configs of {place}; to take them from there again, "
                f"type: genai sweep resume {folder} -cd {shlex.quote(place)}"
            )


def no_lookup(words: Sequence[str], path: Path) -> None:
    """Refuse words that would read the environment, or another key, when they are composed again.

    Raises:
        UserError: ``${oc.env:TOKEN}``, however its bracket is escaped: the file may be a
            stranger's, and what it looks up would stand in a run folder.
    """
    for word in words:
        if re.search(r"\$\\*\{", word):
            raise UserError(f"{path}: '{word}' looks something up; {path.name} holds plain values")


def read(folder: Path) -> dict[str, Any]:
    """sweep.yaml, of which ``cells`` and ``varied`` can be counted on.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / runs.SWEEP
    try:
        content = plain_yaml.load(path.read_text(encoding="utf-8"))
        names = [cell["folder"] for cell in content["cells"]]
        words = [word for cell in content["cells"] for word in cell["overrides"]]
        # a stranger's sweep.yaml is data: its cells are folders of the sweep and no others
        inside = (n == Path(n).name not in ("", "..") and n.isprintable() for n in names)
        if all(inside) and all(isinstance(word, str) for word in [*words, *content["varied"]]):
            return content
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        pass
    raise UserError(f"{path} is damaged")
