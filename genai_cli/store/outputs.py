"""List the runs, sweeps, comparisons and lectures of an outputs folder by start time. A lecture
holds an outputs folder for each of its experiments.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

LECTURE = "lecture.json"
DAYS = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def list_matching(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder whose names match a pattern, sorted; none without the folder.

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
    """Tell whether a path is the folder of a lecture."""
    try:
        return (path / LECTURE).is_file()
    except (OSError, ValueError):  # a word too long for a name, or with NUL in it
        return False


def folders(root: Path) -> Iterator[Path]:
    """Yield every folder of a run, a sweep or a comparison, those of lectures included."""
    for path in _all(root):
        if is_lecture(path):
            for item in sorted(p for p in path.iterdir() if p.is_dir()):
                yield from folders(item)
        else:
            yield path


def lectures(root: Path) -> list[Path]:
    """Return the folders of lectures, oldest first."""
    return [path for path in _all(root) if is_lecture(path)]


def start_key(path: Path) -> tuple[str, str]:
    """Return the sort key of a folder: the date and time in its path, DATE/TIME-…."""
    return path.parent.name, path.name


def _all(root: Path) -> Iterator[Path]:
    for day in list_matching(root, DAYS):
        yield from sorted(p for p in day.iterdir() if p.is_dir())
