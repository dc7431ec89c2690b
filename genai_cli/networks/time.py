"""Time-conditioned networks: the time embedding, and a fully connected network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOWEST = 10_000  # wavelengths of the embedding grow to 2π times this (Vaswani et al. 2017)


class TimeEmbedding(nn.Module):
    """A real time, and a class where there are classes, as one vector.

    Sines and cosines of geometrically spaced frequencies (Vaswani et al. 2017, section 3.5), then
    two linear layers (Ho et al. 2020, appendix B). Class ``classes`` is "no class".

    Args:
        width: of the vector.
        classes: how many; 0 for none.
    """

    def __init__(self, width: int, classes: int = 0) -> None:
        super().__init__()
        half = max(width // 2, 16)
        wavelengths = torch.exp(-math.log(SLOWEST) / (half - 1) * torch.arange(half))
        frequencies = wavelengths.to(torch.get_default_dtype())
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.first, self.second = nn.Linear(2 * half, width), nn.Linear(width, width)
        self.label = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, t: Tensor, y: Tensor | None = None) -> Tensor:
        """t (B,) on a scale of about 1000, y (B,) int64 to (B, width)."""
        angle = t[:, None] * self.frequencies
        out = self.second(F.silu(self.first(torch.cat([angle.sin(), angle.cos()], 1))))
        return out if self.label is None else out + self.label(y)


class TimeMLP(nn.Module):
    """Linear layers narrowing from ``widths`` to ``bottleneck`` and back, each told the time.

    Layers of the way back also get what the layer of their width found on the way in, as in a
    U-Net, so that a narrow bottleneck is no bottleneck for detail. The last layer starts at zero.

    Args:
        shape: of the input and the output, flattened inside.
        widths: hidden layers before the innermost, mirrored after it.
        bottleneck: width of the innermost hidden layer.
        classes: of the labels; 0 for none.
    """

    def __init__(
        self, shape: tuple[int, ...], widths: Sequence[int], bottleneck: int, classes: int = 0
    ) -> None:
        super().__init__()
        hidden = [*widths, bottleneck, *reversed(widths)]
        self.half, features = len(widths), math.prod(shape)
        width = max([*hidden, 32])
        self.embedding = TimeEmbedding(width, classes)
        pairs = list(itertools.pairwise([features, *hidden]))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.times = nn.ModuleList(nn.Linear(width, b) for _, b in pairs)
        self.last = nn.Linear(hidden[-1], features)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, *shape), t (B,) on a scale of about 1000, y (B,) to (B, *shape)."""
        embedded, kept, shape = F.silu(self.embedding(t, y)), [], x.shape
        x = x.flatten(1)
        for i, (layer, time) in enumerate(zip(self.layers, self.times, strict=True)):
            x = F.silu(layer(x) + time(embedded))
            if i < self.half:
                kept.append(x)
            elif i > self.half:
                x = x + kept.pop()
        return self.last(x).view(shape)
