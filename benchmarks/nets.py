"""Networks of plain torch, layer by layer those of genai_cli/networks, for the peers. No script."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from genai_cli.networks.conv import halvings


def conv_encoder(shape: tuple[int, ...], channels: Sequence[int], out: int) -> nn.Sequential:
    """4×4 convolutions of stride 2, then one linear layer: (B, C, H, W) to (B, out)."""
    rows, columns = (halvings(side, len(channels))[-1] for side in shape[1:])
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise([shape[0], *channels]):
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * rows * columns, out))


def conv_decoder(shape: tuple[int, ...], channels: Sequence[int], code: int) -> nn.Sequential:
    """Its mirror: (B, code) to (B, C, H, W) within [0, 1]."""
    rows, columns = (halvings(side, len(channels)) for side in shape[1:])
    first = (channels[-1], rows[-1], columns[-1])
    layers: list[nn.Module] = [
        nn.Linear(code, first[0] * first[1] * first[2]),
        nn.ReLU(),
        nn.Unflatten(1, first),
    ]
    widths = [shape[0], *channels]
    for i in reversed(range(len(channels))):
        odd = (rows[i] - 2 * rows[i + 1], columns[i] - 2 * columns[i + 1])
        up = nn.ConvTranspose2d(
            widths[i + 1], widths[i], 4, stride=2, padding=1, output_padding=odd
        )
        layers += [up, nn.ReLU() if i else nn.Sigmoid()]
    return nn.Sequential(*layers)
