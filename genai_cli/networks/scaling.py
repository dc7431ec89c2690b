"""Data on the scale that networks like: within [−1, 1], or of mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

TINY = 1e-6  # deviation of an element that does not vary; it is left unscaled


class Scaling(nn.Module):
    """z = (x − shift) / scale for each element: a fixed map of [0, 1], else that of `prepare`.

    Args:
        shape: of one example.
        unit_interval: the data lie in [0, 1].

    Attributes:
        shift, scale: () fixed, or (*shape) and saved with the weights.
    """

    def __init__(self, shape: Sequence[int], unit_interval: bool) -> None:
        super().__init__()
        self.fixed = unit_interval
        shift = torch.full((), 0.5) if unit_interval else torch.zeros(tuple(shape))
        scale = torch.full((), 0.5) if unit_interval else torch.ones(tuple(shape))
        self.register_buffer("shift", shift, persistent=not unit_interval)
        self.register_buffer("scale", scale, persistent=not unit_interval)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Mean and deviation of training examples (B, *shape), where the map is not fixed."""
        if not self.fixed:
            std = x.std(0, correction=0)
            self.shift.copy_(x.mean(0))
            self.scale.copy_(torch.where(std > TINY, std, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale

    def inverse(self, z: Tensor) -> Tensor:
        return self.shift + self.scale * z
