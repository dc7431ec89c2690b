"""End-of-epoch bookkeeping: the row of metrics, the best epoch, early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.training.state import Training


def epoch_row(now: Training, val: Mapping[str, float]) -> dict[str, float]:
    """A row of metrics.csv."""
    row = {
        "epoch": -(-now.step // now.steps_per_epoch),
        "step": now.step,
        "images": now.images,
        "seconds": round(now.elapsed(), 3),
        "lr": now.lr(),
    }
    row |= {f"train/{name}": value for name, value in now.means.means().items()}
    return row | {f"val/{name}": value for name, value in val.items()}


def is_best(now: Training, row: Mapping[str, float], cfg: TrainConfig) -> bool:
    """Return whether the monitored value improved, and pass it to a plateau schedule.

    Epochs in which the objective itself still changes (KL warm-up) are not compared.
    """
    if cfg.monitor is None or now.step < now.model.warmup_steps:
        return False
    value = row[cfg.monitor]
    if cfg.monitor.rpartition("/")[2] in now.model.higher_is_better:
        value = -value
    now.schedule.observe(value)
    if value >= now.best - (cfg.trainer.min_delta if now.best_step else 0.0):
        return False
    now.best, now.best_epoch, now.best_step = value, now.epoch, now.step
    return True


def out_of_patience(now: Training, cfg: TrainConfig) -> bool:
    """No improvement for ``trainer.patience`` epochs, counted from the end of any warm-up."""
    if cfg.trainer.patience is None:
        return False
    comparable = -(-now.model.warmup_steps // now.steps_per_epoch)
    return now.epoch - max(now.best_epoch, comparable) >= cfg.trainer.patience


def due(now: Training, every: int) -> bool:
    """At the end of every ``every``-th epoch; never for 0."""
    return bool(every) and now.at_epoch_end and now.epoch % every == 0
