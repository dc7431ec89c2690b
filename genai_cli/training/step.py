"""The eager optimizer step, with the signature that every kind of step shares.

``make_step(kind, …)`` gives a callable ``(batch, noise, step) -> terms``. What differs between the
kinds is only how a gradient is computed or launched; players, micro-batches, clipping and the
optimizer are those of `train_step`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genai_cli.data.dataset import Batch
from genai_cli.models.base import Model, Player

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from genai_cli.config.schema import TrainConfig
    from genai_cli.training.state import Training

Terms = dict[str, Tensor]
# (batch, noise, step) to the terms (B,); of several ranks also count=, the rows of the whole batch
# of which these are some, and then to the sums () of the terms over all of them
Step = Callable[..., Terms]
# adds the gradient of Σ loss / count to a player's parameters: (player, batch, noise, count)
Gradient = Callable[[Player, Batch, dict[str, Tensor], int], Terms]
# makes a player's gradients those of all ranks, and terms (B,) their sums ()
ReduceGradients = Callable[[Player, Terms], Terms]


def eager_step(run: Training, cfg: TrainConfig) -> Step:
    """Return the eager step of a run: `train_step` with its model, players and settings."""
    return partial(
        train_step,
        run.model,
        run.players,
        run.optimizers,
        precision=cfg.precision,
        accumulate=cfg.trainer.accumulate,
        clip=cfg.trainer.clip,
        reduce=gradient_reduction(run),
    )


def gradient_reduction(run: Training) -> ReduceGradients | None:
    """Return the gradient all-reduce of a run; None where it has a single rank."""
    return run.ranks.all_reduce_gradients if run.ranks.world > 1 else None


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """bf16 mixed precision, or nothing.

    Raises:
        ValueError: ``auto``, which choose.py has not made one of the others.
    """
    if precision == "auto":
        raise ValueError("precision=auto is to be measured first")
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def train_step(
    model: Model,
    players: list[Player],
    optimizers: dict[str, Optimizer],
    batch: Batch,
    noise: dict[str, Tensor],
    step: int,
    *,
    precision: str = "fp32",
    accumulate: int = 1,
    clip: float | None = None,
    gradient: Gradient | None = None,
    count: int | None = None,
    reduce: ReduceGradients | None = None,
) -> Terms:
    """Update every player that is due; return the terms (B,) of the batch, on the device.

    The gradient is that of Σ loss / B over the whole batch, whether it is computed in one piece or
    in ``accumulate`` micro-batches. Terms of several players are named ``PLAYER/TERM``.
    ``gradient`` computes it where autograd is not to. Where the batch is some rows of one of
    ``count``, ``reduce`` adds what other ranks found for the rest; the terms are then sums ().
    """
    logs: Terms = {}
    for player in players:
        if step % player.every:
            continue
        optimizer = optimizers[player.optimizer or player.name]
        for group in optimizer.param_groups:  # zero_grad() without its profiler hook
            for p in group["params"]:
                p.grad = None
        compute = gradient or partial(autograd, model, players, precision)
        terms = micro_batches(compute, player, batch, noise, accumulate, count)
        if reduce is not None:
            terms = reduce(player, terms)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(player.module.parameters(), clip)
        optimizer.step()
        logs |= terms if len(players) == 1 else {f"{player.name}/{k}": v for k, v in terms.items()}
    return logs


def micro_batches(
    compute: Gradient,
    player: Player,
    batch: Batch,
    noise: dict[str, Tensor],
    accumulate: int = 1,
    count: int | None = None,
) -> Terms:
    """Accumulate the gradient of Σ loss / count over a batch in ``accumulate`` micro-batches.

    ``count`` is the size of the batch unless that is a part of a larger one.
    """
    b = len(batch.x)
    size = -(-b // accumulate)
    logs: dict[str, list[Tensor]] = {}
    for start in range(0, b, size):
        part, part_noise = _slice(batch, noise, start, start + size)
        for name, values in compute(player, part, part_noise, count or b).items():
            logs.setdefault(name, []).append(values.detach())
    return {k: v[0] if len(v) == 1 else torch.cat(v) for k, v in logs.items()}


def autograd(
    model: Model,
    players: list[Player],
    precision: str,
    player: Player,
    batch: Batch,
    noise: dict[str, Tensor],
    count: int,
) -> Terms:
    """A `Gradient` by ``backward()``, once its first three arguments are given."""
    with _only(player, players) if len(players) > 1 else nullcontext():
        with autocast(precision, batch.x.device):
            terms = model.loss(batch, noise, player.name)
        (terms["loss"].sum() / count).backward()
    return terms


def _slice(
    batch: Batch, noise: dict[str, Tensor], start: int, stop: int
) -> tuple[Batch, dict[str, Tensor]]:
    if start == 0 and stop >= len(batch.x):
        return batch, noise
    y = None if batch.y is None else batch.y[start:stop]
    return Batch(batch.x[start:stop], y), {k: v[start:stop] for k, v in noise.items()}


class _only(AbstractContextManager):
    """Freezes the modules of all other players, so that no gradient is computed for them."""

    def __init__(self, player: Player, players: list[Player]) -> None:
        player_ids = {id(p) for p in player.module.parameters()}
        others = (p for other in players for p in other.module.parameters())
        self.frozen = [p for p in others if id(p) not in player_ids and p.requires_grad]

    def __enter__(self) -> None:
        for p in self.frozen:
            p.requires_grad_(False)

    def __exit__(self, *_) -> None:
        for p in self.frozen:
            p.requires_grad_(True)
