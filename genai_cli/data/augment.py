"""Augmentation of training images, on the device: mirrored, or moved by a few pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Augment(NamedTuple):
    """Random changes of a training image. Its label stays."""

    flip: bool  # mirror left and right with probability 1/2
    shift: int  # move by −shift … shift pixels along each side; what comes in is 0

    def __call__(
        self,
        x: Tensor,
        generator: torch.Generator,
        n: int | None = None,
        rows: slice = slice(None),
    ) -> Tensor:
        """Images (B, C, H, W) to changed ones; draws are on the generator's device.

        Each image has its own draw: where these are ``rows`` of a batch of ``n``, as of a rank,
        they get those of the whole batch's.
        """
        b, _, h, w = x.shape
        n, device = b if n is None else n, generator.device
        if self.flip:
            mirrored = (torch.rand(n, generator=generator, device=device) < 0.5)[rows]
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        if self.shift:
            s = self.shift
            moves = torch.randint(0, 2 * s + 1, (2, n, 1), generator=generator, device=device)
            down = moves[0, rows] + torch.arange(h, device=device)  # (B, H) of the padded image
            across = moves[1, rows] + torch.arange(w, device=device)  # (B, W)
            padded = torch.nn.functional.pad(x, (s, s, s, s)).movedim(1, -1)  # (B, H', W', C)
            image = torch.arange(b, device=device)[:, None, None]
            x = padded[image, down[:, :, None], across[:, None, :]].movedim(-1, 1).contiguous()
        return x
