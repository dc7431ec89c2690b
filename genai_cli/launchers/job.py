"""Run one Slurm job: ``python -m genai_cli.launchers.job SHEET``, started by the batch script.

The sheet lists the run folders of each task. TERM (a preemption, or scancel) saves and ends with
143: whether the job is started again is Slurm's decision. USR1 (the time limit is near) saves and
has the job started again, in the same folder, where it left off; so does the TERM of a time limit
that came before the save was done.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from genai_cli.system.library_messages import capture_messages
from genai_cli.system.preemption import Signals  # before anything slow: a signal may come early


def main(sheet: str) -> int:
    """Train the cells and return 0, 1 where one failed (FAILED in Slurm), or 143 if saved."""
    with Signals() as signals, capture_messages():
        from genai_cli.config import ranks
        from genai_cli.launchers.worker import train_job
        from genai_cli.store import run_folder
        from genai_cli.store.sweep_table import write_table

        task = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
        folder = Path(sheet).parent.parent
        names = run_folder.read_json(Path(sheet))["jobs"][task]
        job = [cell for cell in (folder / name for name in names) if not is_complete(cell)]

        first = ranks.rank() == 0

        def changed() -> None:
            if first and run_folder.is_sweep(folder):
                write_table(folder)

        code = train_job(job, signals, changed=changed) if job else 0
        if code >= 128 and first and (_near_time_limit(signals) or _timed_out()):
            _requeue(signals)
        return code


def is_complete(cell: Path) -> bool:
    """Return whether an earlier start of this job has completed the cell."""
    from genai_cli.store import run_folder

    done, config = run_folder.read_json(cell / run_folder.SUMMARY), run_folder.read_config(cell)
    status = run_folder.read_json(cell / run_folder.RUN).get("status")
    if run_folder.unmeasured(done):
        return False
    most = config["trainer"].get("max_steps")
    finished = done.get("epoch", 0) >= config["epochs"]
    finished = finished or (most is not None and done.get("step", 0) >= most)
    return status == "stopped" or (status == "finished" and finished)


def _task_id() -> str:
    """This job, or this task of an array. SLURM_JOB_ID does not name a task: that of one of them is
    the array's, and means all of them."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _near_time_limit(signals: Signals) -> bool:
    """Whether the last signal was USR1: no preemption and no scancel came since."""
    return signals.number == getattr(signal, "SIGUSR1", None)


def _timed_out() -> bool:
    """Whether Slurm ends this job for its time limit."""
    from genai_cli.launchers import queue

    states = queue.read_states(_task_id()) or {}
    return any(reason == "TimeLimit" for _, reason in states.values())


def _requeue(signals: Signals) -> None:
    """Have this job started again. A controller that does not answer is asked until it does: the
    job is not over before, and Slurm ends it at its limit."""
    from genai_cli.launchers import queue

    while (refusal := queue.requeue(_task_id())) is None and _near_time_limit(signals):
        time.sleep(queue.PAUSE)
    if refusal is None:
        outcome = "Slurm did not say whether this job is started again"
    elif refusal:
        outcome = f"this job is not started again: {refusal}"
    else:
        outcome = "started again when it can"
    print(f"the time limit is near, saved; {outcome}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
