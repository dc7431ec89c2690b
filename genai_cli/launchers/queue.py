"""Slurm's own commands: what is asked of the queue, and how its answers are read."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from genai_cli.errors import UserError

OVER = (  # states in which a job is never started again by itself
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL"),
    *("DEADLINE", "PREEMPTED", "REVOKED"),
)
SECONDS = 60  # a busy controller may take long to answer


def submit(script: str) -> str:
    """Submit a batch script; the job's number.

    Raises:
        UserError: sbatch refuses it, with its own reason.
    """
    done = _run(["sbatch", "--parsable"], script)
    if done is None or done.returncode:
        said = "no answer" if done is None else " ".join(done.stderr.split())
        raise UserError(f"sbatch refused the job: {said[:300]}")
    return done.stdout.strip().split(";")[0]  # 17;cluster


def refusal(script: str) -> str:
    """Why Slurm would not take a batch script; "" if it would."""
    done = _run(["sbatch", "--test-only"], script)
    if done is None:
        return "no answer"
    return " ".join(done.stderr.split())[:300] if done.returncode else ""


def states(job: str) -> dict[int, tuple[str, str]] | None:
    """(state, reason) of each task of a job that the controller still knows; a job alone is 0.

    It forgets a job some minutes after its end, so one that is missing is over. None where the
    controller did not answer, which says nothing of the job.
    """
    done = _run(["squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i|%T|%r"])
    if done is None:
        return None
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    found = {}
    for line in done.stdout.splitlines():
        name, state, reason = [*line.strip().split("|"), "", ""][:3]
        number = name.partition("_")[2]
        found[int(number) if number.isdigit() else 0] = state, reason
    return found


def accounted(job: str) -> dict[int, tuple[str, str]]:
    """(state, exit code) of tasks as the accounting has them; {} where a cluster keeps none."""
    done = _run(["sacct", "-X", "-n", "-P", "-j", job, "-o", "JobID,State,ExitCode"])
    found = {}
    for line in done.stdout.splitlines() if done is not None and done.returncode == 0 else ():
        name, state, code = [*line.split("|"), "", ""][:3]
        number = name.partition("_")[2]
        found[int(number) if number.isdigit() else 0] = state.split(" ")[0], code
    return found


def cancel(job: str) -> None:
    """All tasks of a job, running ones with a chance to save."""
    _run(["scancel", job])


def requeue(job: str) -> str:
    """Ask for a job to be started again; "" or why that was refused."""
    done = _run(["scontrol", "requeue", job])
    if done is None:
        return "no answer"
    return " ".join(done.stderr.split()) if done.returncode else ""


def _run(words: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            start_new_session=True,  # a terminal's Ctrl-C must not break a question in half
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
