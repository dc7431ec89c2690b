"""Noise that makes a density of a mass: u in [0, 1) added to whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genai_cli.networks.flow.chain import Chain, ZeroMLP
from genai_cli.networks.flow.coupling import Checkerboard, Coupling
from genai_cli.networks.flow.elementwise import AffineElement
from genai_cli.networks.flow.images import CouplingConv
from genai_cli.networks.flow.linear import Permute
from genai_cli.networks.mlp import Activation


class Dequantiser(nn.Module):
    """u ~ q(u | x): u = Φ(h), h = f(eps; x), eps ~ N(0, I), f a small conditional flow.

    Variational dequantisation (Flow++, Ho et al. 2019, section 3.1), with the normal distribution
    function in place of the logistic one: f is the identity at first, so that training starts at
    uniform dequantisation. log q(u | x) = log N(eps) − log |det ∂h/∂eps| − log N(h).

    Args:
        shape: of one example; flat (D,) for fully connected couplings, else (C, H, W).
        steps: affine couplings.
        widths: of their MLPs (flat); channels, depth: of their `CouplingConv` (images).
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        steps: int,
        widths: Sequence[int],
        channels: int,
        depth: int,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        first = shape[0]

        def flat(inputs: int, outputs: int) -> nn.Module:
            return ZeroMLP([inputs, *widths, outputs], activation)

        def conv(inputs: int, outputs: int) -> nn.Module:
            return CouplingConv(inputs, outputs, tuple(shape[1:]), channels, depth, activation)

        layers: list[nn.Module] = []
        for i in range(steps):
            if len(self.shape) == 1:
                layers += [Permute(first, i), Coupling(first, AffineElement(), flat, first)]
            else:
                layers.append(Checkerboard(self.shape, bool(i % 2), AffineElement(), conv, first))
        self.chain = Chain(layers)
        self.droppable = self.chain.droppable

    def forward(self, x: Tensor, eps: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(u in [0, 1], log q(u | x) (B,)) for x in [0, 1] and normal eps, (B, *shape) each."""
        h, logdet = self.chain(eps, keep, 2 * x - 1)
        log_ratio = 0.5 * (h.square() - eps.square()).flatten(1).sum(1)  # log N(eps) / N(h)
        return torch.special.ndtr(h), log_ratio - logdet


def log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I), (B,), of z (B, …)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)
