"""Launch cells one after the other in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.data.dataset import Dataset
from genai_cli.launchers.settings import Serial
from genai_cli.launchers.worker import train_job
from genai_cli.store.sweep_table import write_table
from genai_cli.system.preemption import Signals


def launch(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    launcher: Serial,
    signals: Signals,
    data: Mapping[Path, Dataset],
) -> None:
    """Run the jobs one after the other; see `genai_cli.launchers.start`."""
    number = sum(map(len, jobs))
    begun = 0
    for job in jobs:
        first = f"{begun + 1}/{number}  {job[0].name}"
        title = first if len(job) == 1 else f"{first} and {len(job) - 1} more in one stack"
        print(f"\n── {title} " + "─" * max(0, 64 - len(title)), flush=True)
        train_job(job, signals, data.get(job[0]), lambda: write_table(folder))
        begun += len(job)
        if signals.code:
            return
