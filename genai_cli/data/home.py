"""Locate data on this machine: the data folder, the user's paths, scikit-learn's files."""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path

from genai_cli.data.raw import one_line
from genai_cli.errors import UserError


def data_home() -> Path:
    """Return the folder of downloaded sets: $GENAI_DATA, or genai/data in the user's cache."""
    given = os.environ.get("GENAI_DATA")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "genai" / "data"


def data_homes() -> list[Path]:
    """Return the folders searched for a set: the data folder, then DIR/datasets for each DIR of
    $XDG_DATA_DIRS, where a system's packages put theirs (/usr/share/datasets/fashion-mnist)."""
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [data_home(), *(Path(d) / "datasets" for d in shared.split(":") if d.startswith("/"))]


def user_place(path: str, key: str) -> Path:
    """Return ``path`` with ~ expanded, whether or not it exists.

    Raises:
        UserError: ~ of a user that this machine does not know, or of one without a home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"{key}={one_line(path)}: no such home folder; write the path out"
        ) from None


def user_path(path: str | None, key: str, what: str) -> Path:
    """Return ``path`` with ~ expanded; an error where it is missing or does not exist."""
    if not path or path == "???":
        raise UserError(f"{key} is missing; add {key}={what}")
    expanded = user_place(path, key)
    try:
        there = expanded.exists()
    except (OSError, ValueError) as error:  # a loop of links, a folder nobody may enter, NUL
        raise UserError(f"{key}={one_line(path)} cannot be opened: {_why(error)}") from None
    if not there:
        looked = "" if expanded.is_absolute() else f" (looked at {one_line(expanded.absolute())})"
        raise UserError(f"{key}={one_line(path)} is not there{looked}; give a {what} that is")
    return expanded


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def sklearn_file(name: str) -> Path | None:
    """Return the path of a data file of scikit-learn without importing it (1.1 s)."""
    package = importlib.util.find_spec("sklearn")
    for location in (package.submodule_search_locations if package else None) or ():
        path = Path(location) / "datasets" / "data" / name
        if path.is_file():
            return path
    return None


def sklearn_text(name: str) -> str:
    """Return the text of a data file of scikit-learn, unpacked."""
    path = sklearn_file(name)
    if path is None:
        raise UserError(
            f"scikit-learn's data file {name} is not on this machine; type "
            "'pip install scikit-learn'"
        )
    data = path.read_bytes()
    return (gzip.decompress(data) if name.endswith(".gz") else data).decode()
