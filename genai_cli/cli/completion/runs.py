"""List the runs, sweeps and lectures for TAB by their folders' names, newest first."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genai_cli.store.outputs import is_lecture

RUNS = 200  # of the newest are offered at most


def runs(args: Sequence[str], current: str, sweeps: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (word, meaning) of names of runs: ``latest``, a suffix, SUFFIX/CELL; with ``sweeps``,
    those too.
    """
    yield "latest ", "the newest run or sweep" if sweeps else "the newest run"
    for folder, label, suffix, meaning in run_folders(args):
        if label in ("compare", "lecture"):  # a comparison's files; a lecture's runs follow it
            continue
        if label != "sweep":
            yield f"{suffix} ", f"{meaning} {label}"
        elif not current.startswith(f"{suffix}/"):
            if sweeps:
                yield f"{suffix} ", f"{meaning} {label}"
            yield f"{suffix}/", f"{meaning} {label}"
        else:
            for cell in sorted(names(folder)):
                number, _, what = cell.partition("-")
                if not number.isdigit():
                    continue
                yield f"{suffix}/{number} ", what


def sweeps(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (word, meaning) of names of sweeps."""
    yield "latest ", "the newest sweep"
    for folder, _, suffix, meaning in run_folders(args):
        if (folder / "sweep.yaml").is_file():
            yield f"{suffix} ", meaning


def lectures(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (word, meaning) of names of lectures."""
    yield "latest ", "the newest lecture"
    for folder, _, suffix, meaning in run_folders(args):
        if is_lecture(folder):
            yield f"{suffix} ", meaning


def run_folders(args: Sequence[str]) -> Iterator[tuple[Path, str, str, str]]:
    """Yield (folder, label, suffix, date and time) of the newest folders, `RUNS` at most."""
    given = [a.partition("=")[2] for a in args if a.startswith("outputs=")]
    root = Path((given or [os.environ.get("GENAI_OUTPUTS") or "outputs"])[0])
    for folder in itertools.islice(_newest(root), RUNS):
        label, _, suffix = folder.name[9:].rpartition("-")
        yield folder, label, suffix, f"{folder.parent.name} {folder.name[:5].replace('-', ':')}"


def _newest(root: Path) -> Iterator[Path]:
    """The folders of an outputs folder, newest first; behind a lecture those in it."""
    for day in sorted(names(root), reverse=True):
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            continue
        for name in sorted(names(root / day), reverse=True):
            if not re.match(r"\d\d-\d\d-\d\d-.+-\w+$", name):
                continue
            folder = root / day / name
            yield folder
            if is_lecture(folder):
                for item in sorted(names(folder), reverse=True):
                    yield from _newest(folder / item)


def names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []
