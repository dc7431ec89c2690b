"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of the parameters, never of buffers.

    shadow ← d shadow + (1 − d) weight with d = min(decay, (1 + t) / (10 + t)) after t steps, so
    that a short run is not an average of its random start (the rule of TensorFlow's
    ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.shadow = {k: p.detach().clone() for k, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        weights = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(list(self.shadow.values()), weights, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model carries the averaged weights inside the block, its own again after it."""
        parameters = dict(model.named_parameters())
        raw = {k: p.data for k, p in parameters.items()}
        try:
            for k, p in parameters.items():
                p.data = self.shadow[k]
            yield
        finally:
            for k, p in parameters.items():
                p.data = raw[k]

    def tensors(self) -> dict[str, Tensor]:
        return self.shadow
