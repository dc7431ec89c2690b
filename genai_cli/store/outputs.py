"""What stands in an outputs folder, in the order it was begun: runs, sweeps, comparisons, and
lectures, each with an outputs folder for every experiment in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

LECTURE = "lecture.json"
DAYS = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def list_matching(folder: Path, pattern: str) -> list[Path]:
    """Paths in a folder whose names match a pattern, sorted; none where there is no such folder.

    `Path.glob` finds nothing in a folder that cannot be read, too: since Python 3.13 whatever the
    reason, before where the permission is missing.

    Raises:
        OSError: the folder cannot be read, or no path can have this name.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in the name
        return []
    return [folder / name for name in sorted(names) if fnmatchcase(name, pattern)]


def is_lecture(path: Path) -> bool:
    try:
        return (path / LECTURE).is_file()
    except (OSError, ValueError):  # a word too long for a name, or with NUL in it
        return False


def folders(root: Path) -> Iterator[Path]:
    """Every folder of a run, a sweep or a comparison, a lecture's in the place of the lecture."""
    for path in _all(root):
        if is_lecture(path):
            for item in sorted(p for p in path.iterdir() if p.is_dir()):
                yield from folders(item)
        else:
            yield path


def lectures(root: Path) -> list[Path]:
    """The folders of lectures, oldest first."""
    return [path for path in _all(root) if is_lecture(path)]


def start_key(path: Path) -> tuple[str, str]:
    """Sorts folders of ``folders`` by the time in their names: DATE/TIME-…."""
    return path.parent.name, path.name


def _all(root: Path) -> Iterator[Path]:
    for day in list_matching(root, DAYS):
        yield from sorted(p for p in day.iterdir() if p.is_dir())
