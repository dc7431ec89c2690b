"""Estimate time and disk of a sweep from one measured run of each shape."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from genai_cli.launchers.settings import Launcher, Processes, Slurm
from genai_cli.runner.cost import Cost

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig


class Forecast(NamedTuple):
    """Time and disk of one cell."""

    seconds: float  # without the start of a process
    disk: int  # bytes


def forecast(cfg: TrainConfig, cost: Cost) -> Forecast:
    """Estimate a whole run: every step, validation after each epoch, figures and checkpoints."""
    steps = cfg.epochs * cost.steps_per_epoch
    if cfg.trainer.max_steps is not None:
        steps = min(steps, cfg.trainer.max_steps)
    epochs = -(-steps // cost.steps_per_epoch)
    every = cfg.trainer.figures_every
    figures = epochs // every if every else 0
    kept = min(cfg.trainer.keep + 1, epochs + 1)  # the newest, and the best
    return Forecast(cost.seconds(steps, epochs, figures), kept * cost.checkpoint + cost.files)


def compute_makespan(seconds: Iterable[float], places: int, start: float, each: bool) -> float:
    """Return the seconds until the last cell ends if each takes the first free slot in order.

    Args:
        seconds: of each cell.
        places: how many run at the same time.
        start: of a process.
        each: whether every cell has a process of its own; or one process each place.
    """
    free = [0.0 if each else start] * max(1, places)
    heapq.heapify(free)
    for one in seconds:
        heapq.heappush(free, heapq.heappop(free) + one + start * each)
    return max(free)


def count_parallel(launcher: Launcher, cells: int, workers: int) -> int:
    """Return the number of cells that run at the same time; for Slurm, on an empty cluster."""
    if isinstance(launcher, Slurm):
        return min(cells, launcher.parallel or cells)
    return workers if isinstance(launcher, Processes) else 1


def check_limits(launcher: Launcher, costs: Sequence[Cost], seconds: Sequence[float]) -> list[str]:
    """Return a message for each limit of the launcher that the measured costs exceed."""
    messages = []
    if isinstance(launcher, Slurm):
        if launcher.gpus and all(cost.gpu is None for cost in costs):
            messages.append(
                f"hydra.launcher.gpus={launcher.gpus}: a job has what this machine lacks; memory "
                "and times are those of a CPU"
            )
        most = max(cost.memory for cost in costs) / 2**30
        if launcher.memory_gb is not None and most > launcher.memory_gb:
            messages.append(
                f"hydra.launcher.memory_gb={launcher.memory_gb:g} is less than the measured "
                f"{most:.1f} GB"
            )
        longest = max(seconds) + max(cost.start for cost in costs)
        times = int(longest // max(1, 60 * launcher.minutes - launcher.notice))
        if times:
            messages.append(
                f"hydra.launcher.minutes={launcher.minutes}: the longest cell takes "
                f"{format_duration(longest)} and is requeued {times} time{'s' * (times > 1)}"
            )
    return messages


def format_duration(seconds: float) -> str:
    """Format seconds with two significant digits: 12 s, 3.4 min, 2.1 h, 5.0 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def format_bytes(count: float) -> str:
    """Format bytes as 123 kB, 4.5 MB, 6.7 GB."""
    for unit, power in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= power:
            return f"{count / power:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
