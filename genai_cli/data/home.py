"""Where data lies on this machine: the data folder, the user's paths, scikit-learn's files."""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path

from genai_cli.data.raw import shown
from genai_cli.errors import UserError


def data_home() -> Path:
    """The folder of downloaded sets: $GENAI_DATA, or genai/data in the user's cache."""
    given = os.environ.get("GENAI_DATA")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "genai" / "data"


def user_path(path: str | None, key: str, what: str) -> Path:
    """``path`` with ~ expanded; one line where it is missing or not there."""
    if not path or path == "???":
        raise UserError(f"{key} is missing; add {key}={what}")
    found = Path(path).expanduser()
    if not found.exists():
        raise UserError(f"{key}={shown(path)} is not there (looked at {shown(found.absolute())})")
    return found


def sklearn_file(name: str) -> Path | None:
    """One of the data files inside scikit-learn, found without importing it (1.1 s)."""
    package = importlib.util.find_spec("sklearn")
    for place in (package.submodule_search_locations if package else None) or ():
        path = Path(place) / "datasets" / "data" / name
        if path.is_file():
            return path
    return None


def sklearn_text(name: str) -> str:
    """The text of that file, unpacked."""
    path = sklearn_file(name)
    if path is None:
        raise UserError(
            f"scikit-learn's data file {name} is not on this machine; type "
            "'pip install scikit-learn'"
        )
    data = path.read_bytes()
    return (gzip.decompress(data) if name.endswith(".gz") else data).decode()
