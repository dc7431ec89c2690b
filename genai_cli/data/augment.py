"""Augmentation of training images, on the device: mirrored, or moved by a few pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Augment(NamedTuple):
    """How a training image may be changed. Its label stays."""

    flip: bool  # mirror left and right with probability 1/2
    shift: int  # move by −shift … shift pixels along each side; what comes in is 0

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) to changed ones; draws are on the generator's device.

        Each image has its own draw, so that a micro-batch or rank gets a slice of the same.
        """
        b, _, h, w = x.shape
        device = generator.device
        if self.flip:
            mirrored = torch.rand(b, generator=generator, device=device) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        if self.shift:
            s = self.shift
            moves = torch.randint(0, 2 * s + 1, (2, b, 1), generator=generator, device=device)
            rows = moves[0] + torch.arange(h, device=device)  # (B, H) of the padded image
            columns = moves[1] + torch.arange(w, device=device)  # (B, W)
            padded = torch.nn.functional.pad(x, (s, s, s, s)).movedim(1, -1)  # (B, H', W', C)
            image = torch.arange(b, device=device)[:, None, None]
            x = padded[image, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()
        return x
