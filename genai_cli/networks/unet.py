"""Time-conditioned U-Net for images of any size (Ronneberger et al. 2015, Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_cli.errors import UserError
from genai_cli.networks.time import TimeEmbedding

GROUPS = 8  # of a group normalisation at most
HEAD = 64  # channels of an attention head, at most


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018): it looks at one example only.

    A group has two channels or more, where there are so many: a group of one would take away
    what the time adds to it.
    """
    groups = next(g for g in range(GROUPS, 0, -1) if channels % g == 0 and (channels > g or g == 1))
    return nn.GroupNorm(groups, channels)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The same layer, starting at zero, so that what it is added to starts as the identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def sides(side: int, stages: int) -> list[int]:
    """Side lengths after each halving, n → ⌈n / 2⌉."""
    out = [side]
    for _ in range(stages):
        out.append(-(-out[-1] // 2))
    return out


class Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + time))), the second convolution starting at zero."""

    def __init__(self, c_in: int, c_out: int, time: int) -> None:
        super().__init__()
        self.norm_in, self.conv_in = norm(c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time = nn.Linear(time, c_out)
        self.norm_out, self.conv_out = norm(c_out), zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, c_in, H, W) and (B, time) to (B, c_out, H, W)."""
        h = self.conv_in(F.silu(self.norm_in(x))) + self.time(time)[:, :, None, None]
        return self.skip(x) + self.conv_out(F.silu(self.norm_out(h)))


class Attention(nn.Module):
    """Self-attention over the pixels (Vaswani et al. 2017), added to the input, zero at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(h for h in range(-(-channels // HEAD), channels + 1) if channels % h == 0)
        self.norm = norm(channels)
        # a bias on the keys would cancel in the softmax
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        b, c, h, w = x.shape
        # (B, heads, H·W, C / heads) each
        q, k, v = (
            part.reshape(b, self.heads, c // self.heads, h * w).transpose(2, 3)
            for part in self.qkv(self.norm(x)).chunk(3, dim=1)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)
        return x + self.out(attended)


class UNet(nn.Module):
    """Stages that halve the image, an innermost block, and the same stages back up.

    Each stage has ``depth`` residual blocks; on the way up it also sees what its twin found on the
    way down. An odd side is rounded up on the way down and restored on the way up.

    Args:
        shape: (C, H, W) of input and output.
        channels: of each stage, outermost first; every stage halves the sides after it.
        bottleneck: channels of the innermost blocks.
        depth: residual blocks of a stage.
        attention: self-attention between the innermost blocks.
        classes: of the labels; 0 for none.

    Raises:
        UserError: no stage, or more halvings than the image has.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: Sequence[int],
        bottleneck: int,
        depth: int = 1,
        attention: bool = True,
        classes: int = 0,
    ) -> None:
        super().__init__()
        check(shape, channels)
        time = 4 * max(channels[0], 16)
        self.embedding = TimeEmbedding(time, classes)
        self.stem = nn.Conv2d(shape[0], channels[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        c = channels[0]
        for width in channels:
            self.down.append(_stage(c, width, depth, time))
            self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
            c = width
        self.enter, self.leave = Block(c, bottleneck, time), Block(bottleneck, bottleneck, time)
        self.attention = Attention(bottleneck) if attention else nn.Identity()
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        c = bottleneck
        for width in reversed(channels):
            self.grow.append(nn.Conv2d(c, width, 3, padding=1))
            self.up.append(_stage(2 * width, width, depth, time))
            c = width
        self.norm = norm(c)
        self.last = zero(nn.Conv2d(c, shape[0], 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), t (B,) on a scale of about 1000, y (B,) to (B, C, H, W)."""
        time = F.silu(self.embedding(t, y))
        x, kept = self.stem(x), []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            for block in blocks:
                x = block(x, time)
            kept.append(x)
            x = shrink(x)
        x = self.leave(self.attention(self.enter(x, time)), time)
        for grow, blocks in zip(self.grow, self.up, strict=True):
            twin = kept.pop()
            x = torch.cat([grow(F.interpolate(x, size=twin.shape[2:])), twin], 1)
            for block in blocks:
                x = block(x, time)
        return self.last(F.silu(self.norm(x)))


def _stage(c_in: int, c_out: int, depth: int, time: int) -> nn.ModuleList:
    return nn.ModuleList(Block(c_in if i == 0 else c_out, c_out, time) for i in range(depth))


def check(shape: tuple[int, ...], channels: Sequence[int]) -> None:
    """Each entry of ``channels`` halves the image; refuse what would leave a single pixel."""
    if len(shape) != 3:
        raise UserError(
            f"model.network=unet needs images, this data set has {shape[0]} columns; "
            "use model.network=mlp"
        )
    small = min(shape[1:])
    most = 0
    while sides(small, most + 1)[-1] > 1:
        most += 1
    size = f"{shape[1]}×{shape[2]}"
    if not channels or most == 0:
        raise UserError(
            f"model.network=unet needs a stage in model.channels={list(channels)} and an image "
            f"of 3×3 pixels or more, this one has {size}; use model.network=mlp"
        )
    if len(channels) > most:
        raise UserError(
            f"model.channels={list(channels)} halves an image {len(channels)} times, one of "
            f"{size} pixels allows {most}; use at most {most} entries"
        )
