"""Encoder and decoder of the autoencoding families: one description, two mirrored networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genai_cli.networks.conv import ConvDecoder, ConvEncoder
from genai_cli.networks.mlp import MLP, Activation

Network = Literal["fc", "conv"]


class Flat(nn.Module):
    """An `MLP` between event shapes: flattens what comes in, shapes what goes out."""

    def __init__(self, mlp: MLP, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.mlp, self.shape, self.droppable = mlp, shape, mlp.droppable

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        out = self.mlp(x.flatten(1), keep)
        return out if self.shape is None else out.unflatten(1, self.shape)


def make_pair(
    network: Network,
    event_shape: tuple[int, ...],
    target_shape: tuple[int, ...],
    bottleneck: int,
    *,
    encoder_out: int,
    widths: Sequence[int],
    channels: Sequence[int],
    depth: int = 0,
    hidden: int = 0,
    activation: Activation = "relu",
    code_activation: Activation = "linear",
) -> tuple[nn.Module, nn.Module]:
    """(encoder: event → (B, encoder_out), decoder: (B, bottleneck) → raw target).

    ``fc`` uses ``widths`` mirrored around the code; ``conv`` uses ``channels``, ``depth`` and
    ``hidden`` (see conv.py).
    """
    if network == "conv":
        encoder = ConvEncoder(
            event_shape, channels, encoder_out, activation, depth, hidden, code_activation
        )
        decoder = ConvDecoder(target_shape, channels, bottleneck, activation, depth, hidden)
        return encoder, decoder
    d_in, d_out = math.prod(event_shape), math.prod(target_shape)
    down = MLP([d_in, *widths, encoder_out], activation, last=code_activation)
    up = MLP([bottleneck, *reversed(widths), d_out], activation)
    return Flat(down), Flat(up, tuple(target_shape))


def dropout_masks(
    n: int, rate: float, networks: Sequence[nn.Module], generator: torch.Generator
) -> dict[str, Tensor]:
    """Inverted-dropout masks for ``networks``: {"keep": (n, Σ droppable)}, {} at rate 0.

    Srivastava et al. 2014. The masks are part of a step's noise, not drawn inside a layer, so that
    ranks, micro-batches and resumed runs drop the same units.
    """
    units = sum(network.droppable for network in networks)
    if not rate or not units:
        return {}
    uniform = torch.rand(n, units, generator=generator, device=generator.device)
    return {"keep": (uniform >= rate).to(torch.get_default_dtype()) / (1 - rate)}


def split_mask(keep: Tensor | None, *networks: nn.Module) -> list[Tensor | None]:
    """The columns of a mask that belong to each network, in order."""
    if keep is None:
        return [None] * len(networks)
    return list(keep.split([network.droppable for network in networks], dim=1))
