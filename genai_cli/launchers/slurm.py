"""Cells as one job array of a Slurm cluster, or a run alone as one job; and the wait for them.

One batch script and one sheet of cells are written into FOLDER/slurm, then sbatch gets the script.
There is no pickle, no result file and no process that must live on: a job reads its folder and
writes there what became of it, so its end is known without accounting (sacct), too. A job that
left the queue without having said anything is failed, with Slurm's reason.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli import runs
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers import queue
from genai_cli.launchers.live import Board
from genai_cli.launchers.script import script
from genai_cli.launchers.settings import Slurm
from genai_cli.launchers.share import grant, needs
from genai_cli.launchers.worker import lost
from genai_cli.outcome import set_status
from genai_cli.training.preempt import Signals
from genai_cli.training.setup import config_of

AGAIN = 8.0  # seconds between a job's end and its return to the queue, where it was requeued
LATE = 15.0  # seconds that a shared disk may take to show what a job wrote before its end
FIRST, SLOWEST = 1.0, 10.0  # seconds between two questions to the controller: more with time
ENDS = ("finished", "stopped", "failed")


def launch(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    how: Slurm,
    signals: Signals,
    data: Mapping[Path, Dataset],
) -> bool:
    """As `genai_cli.launchers.start` says; true where nobody waits for the jobs.

    Raises:
        UserError: Slurm refuses the job.
    """
    cells = [cell for job in jobs for cell in job]
    ranks = max(cfg.trainer.devices for cfg in map(config_of, cells)) if cells else 1
    grant(cells, max(1, how.cpus // ranks))
    for cell in cells:
        set_status(cell, "running")
    number = submit(folder, jobs, how)
    many = f"{len(jobs)} tasks" if len(jobs) > 1 else "one task"
    print(f"slurm  job {number}, {many}; their logs are in {folder / 'slurm'}", flush=True)
    if not how.wait:
        print(f"look   squeue -j {number};  genai runs;  stop with: scancel {number}", flush=True)
        return True
    with Board(cells) as board:
        try:
            Wait(number, jobs, signals, board).until_over()
        except KeyboardInterrupt:  # the second Ctrl-C
            board.pause()
            print(f"job {number} goes on without us; stop it with: scancel {number}", flush=True)
            signals.code = 130
            return True
    cancelled = [c for c in cells if runs.read_json(c / runs.RUN).get("status") == "interrupted"]
    if cancelled and not signals.code:
        signals.code = 143  # by somebody's scancel
    return False


def submit(folder: Path, jobs: Sequence[Sequence[Path]], how: Slurm) -> str:
    """Write the sheet and the script, and hand it in; the job's number.

    Raises:
        UserError: Slurm refuses the job.
    """
    place = folder.resolve() / "slurm"
    place.mkdir(exist_ok=True)
    n = len(list(place.glob("*.json")))
    sheet = place / f"{n:03d}.json"
    names = [[os.path.relpath(cell, folder) for cell in job] for job in jobs]
    runs.write_json(sheet, {"schema": runs.SCHEMA, "job": None, "jobs": names})
    ranks = needs(cell for job in jobs for cell in job).ranks if how.nodes == 1 else 1
    text = script(how, sheet, len(jobs), f"genai-{folder.name.rpartition('-')[2]}", ranks)
    runs.write_text(sheet.with_suffix(".sh"), text)
    number = queue.submit(text)
    runs.write_json(sheet, {"schema": runs.SCHEMA, "job": number, "jobs": names})
    return number


def without_queued(folder: Path, jobs: Sequence[Sequence[Path]]) -> list[Sequence[Path]]:
    """The jobs none of whose cells is in the queue already; the others are told."""
    queued: dict[Path, str] = {}
    for sheet in sorted((folder / "slurm").glob("*.json")):
        told = runs.read_json(sheet)
        states = queue.states(str(told["job"])) if told.get("job") else {}
        if states is None:
            raise UserError(
                f"squeue does not answer for job {told['job']} of this sweep, which may still be "
                "queued; try again when it does"
            )
        for task, (state, _) in states.items():
            if state not in queue.OVER:
                for name in told["jobs"][task]:
                    queued[(folder / name).resolve()] = str(told["job"])
    kept = [job for job in jobs if not any(cell.resolve() in queued for cell in job)]
    left = sorted({queued[c.resolve()] for job in jobs for c in job if c.resolve() in queued})
    if left:
        count = len(jobs) - len(kept)
        print(f"{count} of {len(jobs)} jobs are in Slurm's queue already: {', '.join(left)}")
    return kept


class Wait:
    """Follows the tasks of a job until all are over.

    Args:
        number: of the job.
        jobs: the cells of each task.
        signals: a signal cancels the job; a Ctrl-C on a terminal asks before.
        board: is told what runs and what has ended.
    """

    def __init__(
        self, number: str, jobs: Sequence[Sequence[Path]], signals: Signals, board: Board
    ) -> None:
        self.number, self.signals, self.board = number, signals, board
        self.open = dict(enumerate(jobs))
        alone = len(jobs) == 1
        self.names = [number if alone else f"{number}_{i}" for i in range(len(jobs))]
        self.gone: dict[int, float] = {}  # task → when it was first seen to be over
        self.seen: dict[int, tuple[str, str]] = {}  # the last state Slurm gave
        self.began, self.cancelled = time.monotonic(), False

    def until_over(self) -> None:
        """Return when every cell has ended or is known to be lost.

        Raises:
            KeyboardInterrupt: a second Ctrl-C; the job goes on.
        """
        while self.open:
            states = queue.states(self.number)
            if states is not None:
                self.seen |= states
                for task in list(self.open):
                    self._task(task, states.get(task))
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
            print(f"\ncancel job {self.number}? [y/N] (Ctrl-C: leave, it goes on) ", end="")
            sys.stdout.flush()
            if not sys.stdin.readline().strip().lower().startswith("y"):
                self.signals.code = 0
                print("waiting on", flush=True)
                self.board.go_on()
                return False
        self.cancelled = True
        queue.cancel(self.number)
        return True

    def _task(self, task: int, state: tuple[str, str] | None) -> None:
        cells = self.open[task]
        if state is not None and state[0] not in queue.OVER:
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
        saved = any(_status(cell) == "interrupted" for cell in cells)
        cancelled = self.cancelled or self._state(task)[0] == "CANCELLED"
        if saved and not cancelled and time.monotonic() - since < AGAIN:
            return  # told that its time is nearly over, say: it may be started again
        for cell in silent:
            self._lost(cell, task)
        for cell in cells:
            self.board.ends(cell)
        del self.open[task]

    def _ended(self, cell: Path) -> bool:
        """The folder says so, and nobody works in it; a cell saved to be requeued goes on."""
        return _status(cell) in (*ENDS, "interrupted")

    def _state(self, task: int) -> tuple[str, str]:
        known = self.seen.get(task, ("", ""))
        return known if known[0] in queue.OVER else ("", "")

    def _lost(self, cell: Path, task: int) -> None:
        """Record the end of a cell whose job said nothing."""
        state, reason = self._state(task)
        if not state:
            state, reason = queue.accounted(self.number).get(task, ("", ""))
        if state == "CANCELLED":
            set_status(cell, "interrupted")
            return
        said = f"{state} ({reason})" if state else "left the queue without a word"
        name = self.names[task]
        lost(cell, f"its Slurm job {name}: {said}; see slurm/{name}.log")


def _status(cell: Path) -> str | None:
    return runs.read_json(cell / runs.RUN).get("status")


def _begun(cell: Path) -> bool:
    return (cell / runs.LOG).exists()
