"""The training loop: a generator that yields after each optimizer step.

Everything else (logging, evaluation, figures, saving) is a plain ``if`` in runner/session.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Batch, Dataset, Split
from genai_cli.models.base import Model, Player
from genai_cli.rng import generator
from genai_cli.training.distributed import SINGLE_RANK, Ranks
from genai_cli.training.finite import NonFiniteCheck
from genai_cli.training.state import Means, Training
from genai_cli.training.step import Step, autocast
from genai_cli.training.step_kinds.make import make_step

PREPARED = 1024  # training examples a model sees in `prepare` and `calibrate`
FINISHED = 10_000  # and in `finish`
EVALUATION_BATCH = 500  # fixed, so that a validation loss does not depend on the batch size


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
    ``step`` is what `choose.choose` returned; without it the
    kind is the config's, and eager where that is ``auto``; ``precision=auto`` must be resolved.

    Raises:
        Diverged: a term became infinite or nan; on a GPU it may show later in the epoch.
    """
    if step is None:
        kind = cfg.trainer.step if cfg.trainer.step != "auto" else "eager"
        step = make_step(kind, run, cfg, device)
    last, ranks = run.last_step(cfg), run.ranks
    check = NonFiniteCheck(device)
    if ranks.world > 1 and run.model.batch_dependent:
        run.model.set_all_reduce(ranks.masked_all_reduce)
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
            batch, noise = draw_step_inputs(run, data, cfg, batch, b, rows)
            if ranks.world == 1:
                run.means.add(step(batch, noise, run.step))
            else:
                noise = {k: v[rows] for k, v in noise.items()}
                run.means.add(step(batch, noise, run.step, count=b), b)
            if run.ema is not None:
                run.ema.update(run.model)
            run.step += 1
            run.images += b
            check.after_step(run)
            yield run


def draw_step_inputs(
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
    """Return the mean of every term over a split, with noise fixed by ``purpose``.

    Of its first ``most`` examples where given. The noise is the same in every epoch, so that a
    validation curve moves only because the model does. Ranks take the batches in turns.
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
    ranks: Ranks = SINGLE_RANK,
    most: int | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield the terms of every player, (B,) each, for each evaluation batch of a split in order.

    Of its first ``most`` examples where given; of several ranks each yields its own batches.
    """
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
