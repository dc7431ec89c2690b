"""One optimizer step: the plain one, to which every faster step is held equal."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genai_cli.models.base import Batch, Model, Player

if TYPE_CHECKING:
    from torch.optim import Optimizer


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """bf16 mixed precision, or nothing."""
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
) -> dict[str, Tensor]:
    """Update every player that is due; return the terms (B,) of the batch, on the device.

    The gradient is that of Σ loss / B over the whole batch, whether it is computed in one piece or
    in ``accumulate`` micro-batches. Terms of several players are named ``PLAYER/TERM``.
    """
    b = len(batch.x)
    size = -(-b // accumulate)
    logs: dict[str, list[Tensor]] = {}
    for player in players:
        if step % player.every:
            continue
        optimizer = optimizers[player.optimizer or player.name]
        optimizer.zero_grad(set_to_none=True)
        with _only(player, players) if len(players) > 1 else nullcontext():
            for start in range(0, b, size):
                part, part_noise = _slice(batch, noise, start, start + size)
                with autocast(precision, batch.x.device):
                    terms = model.loss(part, part_noise, player.name)
                (terms["loss"].sum() / b).backward()
                for name, values in terms.items():
                    key = name if len(players) == 1 else f"{player.name}/{name}"
                    logs.setdefault(key, []).append(values.detach())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(player.module.parameters(), clip)
        optimizer.step()
    return {k: v[0] if len(v) == 1 else torch.cat(v) for k, v in logs.items()}


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
        own = {id(p) for p in player.module.parameters()}
        others = (p for other in players for p in other.module.parameters())
        self.frozen = [p for p in others if id(p) not in own and p.requires_grad]

    def __enter__(self) -> None:
        for p in self.frozen:
            p.requires_grad_(False)

    def __exit__(self, *_) -> None:
        for p in self.frozen:
            p.requires_grad_(True)
