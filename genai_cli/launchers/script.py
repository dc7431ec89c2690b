"""Render the batch script of a sweep. Cells are folders, so nothing has to be pickled."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from genai_cli.errors import UserError
from genai_cli.launchers.settings import Slurm

TASK_LOG = "/slurm/%A_%a.log"  # below the folder: the log of a job of an array, and of one alone
JOB_LOG = "/slurm/%j.log"


def render_script(
    launcher: Slurm, sheet: Path, jobs: int, name: str, ranks: int = 1, after: str | None = None
) -> str:
    """Return the text of the batch script for sbatch.

    The shell is replaced by Python (``exec``), so that ``--signal=B:`` reaches it and not a shell
    that would die of it. Over several nodes torchrun stands between: it hands signals on where it
    is told to, and Slurm sends them to its steps (no ``B:``).

    Args:
        launcher: the launcher's settings.
        sheet: the file that lists the cells of each job, in FOLDER/slurm.
        jobs: how many; one is a job alone, more are an array.
        name: in the queue.
        ranks: processes of a cell on one node (trainer.devices / nodes), which share its CPUs.
        after: the number of a job that has to be over before.
    """
    folder = str(sheet.parent.parent)
    for path in (folder, str(Path.cwd())):
        if not path.isprintable():  # a line of it would be a line of the script: shell
            raise UserError(f"{path!r} is no folder for Slurm: its name must be one line of text")
    options = {
        "job-name": name,
        "array": None
        if jobs == 1
        else f"0-{jobs - 1}" + (f"%{launcher.parallel}" * bool(launcher.parallel)),
        "dependency": after and f"afterany:{after}",
        "partition": launcher.partition,
        "account": launcher.account,
        "qos": launcher.qos,
        "constraint": launcher.constraint,
        "nodes": launcher.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": launcher.cpus,
        "gpus-per-node": launcher.gpus or None,
        "mem": None if launcher.memory_gb is None else f"{round(1024 * launcher.memory_gb)}M",
        "time": launcher.minutes,
        "signal": f"{'B:' * (launcher.nodes == 1)}USR1@{launcher.notice}",
        "requeue": "",
        "open-mode": "append",
        "chdir": str(Path.cwd()),
        "output": folder.replace("%", "%%") + (JOB_LOG if jobs == 1 else TASK_LOG),
    }
    lines = ["#!/bin/bash"]
    for key, value in options.items():
        if value is not None:
            lines.append(
                f"#SBATCH --{key}" + (f"={shlex.quote(str(value))}" if value != "" else "")
            )
    # the working directory may hold a stranger's json.py (Python 3.10 does not know the word)
    lines += ["set -e", *launcher.setup, "export PYTHONSAFEPATH=1"]
    lines.append(f"export OMP_NUM_THREADS={max(1, launcher.cpus // ranks)}")
    module = f"-m genai_cli.launchers.job {shlex.quote(str(sheet))}"
    python = shlex.quote(sys.executable)
    if launcher.nodes == 1:
        lines.append(f"exec {python} {module}")
    else:
        lines += [
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            f"exec srun --cpus-per-task={launcher.cpus} {python} -m torch.distributed.run \\",
            f"  --nnodes={launcher.nodes} --nproc-per-node={ranks} \\",
            "  --rdzv-id=$SLURM_JOB_ID --rdzv-backend=c10d \\",
            '  --rdzv-endpoint="$first:$((20000 + SLURM_JOB_ID % 20000))" \\',
            "  --signals-to-handle=SIGTERM,SIGINT,SIGUSR1 \\",
            f"  {module}",
        ]
    return "\n".join(lines) + "\n"
