"""One job of Slurm's: ``python -m genai_cli.launchers.job SHEET``, started by the batch script.

The sheet lists the run folders of each task. TERM (a preemption, or scancel) saves and ends with
143: whether the job is started again is Slurm's decision. USR1 (the time limit is near) saves and
has the job started again, in the same folder, where it left off.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from genai_cli.training.preempt import Signals  # before anything slow: a signal may come early


def main(sheet: str) -> int:
    """The exit code of the cells: 0, 1 where one failed (FAILED in Slurm), 143 saved."""
    with Signals() as signals:
        from genai_cli import ranks, runs
        from genai_cli.launchers.worker import work
        from genai_cli.sweeps.folder import write_table

        task = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
        folder = Path(sheet).parent.parent
        names = runs.read_json(Path(sheet))["jobs"][task]
        job = [cell for cell in (folder / name for name in names) if not over(cell)]

        first = ranks.rank() == 0

        def changed() -> None:
            if first and runs.is_sweep(folder):
                write_table(folder)

        code = work(job, signals, changed=changed) if job else 0
        if code >= 128 and first and signals.number == getattr(signal, "SIGUSR1", None):
            _again()
        return code


def over(cell: Path) -> bool:
    """Whether the job's earlier time brought this cell to its end: nothing is left to do."""
    from genai_cli import runs

    done, config = runs.read_json(cell / runs.SUMMARY), runs.read_config(cell)
    status = runs.read_json(cell / runs.RUN).get("status")
    most = config["trainer"].get("max_steps")
    finished = done.get("epoch", 0) >= config["epochs"]
    finished = finished or (most is not None and done.get("step", 0) >= most)
    return status == "stopped" or (status == "finished" and finished)


def _again() -> None:
    from genai_cli.launchers.queue import requeue

    refusal = requeue(os.environ["SLURM_JOB_ID"])
    told = f"this job is not started again: {refusal}" if refusal else "started again when it can"
    print(f"the time limit is near, saved; {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
