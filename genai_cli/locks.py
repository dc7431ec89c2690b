"""Who works in a folder: a lock that no crash leaves behind."""

from __future__ import annotations

from typing import TextIO


def lock(file: TextIO | int) -> bool:
    """Take the exclusive lock of an open file or folder, if it is free; the kernel drops it
    with its owner.

    Where a system or a network share has no such locks, the answer is yes.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True
