"""Monotone maps of single numbers, whose parameters a coupling layer's network gives."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import torch
from torch import Tensor

from genai_cli.config.signatures import Between
from genai_cli.networks.flow import spline

Coupled = Literal["affine", "spline"]
Bins = Annotated[int, Between(2, 64)]  # of a spline, each at least a thousandth of its interval

LOG_SCALE_BOUND = 2.0  # an affine map scales by e^±2 at most, so no step can overflow


class Elementwise(Protocol):
    """``parameters`` numbers for each element; all zeros give the identity.

    ``forward(x, raw)``: (z, log |dz/dx|), each of the shape of x (B, *event), for ``raw``
    (B, parameters, *event); ``inverse(z, raw)``: x.
    """

    parameters: int

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]: ...

    def inverse(self, z: Tensor, raw: Tensor) -> Tensor: ...


def bounded(raw: Tensor) -> Tensor:
    """A log-scale, smoothly within ±LOG_SCALE_BOUND, with slope 1 at 0."""
    return LOG_SCALE_BOUND * torch.tanh(raw / LOG_SCALE_BOUND)


class AffineElement:
    """z = e^s x + t (RealNVP, Dinh et al. 2017, eq. 7) with s bounded by `bounded`."""

    parameters = 2

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        s, t = raw.unbind(1)
        s = bounded(s)
        return x * s.exp() + t, s

    def inverse(self, z: Tensor, raw: Tensor) -> Tensor:
        s, t = raw.unbind(1)
        return (z - t) * (-bounded(s)).exp()


class Spline:
    """Rational-quadratic spline of ``bins`` bins on ±bound (Durkan et al. 2019), then shifted.

    The shift (one more parameter) is the translation an affine coupling has: without it mass
    could not move across the bound.
    """

    def __init__(self, bins: int, bound: float) -> None:
        self.bins, self.bound, self.parameters = bins, bound, 3 * bins

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        at, shift = self._split(raw)
        z, log_slope = spline.forward(x, at)
        return z + shift, log_slope

    def inverse(self, z: Tensor, raw: Tensor) -> Tensor:
        at, shift = self._split(raw)
        return spline.inverse(z - shift, at)

    def _split(self, raw: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        raw = raw.movedim(1, -1)
        return spline.knots(raw[..., :-1], self.bins, self.bound), raw[..., -1]


def elementwise(coupling: Coupled, bins: int, bound: float) -> Elementwise:
    """The map called ``coupling``."""
    return AffineElement() if coupling == "affine" else Spline(bins, bound)
