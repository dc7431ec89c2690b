"""Launch cells in several worker processes of this machine (``hydra/launcher=processes``).

The processes are our own and not those of joblib, the first name of this launcher: joblib loses
all jobs when one worker is killed, and its workers outlive a parent that gets a SIGTERM. Here a
killed worker fails its own cell and another one replaces it, a signal is handed on, and a worker
whose parent is gone saves and ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.data.dataset import Dataset
from genai_cli.launchers.live import CellMonitor
from genai_cli.launchers.settings import Processes
from genai_cli.launchers.share import (
    assign_threads,
    divide_machine,
    needs,
    resolve_per_gpu,
    visible_gpus,
)
from genai_cli.launchers.worker import record_failure
from genai_cli.runner.lifecycle import set_status
from genai_cli.store import run_folder
from genai_cli.store.run_config import load_config
from genai_cli.system.preemption import Signals
from genai_cli.system.subprocesses import python_command

POLL_SECONDS = 0.2  # seconds between two looks at signals and folders


def launch(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    launcher: Processes,
    signals: Signals,
    data: Mapping[Path, Dataset],
) -> None:
    """Run the jobs in worker processes; see `genai_cli.launchers.start`."""
    cells = [cell for job in jobs for cell in job]
    asked = needs(cells)
    gpus = visible_gpus() if asked.gpu or asked.named else []
    if gpus:
        launcher = resolve_per_gpu(launcher, lambda: map(load_config, cells))
    parts = divide_machine(len(jobs), launcher, asked, gpus)
    assign_threads(cells, parts.threads)
    if parts.note:
        print(parts.note, file=sys.stderr)
    on = f", GPU {' '.join(parts.gpus)}" if parts.gpus else ""
    many = f"{parts.workers} process{'es' * (parts.workers > 1)}"
    print(f"launch {many}, {parts.threads} thread{'s' * (parts.threads > 1)} each{on}", flush=True)
    waiting = deque(jobs)
    with CellMonitor(cells) as board, selectors.DefaultSelector() as selector:
        crew: list[Worker] = []
        try:
            for i in range(parts.workers):
                crew.append(Worker(parts.environment(i), waiting.popleft(), board, selector))
            signalled = False
            while any(worker.job for worker in crew):
                for key, _ in selector.select(POLL_SECONDS):
                    worker = key.data
                    alive = worker.answered(signals)
                    if not waiting or signals.code:
                        worker.dismiss()
                    elif alive:
                        worker.give(waiting.popleft())
                    else:
                        slot = crew.index(worker)
                        worker.dismiss()
                        new = Worker(parts.environment(slot), waiting.popleft(), board, selector)
                        crew[slot] = new
                if signals.code and not signalled:
                    signalled = True
                    for worker in crew:
                        worker.process.send_signal(
                            signal.SIGINT if signals.code == 130 else signal.SIGTERM
                        )
                board.look()
        finally:  # a second Ctrl-C comes through here
            for worker in crew:
                worker.end()


class Worker:
    """A worker process, seen from the parent that gives it jobs."""

    def __init__(
        self,
        environment: dict[str, str],
        job: Sequence[Path],
        board: CellMonitor,
        selector: selectors.BaseSelector,
    ) -> None:
        self.board, self.selector = board, selector
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by dismiss
        self.process = subprocess.Popen(
            python_command("genai_cli.launchers.process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C comes to us, and we hand it on once
        )
        self.job: Sequence[Path] = ()
        selector.register(self.process.stdout, selectors.EVENT_READ, self)
        self.give(job)

    def give(self, job: Sequence[Path]) -> None:
        """Send the next job; a process that has died meanwhile is noticed by `answered`."""
        self.job = job
        for cell in job:
            if (
                run_folder.read_json(cell / run_folder.RUN).get("status") != "running"
            ):  # of an earlier time
                set_status(cell, "running")
        line = json.dumps([str(cell.resolve()) for cell in job])
        try:
            os.write(self.process.stdin.fileno(), f"{line}\n".encode())
        except BrokenPipeError:
            return
        for cell in job:
            self.board.begins(cell)

    def answered(self, signals: Signals) -> bool:
        """Read the end of a job and return whether the process is still alive.

        A process that has died without an answer fails the cells that it had not brought to an
        end; one that was told to stop interrupts them.
        """
        alive = bool(self.process.stdout.readline())
        if not alive:
            code = self.process.wait()
            for cell in self.job:
                if run_folder.read_json(cell / run_folder.RUN).get("status") != "running":
                    continue
                if signals.code:
                    set_status(cell, "interrupted")
                else:
                    record_failure(cell, f"{self._words()}its process {_describe_exit(code)}")
        for cell in self.job:
            self.board.ends(cell)
        self.job = ()
        return alive

    def dismiss(self) -> None:
        """Close the worker's stdin: without further jobs it ends by itself."""
        if not self.process.stdin.closed:
            self.selector.unregister(self.process.stdout)
            self.process.stdin.close()

    def end(self) -> None:
        """Wait for an idle process, or kill a busy one."""
        self.dismiss()
        if self.job:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        for cell in self.job:
            if run_folder.read_json(cell / run_folder.RUN).get("status") == "running":
                set_status(cell, "interrupted")

    def _words(self) -> str:
        """What the process said before it died, with a new line, or nothing."""
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - 4000))
        text = self.errors.read().decode(errors="replace").strip()
        return f"{text}\n" if text else ""


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}" + " (out of memory?)" * (name == "SIGKILL")
