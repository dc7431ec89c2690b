"""Write a run's output: lines to train.log, a live display on a terminal, lines elsewhere."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from genai_cli.errors import UserError
from genai_cli.system.atomic_write import write_all
from genai_cli.system.file_lock import LocksUnsupported, lock
from genai_cli.system.terminal import escape_control, raw_stream
from genai_cli.system.text import format_number, format_table

if TYPE_CHECKING:
    from genai_cli.training.state import Training


PATIENCE = 1.0  # seconds in which a lock that is only being asked for is free again


LINES = 1000  # of epochs in a log: twice as many at most, however long the run


def on_terminal() -> bool:
    """A person looks: decided by the stream itself, not by FORCE_COLOR."""
    return (
        sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    )


class Reporter:
    """Writes lines to the screen and to train.log; on a terminal the epochs are one live line.

    Args:
        log: the run's train.log, opened for appending. It is locked while it is open: a second
            process in the same folder is refused, and a dead owner holds no lock. None: nothing
            is said at all; another rank does.
        quiet: only to train.log: the screen is somebody else's.

    Raises:
        UserError: another process works in this folder.
    """

    def __init__(self, log: Path | None, quiet: bool = False) -> None:
        # without a buffer: what a full disk did not take is not tried again when it is closed
        self.file: FileIO = open(log or os.devnull, "ab", buffering=0)  # noqa: SIM115 - by close
        self.epochs, self.quiet = 0, quiet or log is None
        self.progress: Any = None
        self.started, self.images_before, self.images = time.monotonic(), 0, 0
        if log is not None:
            try:
                self._take_lock(log.parent)
                self._end_torn_line(log)
            except BaseException:
                self.file.close()
                raise

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take_lock(self, folder: Path) -> None:
        """Take the lock, which `run_folder.is_training` holds for a moment to ask who lives."""
        until = time.monotonic() + PATIENCE
        try:
            while not lock(self.file.fileno()):
                if time.monotonic() >= until:
                    raise UserError(f"{folder} is being trained by another process")
                time.sleep(PATIENCE / 50)
        except LocksUnsupported as error:
            self.line(
                f"note: no locks on the disk of {folder} ({error.strerror}): a second process "
                "would not be kept out of it; start none"
            )

    def _end_torn_line(self, log: Path) -> None:
        """What a killed process had not finished is no part of our first line."""
        with open(log, "rb") as file:
            if not file.seek(0, os.SEEK_END):
                return
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                write_all(self.file.fileno(), b"\n")

    def close(self) -> None:
        """No more lines: the log is free for another process."""
        self.stop_live()
        self.file.close()

    def line(self, text: str = "") -> None:
        """One or more lines, to both."""
        self.log(text)
        if self.progress is not None:
            escaped = escape_control(text)
            self.progress.console.print(escaped, highlight=False, markup=False, soft_wrap=True)
        elif not self.quiet:
            show(text)

    def log(self, text: str) -> None:
        """To train.log alone."""
        write_all(self.file.fileno(), f"{escape_control(text)}\n".encode(errors="replace"))

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table, the first column left-aligned, the others right-aligned."""
        self.line(format_table(title, head, rows))

    def start_live(self, epochs: int, state: Training) -> None:
        """Start the clock and, if a person looks, the live display."""
        self.epochs, self.started = epochs, time.monotonic()
        self.images_before = self.images = state.images
        if self.quiet or not on_terminal():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[terms]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(file=raw_stream(sys.stdout)),
            refresh_per_second=8,
        )
        self.task = self.progress.add_task(
            "train", total=epochs, completed=state.epoch, terms="", rate=""
        )
        self.progress.start()

    def stop_live(self) -> None:
        if self.progress is not None:
            with suppress(OSError):  # the terminal may have gone
                self.progress.stop()
            self.progress = None

    def step(self, now: Training) -> None:
        """Move the live bar within an epoch; costs nothing off a terminal."""
        self.images = now.images
        if self.progress is not None:
            done = now.step / now.steps_per_epoch
            self.progress.update(self.task, completed=done, rate=self._rate())

    def epoch(self, row: dict[str, float], best: bool) -> None:
        """Log the line of an epoch, and print it where there is no live display.

        A run of many epochs logs some thousand lines, the last one among them; metrics.csv has all.
        """
        terms, every = _terms(row, best), max(1, self.epochs // LINES)
        if row["epoch"] % every == 0 or row["epoch"] == self.epochs:
            width = len(str(self.epochs))
            text = f"epoch {int(row['epoch']):{width}d}/{self.epochs}  " + "  ".join(terms)
            text += f"  {self._rate()}  {row['seconds']:.1f} s"
            self.log(text)
            if self.progress is None and not self.quiet:
                show(text)
        if self.progress is not None:
            self.progress.update(
                self.task, completed=row["epoch"], terms="  ".join(terms), rate=self._rate()
            )

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        return f"{(self.images - self.images_before) / seconds:,.0f} images/s"


def _terms(row: dict[str, float], best: bool) -> list[str]:
    """The numbers of an epoch as words: losses first, then what the family logs beside them.

    Of several players the training values: a validation loss of a game says little.
    """
    if "train/loss" not in row:
        values = {k.removeprefix("train/"): v for k, v in row.items() if k.startswith("train/")}
        losses = {k.removesuffix("/loss"): v for k, v in values.items() if k.endswith("/loss")}
        terms_by_name = dict(losses)
        for name, value in values.items():
            if not name.endswith("/loss"):
                # of equal names the first player's
                terms_by_name.setdefault(name.split("/")[-1], value)
        terms = [f"{name} {format_number(value)}" for name, value in terms_by_name.items()]
        return terms + ["*"] * best
    terms = [f"train {format_number(row['train/loss'])}"]
    if "val/loss" in row:
        terms.append(f"val {format_number(row['val/loss'])}{' *' if best else '  '}")
    return terms + [
        f"{name.removeprefix('val/')} {format_number(value)}"
        for name, value in row.items()
        if name.startswith("val/") and name != "val/loss"
    ]


def show(text: str) -> None:
    """Print a line; when nobody reads any more (``| head``), the run goes on in its log alone."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe's reader, a terminal
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
