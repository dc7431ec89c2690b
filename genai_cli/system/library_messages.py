"""Capture Python warnings and log records of libraries in train.log, off the terminal.

torch's compiler, Hydra or matplotlib warn in words of their own of what the user cannot change
here. Within a run they go to its train.log; outside of one nobody keeps them. Who asks Python or
torch to speak (PYTHONWARNINGS, -W, TORCH_LOGS) hears them as ever.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

Keep = Callable[[str], None]

LIBRARIES = ("torch", "torchvision", "hydra", "matplotlib", "PIL", "optuna", "sklearn")

_keeping: list[Keep] = []  # the last one gets the lines
# of a logger that was taken over: whether it propagates, and its handlers that print
_before: dict[logging.Logger, tuple[bool, list[logging.Handler]]] = {}


@contextmanager
def capture_messages(keep: Keep = lambda line: None) -> Iterator[None]:
    """Pass each message of a library within the block to ``keep``; blocks may be nested."""
    show_warning = warnings.showwarning
    _keeping.append(keep)
    if not sys.warnoptions:
        warnings.showwarning = _keep_warning
    if "logging" in sys.modules:  # else nobody has logged yet: see `take_over_logging`
        take_over_logging()
    try:
        yield
    finally:
        _keeping.remove(keep)
        warnings.showwarning = show_warning
        if not _keeping:
            _give_back_logging()


def take_over_logging() -> None:
    """Redirect log records of libraries to `capture_messages`; does nothing outside of its block.

    To be called where a library that logs has been imported: torch makes its handlers then.
    """
    if not _keeping:
        return
    import logging

    handler = _handler()
    logging.lastResort = handler  # for whoever has none
    known = logging.root.manager.loggerDict
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    loggers += [
        logger
        for name, logger in list(known.items())
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in LIBRARIES
    ]
    for logger in loggers:
        printing = [
            h
            for h in logger.handlers
            if hasattr(h, "stream") and not isinstance(h, logging.FileHandler)
        ]
        whole = logger.name in LIBRARIES
        if not (whole or printing) or (logger.name.startswith("torch") and _asked_to_log()):
            continue
        _, replaced = _before.setdefault(logger, (logger.propagate, []))
        for old in printing:
            logger.removeHandler(old)
            replaced.append(old)
        logger.addHandler(handler)  # once: a logger has no handler twice
        logger.propagate = False  # a root handler may print, too


@contextmanager
def capture_stderr() -> Iterator[None]:
    """Capture what is written to stderr within the block, and keep it as lines afterwards. So
    torch's compiler, its child processes and C++ print there. Nothing of ours may be printed in it.
    """
    import contextlib
    import io
    import tempfile

    if not _keeping or _asked_to_log():
        yield
        return
    printed = io.StringIO()
    with tempfile.TemporaryFile() as file, contextlib.redirect_stderr(printed):
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            text = printed.getvalue() + file.read().decode(errors="replace")
            for line in filter(str.strip, text.splitlines()):
                _keep(f"library  {line.rstrip()}")


def _asked_to_log() -> bool:
    return bool(os.environ.get("TORCH_LOGS"))


def _keep(line: str) -> None:
    with suppress(OSError, ValueError):  # a full disk, a log that is closed: it was not important
        _keeping[-1](line)


def _keep_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    location = "/".join(filename.replace("\\", "/").split("/")[-2:])
    _keep(f"library  {category.__name__}: {message} ({location}:{lineno})")


def _handler() -> logging.Handler:
    """Return the logging handler that keeps records, one in a process."""
    import logging

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with suppress(Exception):  # as a handler does: a record that cannot be written is lost
                text = record.getMessage()
                _keep(f"library  {record.levelname} {record.name}: {text}")

    if not _handlers:
        _handlers.append(Kept(logging.WARNING))
        _handlers.append(logging.lastResort)  # type: ignore[arg-type]
    return _handlers[0]


_handlers: list[logging.Handler] = []  # ours, and Python's last resort


def _give_back_logging() -> None:
    for logger, (propagate, replaced) in _before.items():
        logger.removeHandler(_handlers[0])
        for old in replaced:
            logger.addHandler(old)
        logger.propagate = propagate
    _before.clear()
    if _handlers:
        import logging

        logging.lastResort = _handlers[1]
