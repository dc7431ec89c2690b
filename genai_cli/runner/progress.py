"""Progress bars for the parts of a long task on a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from genai_cli.runner.console import on_terminal
from genai_cli.system.terminal import raw_stream


class Meter:
    """Progress bars of the parts of a task, removed at its end; ``quiet`` shows none.

    Use it as a context manager.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.bar: Any = None
        if not quiet and on_terminal():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self.bar = Progress(
                TextColumn("{task.description:<32}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(compact=True),
                console=Console(file=raw_stream(sys.stdout)),
                transient=True,
            )

    def __enter__(self) -> Meter:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        """Begin a part of ``total`` examples; what is returned is called with how many are done."""
        if self.bar is None:
            return lambda n: None
        task = self.bar.add_task(name, total=total)
        return lambda n: self.bar.update(task, advance=n)

    def counted(self, name: str) -> Callable[[int, int], None]:
        """Begin a part that knows itself how far it is: call the result with (done, in all)."""
        task: list[Any] = []

        def tick(done: int, total: int) -> None:
            if self.bar is not None:
                if not task:
                    task.append(self.bar.add_task(name, total=total))
                self.bar.update(task[0], completed=done)

        return tick
