"""Differentiable augmentation of what a discriminator sees, for small data sets.

DiffAugment (Zhao et al. 2020): real and fake images pass the same random transformations, and G's
gradient passes through them. Images are in [−1, 1], so that 0 is mid-grey.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Augmentation = Literal["color", "translation", "cutout"]

SHIFT = 0.125  # largest translation, as a share of the side
CUTOUT = 0.5  # side of the square that is blanked, as a share of the side


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness by −0.5 … 0.5, saturation times 0 … 2, contrast times 0.5 … 1.5.

    Args:
        x: (B, C, H, W).
        u: (B, 3) in [0, 1]; a half leaves each as it is. One channel has no saturation.
    """
    brightness, saturation, contrast = (c[:, None, None, None] for c in u.unbind(1))
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Moved by whole pixels, up to 1/8 of each side; what comes in is 0.

    Args:
        x: (B, C, H, W).
        u: (B, 2) in [0, 1) for rows and columns; a half leaves the image where it is.
    """
    for dim in (2, 3):
        side = x.shape[dim]
        most = max(1, int(side * SHIFT + 0.5)) if side > 1 else 0
        move = (u[:, dim - 2] * (2 * most + 1)).floor().long() - most  # (B,) of −most … most
        source = torch.arange(side, device=x.device) - move[:, None]  # (B, side)
        inside = (source >= 0) & (source < side)
        shape = [len(x), 1, 1, 1]
        shape[dim] = side
        index = source.clamp(0, side - 1).view(shape).expand_as(x)
        x = x.gather(dim, index) * inside.view(shape)
    return x


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """A square of half the side, blanked to 0; its centre anywhere, so part may lie outside.

    Args:
        x: (B, C, H, W).
        u: (B, 2) in [0, 1) for row and column of the centre.
    """
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for dim in (2, 3):
        side = x.shape[dim]
        size = int(side * CUTOUT + 0.5)
        first = (u[:, dim - 2] * (side + 1 - size % 2)).floor() - size // 2  # (B,)
        away = torch.arange(side, device=x.device) - first[:, None]
        shape = [len(x), 1, 1, 1]
        shape[dim] = side
        inside = inside & ((away >= 0) & (away < size)).view(shape)
    return x * ~inside


AUGMENTATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "color": (color, 3),
    "translation": (translation, 2),
    "cutout": (cutout, 2),
}


def draws(names: Sequence[str]) -> int:
    """Uniform numbers that one image takes."""
    return sum(AUGMENTATIONS[name][1] for name in names)


def augment(x: Tensor, names: Sequence[str], u: Tensor) -> Tensor:
    """(B, C, H, W) to the same, ``names`` in the order given; u (B, draws(names)) in [0, 1)."""
    for name in names:
        change, needs = AUGMENTATIONS[name]
        x, u = change(x, u[:, :needs]), u[:, needs:]
    return x
