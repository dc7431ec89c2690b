"""Handle signals outside a run: half-written files are removed, and no traceback is printed.

INT (Ctrl-C) leaves with 130; TERM, USR1 (a scheduler's notice) and HUP (the terminal is gone) with
143. `nohup` has HUP ignored, and it stays so. While a run trains, `system.preemption` listens.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

NUMBERS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
)
AGAIN = 0.02  # seconds between two checks whether the interrupted import is over
Handler = Callable[[int, "FrameType | None"], None]


def exit_code(number: int) -> int:
    """Return the exit code of a signal."""
    return 130 if number == signal.SIGINT else 143


def handled_signals() -> tuple[int, ...]:
    """Return the signals to handle: all, but for a HUP that `nohup` has switched off."""
    gone = getattr(signal, "SIGHUP", None)
    ignored = gone is not None and signal.getsignal(gone) == signal.SIG_IGN
    return tuple(number for number in NUMBERS if not (ignored and number == gone))


@contextmanager
def handle_signals(handler: Handler) -> Iterator[None]:
    """Install ``handler`` for every signal within the block; only in the main thread."""
    before = {}
    try:
        for number in handled_signals():
            before[number] = signal.signal(number, handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def exit_now(number: int, frame: FrameType | None) -> None:
    """Exit before anything is written. An import is left without an exception: half of a module
    that is made in C would swallow it, or print it as its own.
    """
    if _importing(frame):
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(exit_code(number))
    _leave(number)


def raise_exit(number: int, frame: FrameType | None) -> None:
    """Raise an exception that ends the process, so that half-written files are removed; after an
    import, if one is going on.
    """
    call_after_import(frame, lambda: _leave(number))


def call_after_import(frame: FrameType | None, leave: Callable[[], None]) -> None:
    """Call ``leave``, which raises: at once, or after the import that a signal interrupted."""
    if _importing(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda _, later: call_after_import(later, leave))
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        return
    leave()


def ignore_signals() -> None:
    """Ignore further signals during interpreter shutdown, when the exit code is known. INT and TERM
    still end a process that hangs, without a message.
    """
    for number in handled_signals():
        quick = number in (signal.SIGINT, signal.SIGTERM)
        with suppress(ValueError):
            signal.signal(number, signal.SIG_DFL if quick else signal.SIG_IGN)


def _leave(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(exit_code(number))


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
