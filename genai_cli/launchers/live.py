"""Monitor the cells of a sweep while other processes train them.

On a terminal a table of the running ones stays at the bottom; a cell that has ended is a line of
its own, there and in a log.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from genai_cli.runner.console import on_terminal, show
from genai_cli.store import run_folder
from genai_cli.system.terminal import escape_control, raw_stream
from genai_cli.system.text import format_number

REFRESH_SECONDS = 0.5  # seconds between two looks at the running cells
MAX_ROWS = 16  # of the live table at most


class CellMonitor:
    """Tracks and prints the state of a sweep's cells as its launcher reports it.

    Args:
        cells: those that are to be trained now.
    """

    def __init__(self, cells: Sequence[Path]) -> None:
        self.number, self.reported = len(cells), 0
        self.running: dict[Path, str] = {}  # cell → where: a job of Slurm's; "" here
        self.ended: dict[Path, str] = {}
        self.started: set[Path] = set()
        self.live: Any = None
        self.drawn = time.monotonic()

    def __enter__(self) -> CellMonitor:
        self.go_on()
        return self

    def go_on(self) -> None:
        """Start the live table if stdout is a terminal."""
        if on_terminal():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=raw_stream(sys.stdout))
            self.live = Live(console=console, auto_refresh=False, transient=True)
            self.live.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pause()

    def pause(self) -> None:
        """Stop the live table, so that a question can be printed."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def line(self, text: str) -> None:
        """Print a line above the live table."""
        if self.live is not None:
            self.live.console.print(
                escape_control(text), highlight=False, markup=False, soft_wrap=True
            )
        else:
            show(text)

    def begins(self, cell: Path, where: str = "") -> None:
        """Mark a cell as running, for the first time or again."""
        if cell not in self.running:
            again = "again" if cell in self.started else "begins"
            self.started.add(cell)
            self.running[cell] = where
            if self.live is None:
                self.line(f"{cell.name}  {again}{f'  {where}' if where else ''}")

    def waits(self, cell: Path) -> None:
        """Mark a cell as waiting: it was running and is queued again."""
        self.running.pop(cell, None)

    def ends(self, cell: Path) -> None:
        """Mark a cell as ended and print its status and metrics from its folder."""
        if cell in self.ended:
            return
        self.running.pop(cell, None)
        self.reported += 1
        status = str(run_folder.read_json(cell / run_folder.RUN).get("status"))
        self.ended[cell] = status
        done = run_folder.read_json(cell / run_folder.SUMMARY)
        about = ""
        if status in ("finished", "stopped") and done:
            metrics = list(done.get("metrics", {}).items())[:2]
            numbers = "  ".join(
                f"{name} {format_number(entry['value'])}" for name, entry in metrics
            )
            numbers = run_folder.UNMEASURED if run_folder.unmeasured(done) else numbers
            about = f" after {done['epoch']} epochs, {done['seconds']:.1f} s  {numbers}"
        elif status == "failed":
            about = f": {last_log_line(cell)}"
        width = len(str(self.number))
        self.line(f"{self.reported:{width}d}/{self.number}  {cell.name}  {status}{about}".rstrip())

    def look(self) -> None:
        """Redraw the live table if `REFRESH_SECONDS` have passed."""
        now = time.monotonic()
        if self.live is not None and now - self.drawn >= REFRESH_SECONDS:
            self.drawn = now
            self.live.update(self._table(), refresh=True)

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        failed = sum(status == "failed" for status in self.ended.values())
        waiting = self.number - len(self.ended) - len(self.running)
        counts = f"{len(self.ended)} ended, {len(self.running)} running, {waiting} waiting"
        if failed:
            counts += f", {failed} failed"
        table = Table(title=counts, title_justify="left", box=None, pad_edge=False)
        for column in ("cell", "epoch", "loss", "seconds"):
            table.add_column(column, justify="left" if column == "cell" else "right")
        for cell, where in list(self.running.items())[:MAX_ROWS]:
            name = Text(escape_control(f"{cell.name} {where}".rstrip()))  # no [red] of rich's
            table.add_row(name, *read_progress(cell))
        if len(self.running) > MAX_ROWS:
            table.add_row(f"and {len(self.running) - MAX_ROWS} more", "", "", "")
        return table


def read_progress(cell: Path) -> tuple[str, str, str]:
    """Return (epoch, loss, seconds) of a running cell, from the last row of its metrics.csv."""
    rows = run_folder.read_metrics(cell)
    if not rows:
        return "", "", ""
    row = rows[-1]
    losses = [c for c in ("val/loss", "train/loss") if c in row]
    losses += [c for c in row if c.endswith("/loss")]
    loss = format_number(row[losses[0]]) if losses else ""
    return f"{row.get('epoch', 0):.0f}", loss, f"{row.get('seconds', 0):.0f}"


def last_log_line(cell: Path) -> str:
    """Return the last line of a run's log; for a failed run it holds the error."""
    try:
        lines = (cell / run_folder.LOG).read_text(encoding="utf-8").split("\n")
    except OSError:
        return f"no {run_folder.LOG}"
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
