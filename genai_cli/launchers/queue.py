"""Call Slurm's commands (sbatch, squeue, scontrol, sacct, scancel) and parse their output."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence

from genai_cli.errors import UserError

FINAL_STATES = (  # states in which a job is never started again by itself
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL"),
    *("DEADLINE", "PREEMPTED", "REVOKED"),
)
TIMEOUT_SECONDS = 60  # a busy controller may take long to answer
LATE, PAUSE = 30.0, 2.0  # seconds that a job may take to show in the queue, and between two looks
# What a command says when it does not know whether the controller did what it was asked to
NO_ANSWER = re.compile(
    r"timed out|Unable to contact|[Cc]onnect|Zero Bytes|Transport endpoint|Unexpected message"
)
REQUEUED = re.compile(r"pending execution")  # asked before, by a question without an answer
TOO_MANY = re.compile(r"Submit ?Job|job submit limit|job array specification", re.IGNORECASE)
DEFAULT_MAX_ARRAY_SIZE = 1001  # Slurm's own, where its configuration does not say


class Refused(UserError):
    """Slurm refused the job, with its reason."""

    code = 1  # the folders are written by then

    @property
    def too_many(self) -> bool:
        """Return whether the refusal is a limit on the number of jobs."""
        return bool(TOO_MANY.search(str(self)))


class Unanswered(UserError):
    """Slurm did not answer, so whether it took the job is unknown."""

    code = 1


def submit(script: str, name: str) -> str:
    """Submit a batch script and return the job's number.

    An sbatch without an answer may have handed the job in all the same: it is looked for in the
    queue, so that it is not submitted twice.

    Args:
        script: its text.
        name: of the job, which no other job has.

    Raises:
        Refused: sbatch refuses it, with its own reason.
        Unanswered: there was no answer, and the job is not in the queue, or not yet.
    """
    done = _run(["sbatch", "--parsable"], script)
    if done is not None and not done.returncode:
        return done.stdout.strip().split(";")[0]  # 17;cluster
    reason = "" if done is None else " ".join(done.stderr.split())[:300]
    if done is not None and not NO_ANSWER.search(reason):
        raise Refused(f"sbatch refused the job: {reason}")
    deadline = time.monotonic() + LATE
    while not (number := find_job(name)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if number:
        return number
    raise Unanswered(
        f"sbatch did not say whether it took job {name} "
        f"({reason or f'no answer in {TIMEOUT_SECONDS} s'}) "
        f"and the queue does not show it yet; look with: squeue --name={name}"
    )


def find_job(name: str) -> str | None:
    """Return the number of the job of this name; "" if there is none, None without an answer."""
    done = _run(["squeue", "-h", "-t", "all", "-n", name, "-o", "%F"])
    if done is None or done.returncode:
        return None
    return next(iter(done.stdout.split()), "")


def read_max_array_size() -> int:
    """Return the largest number of tasks in one job array (MaxArraySize)."""
    done = _run(["scontrol", "show", "config"])
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout if done else "", re.MULTILINE)
    return max(1, int(match[1])) if match else DEFAULT_MAX_ARRAY_SIZE


def check_script(script: str) -> str:
    """Return the reason why Slurm would refuse a batch script; "" if it would accept it."""
    done = _run(["sbatch", "--test-only"], script)
    if done is None:
        return "no answer"
    return " ".join(done.stderr.split())[:300] if done.returncode else ""


def read_states(job: str) -> dict[int, tuple[str, str]] | None:
    """Return (state, reason) of each task that the controller knows; a single job is task 0.

    It forgets a job some minutes after its end, so one that is missing is over. None where the
    controller did not answer, which says nothing of the job.
    """
    done = _run(["squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%i|%T|%r"])
    if done is None:
        return None
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    tasks = {}
    for line in done.stdout.splitlines():
        name, state, reason = [*line.strip().split("|"), "", ""][:3]
        number = name.partition("_")[2]
        tasks[int(number) if number.isdigit() else 0] = state, reason
    return tasks


def read_accounting(job: str) -> dict[int, tuple[str, str]]:
    """Return (state, exit code) of tasks from the accounting; {} where a cluster keeps none."""
    done = _run(["sacct", "-X", "-n", "-P", "-j", job, "-o", "JobID,State,ExitCode"])
    tasks = {}
    for line in done.stdout.splitlines() if done is not None and done.returncode == 0 else ():
        name, state, code = [*line.split("|"), "", ""][:3]
        number = name.partition("_")[2]
        tasks[int(number) if number.isdigit() else 0] = state.split(" ")[0], code
    return tasks


def cancel(jobs: Sequence[str]) -> None:
    """Cancel all tasks of jobs; running ones get a signal and can save."""
    _run(["scancel", *jobs])


def requeue(job: str) -> str | None:
    """Requeue a job, or a task of an array.

    Returns:
        "" if it will be; why not; or None without an answer, when it may be all the same.
    """
    done = _run(["scontrol", "requeue", job])
    message = "" if done is None else " ".join(done.stderr.split())
    if done is None or done.returncode < 0 or (done.returncode and NO_ANSWER.search(message)):
        return None  # below 0: it was ended by a signal, as the job's other processes are
    if not done.returncode or REQUEUED.search(message):
        return ""
    return message or f"scontrol requeue {job} ended with {done.returncode}"


def _run(words: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str] | None:
    """None without an answer; a command that is not there fails like one that refuses."""
    try:
        return subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            start_new_session=True,  # a terminal's Ctrl-C must not break a question in half
        )
    except OSError as error:  # it was never started
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return None
