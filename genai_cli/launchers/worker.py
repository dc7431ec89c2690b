"""Train one job of a sweep from the folders of its cells, under any launcher."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from genai_cli.config import ranks
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers import memory, versions
from genai_cli.runner.lifecycle import set_status
from genai_cli.runner.run import run
from genai_cli.store import run_folder
from genai_cli.system.preemption import Signals
from genai_cli.training import checkpoint


def train_job(
    job: Sequence[Path],
    signals: Signals,
    data: Dataset | None = None,
    changed: Callable[[], None] = lambda: None,
) -> int:
    """Train or resume the cells of a job and return the worst of their exit codes.

    What fails fails alone, a folder that cannot be trained in at all included.

    Args:
        job: run folders; several are trained as one stack, unless one of them has begun before:
            then each goes on alone.
        signals: what the caller listens with.
        data: their data set, where it is loaded already.
        changed: called when a run has come to an end.
    """
    for cell in job if ranks.rank() == 0 else ():
        versions.note_changes(cell)
        if run_folder.read_json(cell / run_folder.RUN).get("status") != "running":
            set_status(cell, "running")
    if len(job) > 1 and not any(map(has_checkpoint, job)):
        _guard_errors(job, lambda: _train_stack(job, data, signals, changed))
        for cell in () if signals.code else memory.split_stack(job):
            _train_one(cell, data, signals)
            changed()
        return max(_exit_code(cell, signals) for cell in job)
    worst = 0
    for cell in job:
        if signals.code:
            set_status(cell, "interrupted")
            worst = max(worst, signals.code)
        else:
            worst = max(worst, _train_one(cell, data, signals))
        changed()
    return worst


def has_checkpoint(cell: Path) -> bool:
    """Return whether there is a checkpoint to resume from."""
    return any(checkpoint.candidates(cell / run_folder.CHECKPOINTS))


def record_failure(cell: Path, reason: str, status: str = "failed") -> None:
    """Record a dead cell's status and reason in its folder."""
    with open(cell / run_folder.LOG, "a", encoding="utf-8") as file:
        file.write(f"{reason}\n")
    set_status(cell, status)


def _train_one(cell: Path, data: Dataset | None, signals: Signals) -> int:
    def train() -> int:
        return run(cell, data, resume=has_checkpoint(cell), signals=signals)

    if ranks.world_size() > 1:  # one of torchrun's: rank 0 writes, and none retries alone
        return train()
    return _guard_errors([cell], lambda: memory.retry_smaller(cell, train))


def _train_stack(
    job: Sequence[Path], data: Dataset | None, signals: Signals, changed: Callable[[], None]
) -> int:
    from genai_cli.runner import load, stacked
    from genai_cli.store import run_config

    data = data or load.load_data(run_config.load_config(job[0]))
    stacked.train(job, data, signals, changed)
    return 0


def _guard_errors(job: Sequence[Path], train: Callable[[], int]) -> int:
    """``train()``, where an error that no run has dealt with becomes that of its cells."""
    try:
        return train()
    except Exception as error:
        message = " ".join(str(error).split())[:300]
        if not isinstance(error, UserError):
            message = f"{type(error).__name__}: {message}"
        for cell in job:
            print(f"genai: {cell} failed: {message}", file=sys.stderr)
            if run_folder.is_training(
                cell
            ):  # another process trains there: what it says of itself holds
                continue
            with suppress(OSError):  # the disk may be what failed; that is told
                record_failure(cell, "".join(traceback.format_exception(error)).rstrip())
        return 1


def _exit_code(cell: Path, signals: Signals) -> int:
    status = run_folder.read_json(cell / run_folder.RUN).get("status")
    saved = status == "interrupted" or run_folder.unmeasured(
        run_folder.read_json(cell / run_folder.SUMMARY)
    )
    return 1 if status == "failed" else saved * (signals.code or 143)
