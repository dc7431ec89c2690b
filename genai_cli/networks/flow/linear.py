"""Layers that act alike on every position: activation normalisation and channel mixing."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Mixing = Literal["lu", "permute"]

LEAST_STD = 1e-2  # of a constant channel, which no scale could normalise


def _positions(x: Tensor) -> int:
    """Pixels of (B, C, H, W); 1 of (B, C)."""
    return x[0, 0].numel()


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """(C,) against (B, C, …)."""
    return values.view(-1, *[1] * (x.dim() - 2))


class ActNorm(nn.Module):
    """z = e^log_scale (x + shift) for each channel, at first of mean 0 and variance 1.

    Glow (Kingma & Dhariwal 2018), section 3.1. `prepare` sets both from data; x is (B, C) or
    (B, C, H, W).
    """

    droppable = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """From data that enter this layer."""
        channels = x.transpose(0, 1).flatten(1)
        self.shift.copy_(-channels.mean(1))
        self.log_scale.copy_(-channels.std(1, correction=0).clamp_min(LEAST_STD).log())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(z, log-det (B,))."""
        z = (x + _wide(self.shift, x)) * _wide(self.log_scale.exp(), x)
        return z, (self.log_scale.sum() * _positions(x)).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z * _wide((-self.log_scale).exp(), z) - _wide(self.shift, z)


def order_of(channels: int, index: int) -> Tensor:
    """A fixed order of channels for layer ``index``: a function of both alone, so never saved.

    The reversal for less than four channels, where a random order may well be the identity.
    """
    if channels < 4:
        return torch.arange(channels - 1, -1, -1, device="cpu")
    draws = torch.Generator().manual_seed(index)
    return torch.randperm(channels, generator=draws, device="cpu")


class Permute(nn.Module):
    """The channels in another fixed order."""

    droppable = 0

    def __init__(self, channels: int, index: int) -> None:
        super().__init__()
        order = order_of(channels, index)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(z, zeros (B,))."""
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z[:, self.back]


class LU(Permute):
    """z = L U P x over the channels: the invertible 1×1 convolution, at first only P.

    Glow (Kingma & Dhariwal 2018), eq. 10 and 11, here with the permutation first: L has ones on
    its diagonal, that of U is e^log_diagonal, so that the log-det is H · W · Σ log_diagonal.
    """

    def __init__(self, channels: int, index: int) -> None:
        super().__init__(channels, index)
        self.lower = nn.Parameter(torch.zeros(channels, channels))
        self.upper = nn.Parameter(torch.zeros(channels, channels))
        self.log_diagonal = nn.Parameter(torch.zeros(channels))

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U, (C, C) each."""
        one = torch.eye(len(self.lower), dtype=self.lower.dtype, device=self.lower.device)
        upper = self.upper.triu(1) + self.log_diagonal.exp().diag()
        return self.lower.tril(-1) + one, upper

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(z, log-det (B,)). Not in bf16 even under autocast: z must be that of the log-det."""
        with torch.autocast(x.device.type, enabled=False):
            low, up = self.factors()
            mixed = low @ up
            x = x[:, self.order]
            # a convolution would do, but on CUDA it may round to TF32, and the inverse does not
            z = torch.einsum("oc,bc...->bo...", mixed, x)
        return z, (self.log_diagonal.sum() * _positions(x)).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            low, up = self.factors()
            columns = z.transpose(0, 1).flatten(1)  # (C, B · positions)
            x = torch.linalg.solve_triangular(low, columns, upper=False, unitriangular=True)
            x = torch.linalg.solve_triangular(up, x, upper=True)
            shape = (z.shape[1], z.shape[0], *z.shape[2:])
            return x.view(shape).transpose(0, 1)[:, self.back]


def mixing_layer(mixing: Mixing, channels: int, index: int) -> nn.Module:
    """The layer called ``mixing``."""
    return LU(channels, index) if mixing == "lu" else Permute(channels, index)
