"""Signals: finish the step, save, leave with the code that says why."""

from __future__ import annotations

import signal
from types import FrameType

from genai_cli.stopping import NUMBERS, code_of, heard


class Interrupted(Exception):
    """A run was told to stop and has saved itself; ``code`` is the exit code (130 or 143)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Signals:
    """Within the block a signal only sets a flag; a second INT leaves at once.

    ``code`` is 0 until a signal came: 130 for INT, 143 for TERM, USR1 (a scheduler's notice) and
    HUP (the terminal has gone; with `nohup` it is not heard).
    ``number`` is the signal that came last: after USR1 a job asks to be started again, after TERM
    somebody else has decided that.
    """

    HANDLED = NUMBERS

    def __init__(self) -> None:
        self.code = 0
        self.number: int | None = None

    def __enter__(self) -> Signals:
        self._before = {s: signal.signal(s, self._set) for s in heard()}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if number == signal.SIGINT and self.code == 130:
            raise KeyboardInterrupt
        self.code = 130 if number == signal.SIGINT else self.code or code_of(number)
