"""Run a worker process: ``python -m genai_cli.launchers.process`` trains one job after another.

A job comes as one line on stdin, a JSON list of run folders; its exit code goes back as one line
on stdout. When stdin ends, be it that nothing is left or that the process at its other end has
died, what runs is saved and interrupted: no process goes on that nobody waits for.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from genai_cli.system.library_messages import capture_messages
from genai_cli.system.preemption import Signals  # before anything slow: a signal may come early

if TYPE_CHECKING:
    from genai_cli.data.dataset import Dataset


def main() -> int:
    """Train jobs from stdin until it closes or a signal arrives."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # the runs speak in their logs; the screen is somebody else's
    os.close(null)
    inbox: SimpleQueue[str | None] = SimpleQueue()
    with Signals() as signals, capture_messages():
        threading.Thread(target=_forward_lines, args=(inbox, signals), daemon=True).start()
        from genai_cli.launchers.worker import train_job

        shared = DatasetCache()
        while (line := inbox.get()) is not None and not signals.code:
            job = [Path(cell) for cell in json.loads(line)]
            code = train_job(job, signals, shared.data(job[0]))
            answers.write(f"{code}\n")
            answers.flush()
    return signals.code


class DatasetCache:
    """Caches the data set of the last job, which the next one most often shares."""

    def __init__(self) -> None:
        self.key, self.last = "", None

    def data(self, cell: Path) -> Dataset | None:
        """Return the cell's data set, or None if it cannot be loaded: the run says why."""
        from genai_cli.errors import UserError
        from genai_cli.runner import load
        from genai_cli.store import run_config

        try:
            cfg = run_config.load_config(cell)
            key = str((cfg.dataset, cfg.split_seed))
            if key != self.key:
                self.key, self.last = "", None  # the old one goes before the new one comes
                self.last = load.load_data(cfg)
                self.key = key
        except (UserError, OSError):  # told by the run, which looks for itself
            return None
        return self.last


def _forward_lines(inbox: SimpleQueue[str | None], signals: Signals) -> None:
    """Hand on the lines of stdin. Not by ``sys.stdin``, whose lock a thread that waits would keep:
    Python aborts when it cannot take it at the end."""
    text = b""
    while more := os.read(0, 65536):
        *lines, text = (text + more).split(b"\n")
        for line in lines:
            inbox.put(line.decode())
    signals.code = signals.code or 143
    inbox.put(None)


if __name__ == "__main__":
    sys.exit(main())
