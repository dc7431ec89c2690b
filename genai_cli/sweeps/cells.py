"""The cells of a sweep: their names, what became of them, and the lock of their sweep."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from genai_cli.config.compose import ComposedCell
from genai_cli.config.overrides import GROUPS
from genai_cli.errors import UserError
from genai_cli.runner.lifecycle import set_status
from genai_cli.store import run_folder
from genai_cli.system.file_lock import LocksUnsupported, lock

LOCK = ".lock"  # in a sweep's folder: its other files are replaced, and a lock is an inode's


def cell_name(index: int, cell: ComposedCell) -> str:
    """Return a name like ``000-vae-bottleneck-8``: a group's choice, another key with its value."""
    parts = [v if k in GROUPS else f"{k}-{v}" for k, v in cell.swept.items()]
    return f"{index:03d}-{run_folder.slug('-'.join(parts), 80)}"


def sync_cells(cells: Sequence[Path], here: bool = True) -> list[Path]:
    """Correct the status of every cell and return the cells that have not begun.

    Args:
        cells: that a launcher has started, or was to.
        here: they ran on this machine, where a lock tells whether one still does.
    """
    waiting = []
    for cell in cells:
        if not (cell / run_folder.LOG).exists():
            waiting.append(cell)
            set_status(cell, "interrupted")
        elif (
            here and run_folder.status(cell, run_folder.read_json(cell / run_folder.RUN)) == "died"
        ):
            with open(cell / run_folder.LOG, "a", encoding="utf-8") as log:
                log.write("its process ended without a word\n")
            set_status(cell, "failed")
    return waiting


@contextmanager
def sweep_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a sweep, so that no other process launches its cells.

    Raises:
        UserError: another one does.
    """
    with open(folder / LOCK, "ab") as file:  # for writing: an exclusive lock on NFS needs that
        try:
            ours = lock(file)
        except LocksUnsupported as error:
            message = f"note: no locks on the disk of {folder} ({error.strerror}): let nobody else"
            print(f"{message} launch it meanwhile", file=sys.stderr)
            ours = True
        if not ours:
            raise UserError(f"{folder} is being trained by another process")
        yield
