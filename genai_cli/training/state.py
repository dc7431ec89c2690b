"""The state that one training run carries from step to step, and its running means."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from genai_cli.config.schema import TrainConfig
from genai_cli.models.base import Model, Player
from genai_cli.training.distributed import SINGLE_RANK, Ranks
from genai_cli.training.ema import Ema
from genai_cli.training.schedule import LRSchedule

SLOWER = 0.5  # what each `Training.cuts` leaves of the rate


@dataclass
class Means:
    """Running means of per-example terms: sums stay on the device, counts are known on the host."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: dict[str, Tensor], count: int | None = None) -> None:
        """Add the values (B,) of each term, or with ``count`` the sum () of as many values.

        Sums are in double precision where the device has it.
        """
        for name, values in terms.items():
            dtype = torch.float32 if values.device.type == "mps" else torch.float64
            total = values.sum(dtype=dtype)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
            n = len(values) if count is None else count
            self.counts[name] = self.counts.get(name, 0) + n

    def means(self, ranks: Ranks = SINGLE_RANK) -> dict[str, float]:
        """Return the mean of each term over all ranks; the one synchronisation with the device."""
        totals = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        local_sums = dict(
            zip(self.sums, zip(totals, self.counts.values(), strict=True), strict=True)
        )
        parts = ranks.all_gather(local_sums)
        names = dict.fromkeys(name for part in parts for name in part)
        both = {k: [part[k] for part in parts if k in part] for k in names}
        return {k: sum(t for t, _ in v) / sum(n for _, n in v) for k, v in both.items()}

    def clear(self) -> None:
        self.sums.clear()
        self.counts.clear()


@dataclass
class Training:
    """A run in motion; a checkpoint holds exactly this (and nothing of any generator)."""

    model: Model
    players: list[Player]
    optimizers: dict[str, Optimizer]
    schedule: LRSchedule
    ema: Ema | None
    steps_per_epoch: int
    monitor: str | None = None  # what `best` is a value of
    step: int = 0  # optimizer steps done
    images: int = 0  # examples seen
    seconds: float = 0.0  # of earlier sessions of this run
    means: Means = field(default_factory=Means)  # of the training terms in this epoch
    best: float = math.inf  # of the monitored value
    best_epoch: int = 0
    best_step: int = 0
    started: float = field(default_factory=time.monotonic)
    ranks: Ranks = field(default_factory=Ranks)  # the processes that train it together
    cuts: tuple[int, ...] = ()  # steps from which on the rate is halved, see divergence/rollback.py

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self.steps_per_epoch

    @property
    def at_epoch_end(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    def done(self, cfg: TrainConfig) -> bool:
        """All steps the config asks for are taken."""
        return self.step >= self.last_step(cfg)

    def last_step(self, cfg: TrainConfig) -> int:
        steps = cfg.epochs * self.steps_per_epoch
        return steps if cfg.trainer.max_steps is None else min(steps, cfg.trainer.max_steps)

    def averaged(self) -> AbstractContextManager:
        """Within the block the model carries its averaged weights, if the run keeps any."""
        return nullcontext() if self.ema is None else self.ema.applied(self.model)

    def elapsed(self) -> float:
        """Seconds of all sessions of this run."""
        return self.seconds + time.monotonic() - self.started

    def lr(self) -> float:
        """The first player's rate at its last step."""
        return float(next(iter(self.optimizers.values())).param_groups[0]["lr"])

    def set_rates(self, cfg: TrainConfig) -> None:
        """Give every optimizer its rate for the next step."""
        factor = self.schedule(self.step, self.steps_per_epoch)
        factor *= SLOWER ** sum(self.step >= cut for cut in self.cuts)
        for p in self.players:
            if p.optimizer is None:
                for group in self.optimizers[p.name].param_groups:
                    group["lr"] = (p.lr or cfg.optimizer["lr"]) * factor
