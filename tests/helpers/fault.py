"""What can go wrong with a file, made to happen: at one chosen operation, in this process.

Every operation by which a run changes its folder is counted: opening for writing, each write,
fsync, rename, mkdir, removal, the tensors of a checkpoint. At the chosen one the process is killed
(before it, halfway, after it), or its folder is removed under it, or from there on all of them
fail with an errno.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

FREEING = ("remove", "rename")  # what a full disk still does


class Fault:
    """The operations on what lies below a folder.

    Args:
        root: the folder; paths elsewhere are left alone.
        at: number of the operation, from 0, or [label, number] among those of that label, as
            ["rename step", 2]; None: only count.
        how: before, half or after: a kill; vanish: all that is in ``root`` is removed first, once;
            error: the operation fails.
        number: errno of the failure, for this operation and all after it.
        freeing: whether removing and renaming fail, too.
    """

    def __init__(
        self,
        root: str,
        at: int | list | None = None,
        how: str = "before",
        number: int = 0,
        freeing: bool = False,
    ) -> None:
        self.root = os.path.abspath(root) + os.sep
        self.at, self.how, self.number, self.freeing = at, how, number, freeing
        self.seen: list[str] = []  # "write metrics.csv", in order
        self.hit, self.vanishing = False, os.path.abspath(root)

    def install(self) -> None:
        from genai_cli.training import checkpoint

        for name in ("replace", "rename"):
            setattr(os, name, self._around(getattr(os, name), "rename", 1))
        os.fsync = self._around(os.fsync, "fsync", 0)
        os.mkdir = self._around(os.mkdir, "mkdir", 0)
        os.unlink = os.remove = self._around(os.unlink, "remove", 0)
        os.rmdir = self._around(os.rmdir, "remove", 0)
        os.write = self._around(os.write, "write", 0, self._half_of_bytes(os.write))
        checkpoint.save_file = self._around(checkpoint.save_file, "tensors", 1, self._half_a_file)
        builtins.open = io.open = self._opening(io.open)

    def _around(
        self,
        real: Callable,
        label: str,
        which: int,
        half: Callable[..., None] | None = None,
    ) -> Callable:
        """``real``, counted; argument ``which`` is the path or the descriptor."""

        def operation(*args: Any, **kwargs: Any) -> Any:
            whole, part = partial(real, *args, **kwargs), half and partial(half, *args, **kwargs)
            return self.run(label, args[which], whole, part, kwargs.get("dir_fd"))

        return operation

    def run(
        self,
        label: str,
        place: Any,
        real: Callable[[], Any],
        half: Callable[[], None] | None = None,
        dir_fd: int | None = None,
    ) -> Any:
        path = _path(place, dir_fd)
        if not path.startswith(self.root):
            return real()
        name = f"{label} {_plain(path)}"
        self.seen.append(name)
        if not self.hit and not self._now(name):
            return real()
        self.hit = True
        if self.how == "vanish":
            self.root = os.devnull
            shutil.rmtree(self.vanishing)
            return real()
        if self.how == "error":
            if label in FREEING and not self.freeing:
                return real()
            raise OSError(self.number, os.strerror(self.number), path)
        if self.how == "half" and half is not None:
            half()
        elif self.how != "before":
            real()
        _die()

    def _now(self, name: str) -> bool:
        """Whether this is the operation that was chosen; it is the last one seen."""
        if isinstance(self.at, list):
            return name == self.at[0] and self.seen.count(name) == self.at[1] + 1
        return len(self.seen) - 1 == self.at

    def _half_of_bytes(self, write: Callable) -> Callable[[int, bytes], None]:
        return lambda descriptor, data: write(descriptor, bytes(data)[: len(data) // 2])

    def _half_a_file(self, tensors: Any, path: Path) -> None:
        from safetensors.torch import save_file

        save_file(tensors, path)
        os.truncate(path, os.path.getsize(path) // 2)

    def _opening(self, real: Callable) -> Callable:
        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+") or isinstance(file, int):
                return real(file, mode, *args, **kwargs)
            made = self.run("open", file, lambda: real(file, mode, *args, **kwargs))
            return _File(made, self, file)

        return opened


class _File:
    """An open file whose writes are counted."""

    def __init__(self, file: Any, fault: Fault, path: Any) -> None:
        self._file, self._fault, self._path = file, fault, path

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        return self._fault.run("write", self._path, lambda: self._file.write(data), half)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _path(place: Any, dir_fd: int | None) -> str:
    """The absolute path of a path, of a descriptor, or of a name in a folder's descriptor."""
    if isinstance(place, int):
        return os.readlink(f"/proc/self/fd/{place}")
    path = os.fsdecode(place)
    if dir_fd is not None:
        path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
    return os.path.abspath(path)


def _plain(path: str) -> str:
    """A file's name without what differs between two runs: ``.run.json.77-f0.tmp`` is run.json."""
    name = os.path.basename(path)
    if name.startswith(".") and name.endswith(".tmp"):
        name = name[1:-4]
        name = name if name.startswith("step-") else name.rpartition(".")[0]
    return "step" if name.startswith("step-") else name


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")
