"""Explain errors of the disk in words a user can act on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

FREE_SOME = "free some space"
DENIED = (errno.EACCES, errno.EPERM)
NO_SHARE = (errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH)
EXPLANATIONS = {  # errno: what has happened, what to do before going on
    **dict.fromkeys(DENIED, ("permission denied", "put the permission back")),
    **dict.fromkeys(NO_SHARE, ("the network share is gone", "mount it again")),
    errno.ENOSPC: ("the disk is full", FREE_SOME),
    errno.EDQUOT: ("your quota of the disk is used up", FREE_SOME),
    errno.EFBIG: ("a file may not be so large here", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the disk is read-only", "make it writable"),
    errno.EIO: ("the disk failed to read or write", "look after the disk"),
    errno.ETIMEDOUT: ("the network share does not answer", "mount it again"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open", "close some programs"),
}


def explain(error: BaseException, folder: Path) -> tuple[str, str] | None:
    """Return (what happened and where, what to do first), or None if the error is no disk's.

    Args:
        error: that ended the work.
        folder: that was being written: how much is free is asked there.
    """
    if not isinstance(error, OSError):
        return None
    if isinstance(error, FileNotFoundError) and not folder.exists():
        return "its folder is gone (removed, or on a share that is)", "bring it back"
    explanation = EXPLANATIONS.get(error.errno or 0)
    if explanation is None:
        return None
    what, todo = explanation
    where = f" ({_file(error, folder)})" if error.filename is not None else ""
    if todo == FREE_SOME:
        what += _free(folder)
    return what + where, todo


def explain_in_one_line(error: BaseException) -> str | None:
    """Explain an error as `explain` does, in one line, for work without a folder of its own."""
    name = getattr(error, "filename", None)
    if isinstance(error, FileNotFoundError):
        return None
    explanation = explain(error, Path(os.fsdecode(name)).parent if name is not None else Path())
    return explanation and "; ".join(explanation)


def _file(error: OSError, folder: Path) -> str:
    """The file as seen from the folder, by the name it was to get."""
    path = Path(os.fsdecode(error.filename))
    if path.is_relative_to(folder):
        path = path.relative_to(folder)
    return str(path)


def _free(folder: Path) -> str:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return f", {shutil.disk_usage(folder).free / 1e6:,.1f} MB free"
    except OSError:
        return ""
