"""Convolutional encoder and decoder for images of any size, without normalisation layers.

Batch normalisation is left out on purpose: with it a loss would not be a function of one example.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from genai_cli.errors import UserError
from genai_cli.networks.mlp import ACTIVATIONS, Activation


def halvings(side: int, stages: int) -> list[int]:
    """Side lengths after each 4×4 convolution of stride 2 and padding 1: n → ⌊n / 2⌋."""
    sides = [side]
    for _ in range(stages):
        sides.append(sides[-1] // 2)
    return sides


def check_stages(shape: tuple[int, ...], channels: Sequence[int]) -> None:
    """Each entry of ``channels`` halves the image; refuse more halvings than it has."""
    if len(shape) != 3:
        raise UserError(
            f"model.network=conv needs images, this data set has {shape[0]} columns; "
            "use model.network=fc"
        )
    most = int(math.log2(min(shape[1:])))
    if not channels or most == 0:
        raise UserError(
            f"model.network=conv needs a stage in model.channels={list(channels)} and an image "
            f"larger than one pixel, this one has {shape[1]}×{shape[2]}; use model.network=fc"
        )
    if len(channels) > most:
        raise UserError(
            f"model.channels={list(channels)} halves an image {len(channels)} times, "
            f"one of {shape[1]}×{shape[2]} pixels allows {most}; use at most {most} entries"
        )


class ConvEncoder(nn.Module):
    """Stages of (4×4 convolution of stride 2, ``depth`` residual 3×3 blocks), then one linear map.

    Args:
        shape: (C, H, W) of the image.
        channels: of each stage; every stage halves the sides.
        out: size of the code.
        hidden: width of a linear layer before the code; 0 for none.
        last: activation of the code.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: Sequence[int],
        out: int,
        activation: Activation = "relu",
        depth: int = 0,
        hidden: int = 0,
        last: Activation = "linear",
    ) -> None:
        super().__init__()
        check_stages(shape, channels)
        rows, columns = (halvings(side, len(channels)) for side in shape[1:])
        widths = [shape[0], *channels]
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.blocks = nn.ModuleList(_blocks(c, depth, activation) for c in channels)
        self.activation = ACTIVATIONS[activation]
        flat = channels[-1] * rows[-1] * columns[-1]
        self.hidden = nn.Linear(flat, hidden) if hidden else None
        self.code = nn.Linear(hidden or flat, out)
        self.last = ACTIVATIONS[last]
        self.droppable = sum(channels)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, out); ``keep`` (B, droppable) multiplies whole feature maps."""
        start = 0
        for stage, block in zip(self.stages, self.blocks, strict=True):
            x = block(self.activation(stage(x)))
            if keep is not None:
                x = x * keep[:, start : start + x.shape[1], None, None]
                start += x.shape[1]
        x = x.flatten(1)
        if self.hidden is not None:
            x = self.activation(self.hidden(x))
        return self.last(self.code(x))


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`: (B, code) to the raw image (B, C, H, W) of any wanted size."""

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: Sequence[int],
        code: int,
        activation: Activation = "relu",
        depth: int = 0,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        check_stages(shape, channels)
        rows, columns = (halvings(side, len(channels)) for side in shape[1:])
        self.first = (channels[-1], rows[-1], columns[-1])
        self.hidden = nn.Linear(code, hidden) if hidden else None
        self.unflatten = nn.Linear(hidden or code, math.prod(self.first))
        widths = [shape[0], *channels]
        self.stages = nn.ModuleList()
        for i in reversed(range(len(channels))):
            # a transposed 4×4 convolution doubles the sides; an odd side needs one more row
            odd = (rows[i] - 2 * rows[i + 1], columns[i] - 2 * columns[i + 1])
            self.stages.append(
                nn.ConvTranspose2d(
                    widths[i + 1], widths[i], 4, stride=2, padding=1, output_padding=odd
                )
            )
        self.blocks = nn.ModuleList(_blocks(c, depth, activation) for c in reversed(channels))
        self.activation = ACTIVATIONS[activation]
        self.droppable = sum(channels)

    def forward(self, z: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, code) to (B, C, H, W), before any output activation."""
        if self.hidden is not None:
            z = self.activation(self.hidden(z))
        x, start = self.activation(self.unflatten(z)).unflatten(1, self.first), 0
        for block, stage in zip(self.blocks, self.stages, strict=True):
            x = block(x)
            if keep is not None:
                x = x * keep[:, start : start + x.shape[1], None, None]
                start += x.shape[1]
            x = stage(x)
            if stage is not self.stages[-1]:
                x = self.activation(x)
        return x


class _Residual(nn.Module):
    """x + conv(act(conv(x))), the second convolution starting at zero (an identity at first)."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.activation(self.first(x)))


def _blocks(channels: int, depth: int, activation: Activation) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels, activation) for _ in range(depth)))
