"""The first map of a flow: from data space to about standard normal numbers, without a network.

Each takes x (B, *event) to (z of that shape, log |det ∂z/∂x| (B,)), ``inverse`` takes z back, and
``prepare`` sets what comes from the data; see also `Marginals`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genai_cli.networks.flow.linear import LEAST_STD


class Standard(nn.Module):
    """z = (x − mean) / std, both of the training data, for each element."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(tuple(shape)))
        self.register_buffer("std", torch.ones(tuple(shape)))

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        self.mean.copy_(x.mean(0))
        self.std.copy_(x.std(0, correction=0).clamp_min(LEAST_STD))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.mean) / self.std, -self.std.log().sum().expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z * self.std + self.mean


class Logit(nn.Module):
    """z = logit(α + (1 − 2α) v) for v in [0, 1] (RealNVP, Dinh et al. 2017, section 4.1).

    α keeps the ends finite. There the paper has one-sided α + (1 − α) v; its code has this.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def prepare(self, v: Tensor) -> None:
        """Nothing comes from the data."""

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        s, rest = (self.alpha + (1 - 2 * self.alpha) * side for side in (v, 1 - v))
        log_s, log_rest = s.log(), rest.log()  # rest = 1 − s, which may round to 0 for a small α
        slope = math.log(1 - 2 * self.alpha) - log_s - log_rest
        return log_s - log_rest, slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return ((z.sigmoid() - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)


class Uniform(nn.Module):
    """z = √12 (v − ½): numbers that are uniform on [0, 1] get mean 0 and variance 1."""

    def prepare(self, v: Tensor) -> None:
        """Nothing comes from the data."""

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return (v - 0.5) * math.sqrt(12), v.new_full((len(v),), v[0].numel() * math.log(12) / 2)

    def inverse(self, z: Tensor) -> Tensor:
        return (z / math.sqrt(12) + 0.5).clamp(0, 1)
