"""The fully connected network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "linear"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Args:
        widths: (in, hidden…, out).
        activation: after every hidden layer.
        last: after the last layer.

    Attributes:
        droppable: units a dropout mask covers, the sum of the hidden widths.
    """

    def __init__(
        self, widths: Sequence[int], activation: Activation = "relu", last: Activation = "linear"
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.activation, self.last = ACTIVATIONS[activation], ACTIVATIONS[last]
        self.droppable = sum(widths[1:-1])

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, in) to (B, out); ``keep`` (B, droppable) multiplies the hidden units."""
        start = 0
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
            if keep is not None:
                x = x * keep[:, start : start + x.shape[1]]
                start += x.shape[1]
        return self.last(self.layers[-1](x))
