"""Image restoration tasks: the input of a model, its target, and a baseline without training.

A restored image is good where it is better than what interpolation makes of the same input. The
yardsticks are bicubic interpolation for super-resolution, a membrane spanned from the border of
the hole for in-painting, and the noisy input itself for an autoencoder that takes noise away.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_cli.data.dataset import Batch, Spec
from genai_cli.data.pairs import hole
from genai_cli.models.base import Model
from genai_cli.rng import Source, normal

BICUBIC, MEMBRANE, INPUT = "bicubic", "smooth fill", "noisy input"
MEANS = {
    BICUBIC: "bicubic interpolation",
    MEMBRANE: "smooth filling of the hole",
    INPUT: "noisy input itself",
}


class RestorationTask(NamedTuple):
    """One batch to rebuild, in data space."""

    given: Tensor  # (B, *event), what the model sees
    truth: Tensor  # (B, *target)
    baseline: Tensor | None = None  # (B, *target), made without a model; None: given = truth
    way: str = ""  # how: a key of `MEANS`


def task(model: Model, spec: Spec, batch: Batch, source: Source) -> RestorationTask:
    """Return the restoration task of a batch: its input, target and baseline.

    ``source`` draws the noise of a denoising autoencoder, of the deviation it was trained with.
    """
    if spec.target == "image":
        return RestorationTask(batch.x, batch.y, *of_pair(batch, spec))
    if not model.noise_of_input:
        return RestorationTask(batch.x, batch.x)
    noise = normal(len(batch.x), spec.event_shape, source, batch.x)
    given = batch.x + model.noise_of_input * noise
    baseline = given.clamp(0, 1) if spec.unit_interval else given  # the fairer of the two
    return RestorationTask(given, batch.x, baseline, INPUT)


def of_pair(batch: Batch, spec: Spec) -> tuple[Tensor, str]:
    """(images (B, *target) interpolated from the inputs of pairs, a key of `MEANS`)."""
    if spec.event_shape == spec.target_shape:
        return filled(batch.x), MEMBRANE
    return enlarged(batch.x, spec.target_shape), BICUBIC


def enlarged(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, C, h, w) in [0, 1] to (B, *shape) by cubic convolution (Keys 1981), clipped to [0, 1]."""
    out = F.interpolate(x, size=shape[1:], mode="bicubic", align_corners=False)
    return out.clamp(0, 1)


def filled(x: Tensor) -> Tensor:
    """(B, C, H, W) with the hole of ``dataset.pair=inpaint`` filled by the solution of Laplace's
    equation, Δu = 0, that takes the values around it; black is assumed beyond the image.

    On a rectangle of n × m pixels the discrete sine transform diagonalises Δ: with
    S_jk = √(2 / (n + 1)) sin(π j k / (n + 1)) and λ_k = 2 − 2 cos(π k / (n + 1)),
    u = S ((S b S) / (λ + λᵀ)) S for the sum b of the known neighbours of each pixel.
    """
    rows, columns = hole(*x.shape[-2:])
    known = x.clone()
    known[..., rows, columns] = 0
    around = F.pad(known, (1, 1, 1, 1))
    b = around[..., 2:, 1:-1] + around[..., :-2, 1:-1] + around[..., 1:-1, 2:]
    b = (b + around[..., 1:-1, :-2])[..., rows, columns]
    (down, by_row), (across, by_column) = (_sines(n, x) for n in b.shape[-2:])
    u = down @ (down @ b @ across / (by_row[:, None] + by_column)) @ across
    known[..., rows, columns] = u
    return known


def _sines(n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """(S (n, n), λ (n,)) of `filled`."""
    k = torch.arange(1, n + 1, dtype=like.dtype, device=like.device)
    angle = math.pi * k / (n + 1)
    return math.sqrt(2 / (n + 1)) * (k[:, None] * angle).sin(), 2 - 2 * angle.cos()
