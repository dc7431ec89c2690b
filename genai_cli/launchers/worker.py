"""One job of a sweep, wherever it is started: from the folders of its cells alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from genai_cli import runs
from genai_cli.data.dataset import Dataset
from genai_cli.training import checkpoint
from genai_cli.training.preempt import Signals
from genai_cli.verbs.train import run


def work(
    job: Sequence[Path],
    signals: Signals,
    data: Dataset | None = None,
    changed: Callable[[], None] = lambda: None,
) -> int:
    """Train the cells of a job, or go on with them; the worst of their exit codes.

    Args:
        job: run folders; several are trained as one stack.
        signals: what the caller listens with.
        data: their data set, where it is loaded already.
        changed: called when a run has come to an end.
    """
    if len(job) > 1:
        from genai_cli import packed
        from genai_cli.training import setup

        data = data or setup.load_data(setup.config_of(job[0]))
        packed.train(job, data, signals, changed)
        return 0
    begun = any(checkpoint.candidates(job[0] / runs.CHECKPOINTS))
    code = run(job[0], data, resume=begun, signals=signals)
    changed()
    return code
