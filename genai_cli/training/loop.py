"""THE loop: a generator that yields after each optimizer step, and the state it moves.

Everything else (logging, evaluation, figures, saving) is a plain ``if`` in verbs/train.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from genai_cli.data.dataset import Dataset, Split
from genai_cli.models.base import Batch, Model, Player
from genai_cli.schema import TrainConfig
from genai_cli.training.distributed import ALONE, Ranks
from genai_cli.training.ema import Ema
from genai_cli.training.finite import Lookout
from genai_cli.training.randomness import generator
from genai_cli.training.schedule import Schedule
from genai_cli.training.step import Step, autocast, make_step

PREPARED = 1024  # training examples a model sees in `prepare` and `calibrate`
FINISHED = 10_000  # and in `finish`
SLOWER = 0.5  # what each `Training.cuts` leaves of the rate
EVALUATION_BATCH = 500  # fixed, so that a validation loss does not depend on the batch size


@dataclass
class Means:
    """Running means of per-example terms: sums stay on the device, counts are known on the host."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: dict[str, Tensor], count: int | None = None) -> None:
        """Add the values (B,) of each term, in double where the device has it; or, of ``count``
        values, their sum ()."""
        for name, values in terms.items():
            dtype = torch.float32 if values.device.type == "mps" else torch.float64
            total = values.sum(dtype=dtype)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
            n = len(values) if count is None else count
            self.counts[name] = self.counts.get(name, 0) + n

    def means(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """The mean of each term, over what all ranks have added: the one synchronisation with the
        device."""
        totals = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        found = dict(zip(self.sums, zip(totals, self.counts.values(), strict=True), strict=True))
        parts = ranks.everyone(found)
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
    schedule: Schedule
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
    cuts: tuple[int, ...] = ()  # steps from which on the rate is halved, see training/rollback.py

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


def train(
    run: Training,
    data: Dataset,
    cfg: TrainConfig,
    device: torch.device,
    step: Step | None = None,
) -> Iterator[Training]:
    """Yield ``run`` after every optimizer step until ``cfg.epochs`` (or max_steps) is reached.

    Starts wherever ``run.step`` stands: the order of an epoch and the noise of a step are
    functions of (seed, epoch) and (seed, step), so a resumed run takes the very steps the
    uninterrupted one would have taken. Each of several ranks takes its rows of every batch.
    ``step`` is what `choose.settle` found; without it the
    kind is the config's, and eager where that is ``auto``; ``precision=auto`` must be resolved.

    Raises:
        Diverged: a term became infinite or nan; on a GPU it may show later in the epoch.
    """
    if step is None:
        kind = cfg.trainer.step if cfg.trainer.step != "auto" else "eager"
        step = make_step(kind, run, cfg, device)
    last, ranks = run.last_step(cfg), run.ranks
    lookout = Lookout(device)
    if ranks.world > 1 and run.model.couples_examples:
        run.model.couple(ranks.shared)
    while run.step < last:
        first = run.step % run.steps_per_epoch
        if first == 0:
            run.means.clear()
        order = data.order(cfg.seed, run.epoch)
        chunks = order.split(cfg.batch_size)[first : first + last - run.step]
        parts = chunks if ranks.world == 1 else [c[ranks.rows(len(c))] for c in chunks]
        for batch, chunk in zip(data.train.batches(parts), chunks, strict=True):
            run.set_rates(cfg)
            if not run.model.training:  # evaluation came in between
                run.model.train()
            run.model.step.fill_(run.step)
            b = len(chunk)
            rows = ranks.take(b)
            batch, noise = drawn(run, data, cfg, batch, b, rows)
            if ranks.world == 1:
                run.means.add(step(batch, noise, run.step))
            else:
                noise = {k: v[rows] for k, v in noise.items()}
                run.means.add(step(batch, noise, run.step, count=b), b)
            if run.ema is not None:
                run.ema.update(run.model)
            run.step += 1
            run.images += b
            lookout.look(run)
            yield run


def drawn(
    run: Training, data: Dataset, cfg: TrainConfig, batch: Batch, b: int, rows: slice
) -> tuple[Batch, dict[str, Tensor]]:
    """(``rows`` of the next step's batch of ``b`` examples, augmented; the noise of all of it)."""
    device = batch.x.device
    if data.augment is not None:
        draws = generator(cfg.seed, "augment", run.step, device)
        batch = batch._replace(x=data.augment(batch.x, draws, b, rows))
    return batch, run.model.noise(b, generator(cfg.seed, "noise", run.step, device))


def calibrate(run: Training, data: Dataset, seed: int) -> None:
    """Let the model set what evaluation needs, from the first training examples."""
    batch = data.train.batch(torch.arange(min(PREPARED, len(data.train))))
    run.model.eval()
    draws = generator(seed, "calibration", 0, batch.x.device)
    run.model.calibrate(batch, run.model.noise(len(batch.x), draws))


@torch.no_grad()
def finish(model: Model, data: Dataset) -> None:
    """Let the model fit what only sampling needs, from training examples in their own order."""
    model.eval()
    chunks = torch.arange(min(FINISHED, len(data.train))).split(EVALUATION_BATCH)
    model.finish(data.train.batches(chunks))


@torch.no_grad()
def evaluate(
    run: Training, split: Split, seed: int, purpose: str, precision: str, most: int | None = None
) -> dict[str, float]:
    """Mean of every term over a split, or over its first ``most`` examples: the training objective,
    with noise fixed by ``purpose``.

    The same noise in every epoch, so that a validation curve moves only because the model does.
    Ranks take the batches in turns.
    """
    means = Means()
    for terms in evaluation_terms(run.model, split, seed, purpose, precision, run.ranks, most):
        means.add(terms)
    return means.means(run.ranks)


def evaluation_terms(
    model: Model,
    split: Split,
    seed: int,
    purpose: str,
    precision: str,
    ranks: Ranks = ALONE,
    most: int | None = None,
) -> Iterator[dict[str, Tensor]]:
    """The terms of every player, (B,) each, for each evaluation batch of a split in order, or of
    its first ``most`` examples; of several ranks each its own."""
    if not len(split):  # dataset.val_fraction=0
        return
    players = model.players()
    model.eval()
    n = len(split) if most is None else min(most, len(split))
    chunks = torch.arange(n).split(EVALUATION_BATCH)[ranks.rank :: ranks.world]
    for k, batch in enumerate(split.batches(chunks)):
        yield batch_terms(
            model, players, batch, seed, purpose, ranks.rank + k * ranks.world, precision
        )


def batch_terms(
    model: Model,
    players: list[Player],
    batch: Batch,
    seed: int,
    purpose: str,
    i: int,
    precision: str,
) -> dict[str, Tensor]:
    """The terms of every player, (B,) each, for evaluation batch i."""
    device = next(model.parameters()).device
    noise = model.noise(len(batch.x), generator(seed, purpose, i, device))
    with autocast(precision, device):
        losses = {p.name: model.loss(batch, noise, p.name) for p in players}
    if len(players) == 1:
        return losses[players[0].name]
    return {f"{p}/{k}": v for p, terms in losses.items() for k, v in terms.items()}
