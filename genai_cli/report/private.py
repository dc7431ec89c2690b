"""Shorten paths of the machine: a page that is mailed must not show where its maker lives."""

from __future__ import annotations

import re
from pathlib import Path

# An absolute path of two parts or more: all but its last part becomes "…/". Not behind a letter,
# so that "images/s", "train/loss" and "https://host/x" stay.
_POSIX = re.compile(r"(?<![\w.~/:…*-])/(?:[^\s/\"'<>|,;:()\[\]{}=]+/)+(?=[^\s/])")
_HOME = re.compile(r"(?<![\w…])~[\w.-]*/(?:[^\s/\"'<>|,;:()\[\]{}=]+/)*")
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:|\\)\\(?:[^\s\\\"'<>|,;]+\\)*")
_QUOTED = re.compile(r"""(["'])(/|~|[A-Za-z]:[\\/])([^"'\n]*)\1""")
_PACKAGE_PATH = re.compile(r"(?:^|[/\\])((?:genai_cli|site-packages)[/\\].*)$")


def without_paths(text: object, *known: Path) -> str:
    """Return ``text`` with each absolute path cut down to its last part, our own files to theirs.

    Args:
        text: a command, a setting, lines of a log.
        known: folders that may stand in it whole, with spaces perhaps: a run, the user's home.
    """
    out = str(text)
    for folder in sorted((k.absolute() for k in known), key=lambda k: -len(str(k))):
        if folder.name:  # not the root
            short = "~" if folder == Path.home() else f"…/{folder.name}"
            out = re.sub(rf"{re.escape(str(folder))}(?![\w.-])", short, out)
    out = _QUOTED.sub(lambda m: f"{m[1]}{_last(m[2] + m[3])}{m[1]}", out)
    out = _POSIX.sub("…/", out)
    out = _HOME.sub("…/", out)
    return _WINDOWS.sub(lambda m: "…\\", out)


def _last(path: str) -> str:
    package_path = _PACKAGE_PATH.search(path)
    if package_path:
        return package_path[1]
    parts = [p for p in re.split(r"[/\\]", path) if p]
    return f"…/{parts[-1]}" if len(parts) > 1 else path
