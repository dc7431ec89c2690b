"""Launch cells as a Slurm job array, or a single run as one job, and wait for them.

One batch script and one sheet of cells are written into FOLDER/slurm, then sbatch gets the script.
There is no pickle, no result file and no process that must live on: a job reads its folder and
writes there what became of it, so its end is known without accounting (sacct), too. A job that
left the queue without having said anything is failed, with Slurm's reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers import queue
from genai_cli.launchers.live import CellMonitor
from genai_cli.launchers.settings import Slurm
from genai_cli.launchers.share import clear_machine
from genai_cli.launchers.submit import Array, submit
from genai_cli.launchers.worker import record_failure
from genai_cli.runner.lifecycle import set_status
from genai_cli.store import run_folder
from genai_cli.system.preemption import Signals

LATE = 15.0  # seconds that a shared disk may take to show what a job wrote before its end
FIRST, SLOWEST = 1.0, 10.0  # seconds between two questions to the controller: more with time
END_STATUSES = ("finished", "stopped", "failed")

Task = tuple[str, int]  # the number of an array, and of a task in it


def launch(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    launcher: Slurm,
    signals: Signals,
    data: Mapping[Path, Dataset],
) -> bool:
    """Submit the jobs and wait for them; true if they go on unattended (``wait=false``).

    Raises:
        UserError: Slurm refuses the job.
    """
    cells = [cell for job in jobs for cell in job]
    clear_machine(cells)
    for cell in cells:
        set_status(cell, "running")
    try:
        arrays, left, why = submit(folder, jobs, launcher)
    except UserError:
        for cell in cells:
            set_status(cell, "interrupted")
        raise
    for cell in (cell for job in left for cell in job):
        set_status(cell, "interrupted")
    cells = [cell for array in arrays for job in array.jobs for cell in job]
    numbers = [array.number for array in arrays]
    named, listed = " ".join(numbers), ",".join(numbers)
    many = len(jobs) - len(left)
    tasks = f"{many:,} tasks" if many > 1 else "one task"
    plural = "s" * (len(arrays) > 1)
    print(f"slurm  job{plural} {named}, {tasks}; their logs are in {folder / 'slurm'}", flush=True)
    if left:
        print(
            f"genai train: {len(left):,} of {len(jobs):,} jobs were not taken: {why}; when these "
            f"are over: genai sweep resume {folder}",
            file=sys.stderr,
        )
    if not launcher.wait:
        print(f"look   squeue -j {listed};  genai runs;  stop with: scancel {named}", flush=True)
        return True
    with CellMonitor(cells) as board:
        try:
            ArrayMonitor(arrays, signals, board).until_over()
        except KeyboardInterrupt:  # the second Ctrl-C
            board.pause()
            goes = "go" if plural else "goes"
            message = f"job{plural} {named} {goes} on without us; stop with: scancel {named}"
            print(message, flush=True)
            signals.code = 130
            return True
    cancelled = any(map(_saved, cells))
    if cancelled and not signals.code:
        signals.code = 143  # by somebody's scancel
    return False


class ArrayMonitor:
    """Follows the tasks of one or more arrays until all are over.

    Args:
        arrays: as submitted.
        signals: a signal cancels them; a Ctrl-C on a terminal asks before.
        board: is told what runs and what has ended.
    """

    def __init__(self, arrays: Sequence[Array], signals: Signals, board: CellMonitor) -> None:
        self.numbers = [array.number for array in arrays]
        self.signals, self.board = signals, board
        self.open = {(a.number, i): job for a in arrays for i, job in enumerate(a.jobs)}
        self.names = {(a.number, i): a.name(i) for a in arrays for i in range(len(a.jobs))}
        self.gone: dict[Task, float] = {}  # when it was first seen to be over
        self.seen: dict[Task, tuple[str, str]] = {}  # the last state Slurm gave
        self.began, self.cancelled = time.monotonic(), False

    def until_over(self) -> None:
        """Return when every cell has ended or is known to be lost.

        Raises:
            KeyboardInterrupt: a second Ctrl-C; the job goes on.
        """
        while self.open:
            for number in dict.fromkeys(number for number, _ in self.open):
                states = queue.read_states(number)
                if states is not None:  # no answer says nothing of the tasks
                    self.seen |= {(number, i): state for i, state in states.items()}
                    for task in [task for task in self.open if task[0] == number]:
                        self._task(task, states.get(task[1]))
            self._sleep()

    def _sleep(self) -> None:
        """Until the next question, or until a signal."""
        pause = min(SLOWEST, FIRST + 0.02 * (time.monotonic() - self.began))
        end = time.monotonic() + pause
        while time.monotonic() < end and self.open:
            if self.signals.code and not self.cancelled and self._cancel():
                return
            self.board.look()
            time.sleep(0.2)

    def _cancel(self) -> bool:
        """What a signal is taken to mean; whether the job was cancelled."""
        if self.signals.code == 130 and sys.stdin is not None and sys.stdin.isatty():
            self.board.pause()
            asked = f"cancel job {' '.join(self.numbers)}? [y/N] (Ctrl-C: leave, it goes on) "
            print(f"\n{asked}", end="", flush=True)
            if not sys.stdin.readline().strip().lower().startswith("y"):
                self.signals.code = 0
                print("waiting on", flush=True)
                self.board.go_on()
                return False
        self.cancelled = True
        queue.cancel(self.numbers)
        return True

    def _task(self, task: Task, state: tuple[str, str] | None) -> None:
        cells = self.open[task]
        if state is not None and state[0] not in queue.FINAL_STATES:
            self.gone.pop(task, None)
            for cell in cells:
                if state[0] in ("RUNNING", "COMPLETING"):
                    self.board.begins(cell, f"job {self.names[task]}")
                else:
                    self.board.waits(cell)
            return
        since = self.gone.setdefault(task, time.monotonic())
        silent = [cell for cell in cells if not self._ended(cell)]
        never = self._state(task)[0] == "CANCELLED" and not any(map(_begun, silent))
        if silent and not never and time.monotonic() - since < LATE:
            return
        for cell in silent:
            self._lost(cell, task)
        for cell in cells:
            self.board.ends(cell)
        del self.open[task]

    def _ended(self, cell: Path) -> bool:
        """The folder says so. One that was saved is over, too: a job that is requeued goes from
        COMPLETING to PENDING and is never in a state of `queue.FINAL_STATES` in between."""
        return _status(cell) in (*END_STATUSES, "interrupted")

    def _state(self, task: Task) -> tuple[str, str]:
        known = self.seen.get(task, ("", ""))
        return known if known[0] in queue.FINAL_STATES else ("", "")

    def _lost(self, cell: Path, task: Task) -> None:
        """Record the end of a cell whose job said nothing."""
        state, reason = self._state(task)
        if not state:
            state, reason = queue.read_accounting(task[0]).get(task[1], ("", ""))
        if state == "CANCELLED":
            set_status(cell, "interrupted")
            return
        reason_text = f"{state} ({reason})" if state else "left the queue without a word"
        name = self.names[task]
        record_failure(cell, f"its Slurm job {name}: {reason_text}; see slurm/{name}.log")


def _status(cell: Path) -> str | None:
    return run_folder.read_json(cell / run_folder.RUN).get("status")


def _saved(cell: Path) -> bool:
    """Told to stop, in its training or its measuring; it may be started again."""
    status, summary = _status(cell), run_folder.read_json(cell / run_folder.SUMMARY)
    return status == "interrupted" or (status != "running" and run_folder.unmeasured(summary))


def _begun(cell: Path) -> bool:
    return (cell / run_folder.LOG).exists()
