"""Coupling layers: one part of x stays and says how the other is transformed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genai_cli.networks.flow.elementwise import Elementwise

MakeNet = Callable[[int, int], nn.Module]  # (in, out channels): a network(x, keep), 0 at first


class Constant(nn.Module):
    """Learned numbers in place of a network that has nothing to look at."""

    droppable = 0

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        return self.raw.expand(len(x), *self.raw.shape)


class Coupling(nn.Module):
    """The first half of the channels stays; the others pass an elementwise map that it controls.

    RealNVP (Dinh et al. 2017), eq. 4–5, with any monotone elementwise map.

    Args:
        channels: of x, (B, C) or (B, C, H, W); the first ⌊C / 2⌋ stay.
        element: the elementwise map.
        make_net: builds the network; its output must be 0 at first.
        context: channels of what else the network sees.
    """

    def __init__(
        self, channels: int, element: Elementwise, make_net: MakeNet, context: int = 0
    ) -> None:
        super().__init__()
        self.fixed, self.element = channels // 2, element
        out = element.parameters * (channels - self.fixed)
        if self.fixed + context:
            self.net = make_net(self.fixed + context, out)
        else:
            self.net = Constant((out,))
        self.droppable = self.net.droppable

    def forward(
        self, x: Tensor, keep: Tensor | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(z, log-det (B,)); ``keep`` (B, droppable) masks the network's hidden units."""
        a, b = x[:, : self.fixed], x[:, self.fixed :]
        b, log_slope = self.element.forward(b, self._raw(a, keep, context))
        return torch.cat([a, b], 1), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        a, b = z[:, : self.fixed], z[:, self.fixed :]
        return torch.cat([a, self.element.inverse(b, self._raw(a, None, context))], 1)

    def _raw(self, a: Tensor, keep: Tensor | None, context: Tensor | None) -> Tensor:
        """(B, parameters, transformed channels, …), in the precision of x under autocast too."""
        seen = a if context is None else torch.cat([a, context], 1)
        return self.net(seen, keep).to(a.dtype).unflatten(1, (self.element.parameters, -1))


class Checkerboard(nn.Module):
    """As `Coupling`, on the black and white fields of an image of any size (RealNVP, fig. 3).

    Args:
        shape: (C, H, W).
        odd: which fields stay.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        odd: bool,
        element: Elementwise,
        make_net: MakeNet,
        context: int = 0,
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        field = (torch.arange(rows)[:, None] + torch.arange(columns)) % 2 == int(odd)
        self.register_buffer("stays", field, persistent=False)  # (H, W)
        self.element = element
        self.net = make_net(channels + context, element.parameters * channels)
        self.droppable = self.net.droppable

    def forward(
        self, x: Tensor, keep: Tensor | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(z, log-det (B,)); ``keep`` (B, droppable) masks the network's feature maps."""
        z, log_slope = self.element.forward(x, self._raw(x, keep, context))
        log_slope = torch.where(self.stays, 0, log_slope)
        return torch.where(self.stays, x, z), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.element.inverse(z, self._raw(z, None, context))
        return torch.where(self.stays, z, x)

    def _raw(self, x: Tensor, keep: Tensor | None, context: Tensor | None) -> Tensor:
        seen = torch.where(self.stays, x, 0)
        if context is not None:
            seen = torch.cat([seen, context], 1)
        return self.net(seen, keep).to(x.dtype).unflatten(1, (self.element.parameters, -1))
