"""Handle signals in a run: finish the step, save, exit with the signal's code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from genai_cli.system.signals import NUMBERS, call_after_import, exit_code, handled_signals


class Interrupted(BaseException):
    """Raised for a signal where no training is lost; ``code`` is the exit code (130, 143).

    No `Exception`: what a library catches to go on in another way must not catch this.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Signals:
    """Records signals in a flag within the block; a second INT raises at once.

    ``code`` is 0 until a signal came: 130 for INT, 143 for TERM, USR1 (a scheduler's notice) and
    HUP (the terminal has gone; with `nohup` it is not heard).
    ``number`` is the signal that came last: after USR1 a job asks to be started again, after TERM
    somebody else has decided that.
    """

    HANDLED = NUMBERS

    def __init__(self) -> None:
        self.code = 0
        self.number: int | None = None
        self.raising = False

    def __enter__(self) -> Signals:
        self._before = {s: signal.signal(s, self.handle) for s in handled_signals()}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raise_on_signal(self) -> Iterator[None]:
        """Raise `Interrupted` for a signal within the block, after an import if one is going on. A
        signal that came before raises at once. A long call of a library is thus left, too.
        """
        self.raising = True
        try:
            self.check()
            yield
        finally:
            self.raising = False

    def check(self) -> None:
        """Raise `Interrupted` after a signal. For one that came where an exception goes no further
        (a destructor, a callback of a library made in C), and one that another thread noted.
        """
        if self.code:
            raise Interrupted(self.code)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: set the flag, and raise within `raise_on_signal`."""
        self.number = number
        if number == signal.SIGINT and self.code == 130:
            raise KeyboardInterrupt
        self.code = 130 if number == signal.SIGINT else self.code or exit_code(number)
        if self.raising:
            call_after_import(frame, self._raise)

    def _raise(self) -> None:
        if self.raising:  # else an import ended after the block
            self.check()
