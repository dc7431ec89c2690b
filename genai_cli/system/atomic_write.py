"""Write files atomically: to a temporary file, made durable, then renamed."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# a folder that cannot be opened (Windows) or synced (some shares); a failing disk is no such case
WITHOUT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES,
                errno.EPERM, errno.EISDIR, errno.ENOSYS)  # fmt: skip


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Replace a small file in one step: readers see the old or the new one, never half.

    Args:
        path: the file.
        text: all of it.
        durable: wait until the disk has it; a power cut may otherwise leave an empty file.

    Raises:
        OSError: it could not be written; the old file is there, and nothing beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.tmp")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def write_json(path: Path, value: Mapping[str, Any], durable: bool = True) -> None:
    """Write a JSON object with `write_text`."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n", durable)


def append(path: Path, text: str) -> None:
    """Add whole lines to a file, or none of them.

    Raises:
        OSError: they could not be written; the file is as it was.
    """
    with open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            write_all(file.fileno(), text.encode())
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file.fileno(), size)
            raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``: a disk that is nearly full takes a part at first, then fails."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def sync_folder(path: Path) -> None:
    """Make a rename or a new name in a folder durable, where its file system can.

    Raises:
        OSError: the disk failed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in WITHOUT_SYNC:
            raise


def clear_leftovers(folder: Path, names: tuple[str, ...]) -> None:
    """Remove what a killed process wrote beside files of a folder and could not rename.

    Args:
        folder: one that we alone write these files in.
        names: endings of the files: ``run.json``, ``.png``.
    """
    for path in folder.glob(".*.tmp"):
        written = path.name[1:].removesuffix(".tmp").rpartition(".")[0]
        if written.endswith(names):
            with suppress(OSError):
                path.unlink()
