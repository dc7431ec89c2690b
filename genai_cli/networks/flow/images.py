"""The multi-scale flow on images: checkerboards, squeeze, channel couplings, split, and again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_cli.errors import UserError
from genai_cli.networks.flow.chain import Chain
from genai_cli.networks.flow.coupling import Checkerboard, Coupling
from genai_cli.networks.flow.elementwise import AffineElement, Coupled, elementwise
from genai_cli.networks.flow.linear import ActNorm, Mixing, mixing_layer
from genai_cli.networks.mlp import ACTIVATIONS, Activation


class CouplingConv(nn.Module):
    """A coupling network: 3×3 convolution, a learned map of positions, residual blocks, 3×3.

    The map tells the network where it is: convolutions alone cannot, and small pictures are
    centred. The last convolution starts at 0.

    Args:
        inputs, outputs: channels.
        size: (H, W).
        channels: of the hidden layers.
        depth: residual blocks (activation, 3×3, activation, 1×1 convolution that starts at 0).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: tuple[int, int],
        channels: int,
        depth: int,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, channels, 3, padding=1)
        # under the name it has in checkpoints
        self.register_parameter("place", nn.Parameter(torch.zeros(channels, *size)))
        self.wide = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.narrow = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(depth))
        self.last = nn.Conv2d(channels, outputs, 3, padding=1)
        for layer in (*self.narrow, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.activation = ACTIVATIONS[activation]
        self.channels, self.droppable = channels, channels * depth

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W); ``keep`` (B, droppable) drops feature maps."""
        h = self.first(x) + self.place
        for i, (wide, narrow) in enumerate(zip(self.wide, self.narrow, strict=True)):
            inner = self.activation(wide(self.activation(h)))
            if keep is not None:
                part = keep[:, i * self.channels : (i + 1) * self.channels]
                inner = inner * part[:, :, None, None]
            h = h + narrow(inner)
        return self.last(self.activation(h))


def most_scales(shape: tuple[int, ...]) -> int:
    """Return how often both sides of (C, H, W) can be halved exactly."""
    rows, columns = shape[1:]
    most = 0
    while rows % 2 == 0 and columns % 2 == 0:
        rows, columns, most = rows // 2, columns // 2, most + 1
    return most


def check_scales(shape: tuple[int, ...], scales: int | None) -> int:
    """The number of scales: ``scales``, or for None as many as fit, two at most.

    Raises:
        UserError: a side is odd before the last halving.
    """
    most = most_scales(shape)
    if scales is None:
        return min(2, most)
    if scales > most:
        raise UserError(
            f"model.scales={scales} halves an image {scales} times, one of {shape[1]}×{shape[2]} "
            f"pixels halves evenly {most} times; use at most model.scales={most}"
        )
    return scales


class Multiscale(nn.Module):
    """Images (B, C, H, W) to codes (B, D), D = C · H · W, by scales (RealNVP, figure 4b).

    A scale is ``checkerboards`` × [actnorm, mixing, checkerboard coupling], a squeeze (C, H, W) →
    (4 C, H/2, W/2), ``steps`` × [actnorm, mixing, channel coupling] and, but for the last scale, a
    split: half of the channels leave as codes, standardised by a Gaussian that the others predict
    (Glow, Kingma & Dhariwal 2018, section 3 and its code). The coarsest codes come first.

    Args:
        shape: (C, H, W).
        scales: see `check_scales`; 0 leaves the image as large as it is.
        checkerboards: couplings before the squeeze, which see every pixel's neighbours but work on
            four times the places; ``steps`` of them where one channel is never squeezed.
        channels, depth: of each coupling's `CouplingConv`.
        coupling, bins, bound, mixing, activation: as in `vector_flow`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        scales: int | None,
        steps: int,
        checkerboards: int,
        channels: int,
        depth: int,
        coupling: Coupled,
        bins: int,
        bound: float,
        mixing: Mixing,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.shape, self.scales = tuple(shape), check_scales(shape, scales)
        self.fine, self.coarse = nn.ModuleList(), nn.ModuleList()
        self.splits = nn.ModuleList()
        self.code_shapes: list[tuple[int, ...]] = []  # of each split, the finest first
        index = 0

        def layers(shape: tuple[int, int, int], checkered: bool) -> Iterator[nn.Module]:
            nonlocal index

            def net(inputs: int, outputs: int) -> nn.Module:
                return CouplingConv(inputs, outputs, shape[1:], channels, depth, activation)

            squeezable = checkered and (self.scales or shape[0] > 1)
            for i in range(checkerboards if squeezable else steps):
                yield ActNorm(shape[0])
                if shape[0] > 1:
                    yield mixing_layer(mixing, shape[0], index)
                element = elementwise(coupling, bins, bound)
                if checkered:
                    yield Checkerboard(shape, bool(i % 2), element, net)
                else:
                    yield Coupling(shape[0], element, net)
                index += 1

        c, h, w = shape
        for scale in range(max(1, self.scales)):
            self.fine.append(Chain(layers((c, h, w), checkered=True)))
            if self.scales:
                c, h, w = 4 * c, h // 2, w // 2
            self.coarse.append(Chain(layers((c, h, w), checkered=False) if c > 1 else ()))
            if scale + 1 < self.scales:
                size = (h, w)
                prior = Coupling(
                    c,
                    AffineElement(),
                    lambda i, o, size=size: CouplingConv(i, o, size, channels, depth, activation),
                )
                self.splits.append(prior)
                self.code_shapes.append((c - c // 2, h, w))
                c = c // 2
        self.top = (c, h, w)
        self.droppable = sum(m.droppable for m in self._in_order())

    @property
    def coarsest(self) -> int:
        """Number of the D codes that are not split off before the last scale."""
        return math.prod(self.top)

    def _in_order(self) -> Iterator[nn.Module]:
        for i, (fine, coarse) in enumerate(zip(self.fine, self.coarse, strict=True)):
            yield fine
            yield coarse
            if i < len(self.splits):
                yield self.splits[i]

    def forward(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(codes (B, D), log-det (B,)); ``keep`` (B, droppable) masks hidden feature maps."""
        masks = iter(
            [None] * len(list(self._in_order()))
            if keep is None
            else keep.split([m.droppable for m in self._in_order()], dim=1)
        )
        logdet, codes = x.new_zeros(len(x)), []
        for i, (fine, coarse) in enumerate(zip(self.fine, self.coarse, strict=True)):
            x, change = fine(x, next(masks))
            logdet = logdet + change
            x = F.pixel_unshuffle(x, 2) if self.scales else x
            x, change = coarse(x, next(masks))
            logdet = logdet + change
            if i < len(self.splits):
                x, change = self.splits[i](x, next(masks))
                logdet = logdet + change
                code = x[:, self.splits[i].fixed :]
                x = x[:, : self.splits[i].fixed]
                codes.append(code.flatten(1))
        return torch.cat([x.flatten(1), *reversed(codes)], 1), logdet

    def inverse(self, z: Tensor, undone: int | None = None) -> Tensor:
        """Codes (B, D) to images.

        ``undone`` scales are inverted, counted from the coarsest, the others only rearranged:
        what the image is when so much of the way is done.
        """
        sizes = [math.prod(shape) for shape in reversed(self.code_shapes)]
        top, *codes = z.split([self.coarsest, *sizes], dim=1)
        x = top.unflatten(1, self.top)
        n = len(self.fine)
        for i in reversed(range(n)):
            passive = undone is not None and n - i > undone
            if i < len(self.splits):
                code = codes[len(self.splits) - 1 - i].unflatten(1, self.code_shapes[i])
                x = torch.cat([x, code], 1)
                x = x if passive else self.splits[i].inverse(x)
            x = x if passive else self.coarse[i].inverse(x)
            x = F.pixel_shuffle(x, 2) if self.scales else x
            x = x if passive else self.fine[i].inverse(x)
        return x

    def path(self, z: Tensor) -> Iterator[Tensor]:
        """The image after each scale that `inverse` undoes, the coarsest first."""
        for undone in range(1, len(self.fine) + 1):
            yield self.inverse(z, undone)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Initialise every `ActNorm` with images as they enter."""
        for i, (fine, coarse) in enumerate(zip(self.fine, self.coarse, strict=True)):
            x = fine.prepare(x)
            x = coarse.prepare(F.pixel_unshuffle(x, 2) if self.scales else x)
            if i < len(self.splits):
                x = x[:, : self.splits[i].fixed]
