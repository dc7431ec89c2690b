"""List the remaining cells of a sweep and the reasons: the first table of `genai sweep resume`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from genai_cli.runner.lifecycle import set_status
from genai_cli.store import run_folder
from genai_cli.store.sweep_table import MAX_ROWS, last_log_line
from genai_cli.system import atomic_write
from genai_cli.system.text import format_table
from genai_cli.training import checkpoint

TRAINED = ("finished", "stopped")
NEW = "waiting"  # nothing was lost, and nothing is done again


class RemainingCell(NamedTuple):
    """A cell that is to be trained."""

    cell: Path
    was: str  # waiting, interrupted, died, failed, lost; finished or stopped and not measured yet
    why: str
    step: int  # of the checkpoint that it goes on from; 0: from the start

    @property
    def goes(self) -> str:
        if self.was in TRAINED:
            return "only measured"
        return f"on from step {self.step}" if self.step else "from the start"


def inspect_cells(cells: Sequence[Path], mended: Mapping[Path, str]) -> list[RemainingCell]:
    """Inspect the status of cells before they are started.

    Args:
        cells: to be trained.
        mended: those that were just written again, and what had been wrong.
    """
    return [
        RemainingCell(cell, *_read_status(cell, mended.get(cell, "")), _checkpoint_step(cell))
        for cell in cells
    ]


def _read_status(cell: Path, wrong: str) -> tuple[str, str]:
    if wrong:
        return "lost", f"{wrong}: written again"
    described = run_folder.read_json(cell / run_folder.RUN)
    status = run_folder.status(cell, described)
    if not (cell / run_folder.LOG).exists():
        return NEW, "it had not begun"
    why = dict.fromkeys(TRAINED, run_folder.UNMEASURED) | {
        "died": "its process ended without a word",
        "interrupted": "it was told to stop",
        "failed": last_log_line(cell),
    }
    return status, why.get(status, "")


def _checkpoint_step(cell: Path) -> int:
    newest = next(iter(checkpoint.candidates(cell / run_folder.CHECKPOINTS)), None)
    return int(newest.name[5:]) if newest else 0


def begin_cells(folder: Path, remaining: Sequence[RemainingCell], number: int) -> None:
    """Print the table of remaining cells and record in each run.json why it is started again.

    Args:
        folder: the sweep.
        remaining: what is left of it.
        number: of all its cells.
    """
    listed = sorted(remaining, key=lambda one: one.was == NEW)[:MAX_ROWS]
    rows = [(x.cell.name, x.was, x.why[:80], x.goes) for x in remaining if x in listed]
    title = f"sweep  {folder}: {len(remaining)} of {number} runs left"
    print(format_table(title, ("cell", "was", "why", "goes"), rows, left=(0, 1, 2, 3)))
    if len(remaining) > len(listed):
        print(f"  and {len(remaining) - len(listed)} more")
    print(end="", flush=True)
    for one in remaining:
        if one.was != NEW:
            _record_restart(one)
        set_status(one.cell, "running")


def _record_restart(one: RemainingCell) -> None:
    """The last that befell a cell; what came before it is in its log."""
    described = run_folder.read_json(one.cell / run_folder.RUN)
    again = {"was": one.was, "why": one.why, "step": one.step}
    atomic_write.write_json(one.cell / run_folder.RUN, described | {"again": again}, durable=False)
