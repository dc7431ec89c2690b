"""Compositions of invertible layers, and the flow on vectors built of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from genai_cli.networks.flow.coupling import Checkerboard, Coupling
from genai_cli.networks.flow.elementwise import Coupled, elementwise
from genai_cli.networks.flow.linear import ActNorm, Mixing, mixing_layer
from genai_cli.networks.mlp import MLP, Activation

CONDITIONAL = (Coupling, Checkerboard)  # layers with a network: they take masks and a context


class Chain(nn.Module):
    """z = f_n(… f_1(x)); log |det ∂z/∂x| is the sum over the layers (Rezende & Mohamed 2015).

    Attributes:
        droppable: columns of a dropout mask for all networks within.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.droppable = sum(layer.droppable for layer in self.layers)

    def forward(
        self, x: Tensor, keep: Tensor | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, …) to (z of that shape or the layers' own, log-det (B,) in the dtype of x)."""
        logdet, start = x.new_zeros(len(x)), 0
        for layer in self.layers:
            if isinstance(layer, CONDITIONAL):
                part = None if keep is None else keep[:, start : start + layer.droppable]
                start += layer.droppable
                x, change = layer(x, part, context)
            else:
                x, change = layer(x)
            logdet = logdet + change
        return x, logdet

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """z back to x."""
        *_, x = (z, *self.path(z, context))
        return x

    def path(self, z: Tensor, context: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the result of `inverse` after each layer, from the last to the first."""
        for layer in reversed(self.layers):
            z = layer.inverse(z, context) if isinstance(layer, CONDITIONAL) else layer.inverse(z)
            yield z

    @torch.no_grad()
    def prepare(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialise every `ActNorm` with data, in order; the data as they leave the chain."""
        for layer in self.layers:
            if isinstance(layer, ActNorm):
                layer.prepare(x)
            x, _ = layer(x, None, context) if isinstance(layer, CONDITIONAL) else layer(x)
        return x


class ZeroMLP(MLP):
    """An `MLP` whose last layer starts at 0, so that a coupling starts as the identity."""

    def __init__(self, widths: Sequence[int], activation: Activation = "relu") -> None:
        super().__init__(widths, activation)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)


def vector_flow(
    dim: int,
    *,
    steps: int,
    widths: Sequence[int] = (128, 128),
    coupling: Coupled = "spline",
    bins: int = 8,
    bound: float = 4.0,
    mixing: Mixing = "lu",
    activation: Activation = "relu",
) -> Chain:
    """[actnorm, mixing, coupling] × steps on vectors (B, dim), any dim ≥ 1.

    Args:
        widths: hidden layers of each coupling's network.
        coupling: affine, or a rational-quadratic spline of ``bins`` bins on ±``bound``.
        mixing: of the dimensions before each coupling: a linear map or a fixed order.
    """

    def net(inputs: int, outputs: int) -> nn.Module:
        return ZeroMLP([inputs, *widths, outputs], activation)

    layers: list[nn.Module] = []
    for i in range(steps):
        layers += [ActNorm(dim), mixing_layer(mixing, dim, i)]
        layers.append(Coupling(dim, elementwise(coupling, bins, bound), net))
    return Chain(layers)
