"""Make image pairs: the image is the target and the input a degraded copy of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genai_cli.data.dataset import Split
from genai_cli.errors import UserError


class Degradation(NamedTuple):
    """Degradation that makes the input from the image."""

    kind: str  # superresolution | inpaint
    factor: int  # of superresolution: pixels of the image along one side of an input pixel
    max_level: int  # the largest level of the stored image

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse an image of ``shape`` (C, H, W) that the factor does not divide."""
        _, height, width = shape
        if self.kind != "superresolution" or (height % self.factor, width % self.factor) == (0, 0):
            return
        allowed = [f for f in range(2, min(shape[1:]) + 1) if not (height % f or width % f)]
        choices = f"choose from {', '.join(map(str, allowed))}" if allowed else "use pair=inpaint"
        raise UserError(
            f"dataset.factor={self.factor} does not divide the image size {height}×{width}; "
            f"{choices}"
        )

    def event_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the input for an image of ``shape`` (C, H, W)."""
        channels, height, width = shape
        f = self.factor if self.kind == "superresolution" else 1
        return channels, height // f, width // f

    def degrade(self, image: Tensor) -> Tensor:
        """uint8 images (B, C, H, W) → inputs: float in [0, 1] (B, C, H/f, W/f) of area means, or
        uint8 (B, C, H, W) with the central square, half the side, at 0."""
        height, width = image.shape[-2:]
        if self.kind == "inpaint":
            out = image.clone()
            out[(..., *hole(height, width))] = 0
            return out
        f = self.factor
        blocks = image.unflatten(-1, (width // f, f)).unflatten(-3, (height // f, f))
        # The sum of whole numbers is exact, so a batch of any size gives the same bits.
        total = blocks.sum((-3, -1), dtype=torch.int32)  # (B, C, H/f, W/f)
        return total.to(torch.get_default_dtype()).div_(f * f * self.max_level)


def hole(height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns that in-painting fills: the central square, half of each side."""
    sides = ((n // 4, n // 4 + n // 2) for n in (height, width))
    rows, columns = (slice(*side) for side in sides)
    return rows, columns


def make_pairs(split: Split, pair: Degradation) -> Split:
    """Return ``split`` as (degraded, image) pairs; its labels are left out."""
    return Split(pair.degrade(split.x), split.x, split.max_level)
