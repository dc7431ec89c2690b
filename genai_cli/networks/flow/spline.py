"""Monotone rational-quadratic splines with linear tails."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_BIN = 1e-3  # of the whole interval, so that no bin and no slope degenerates
LEAST_SLOPE = 1e-3
UNIT = math.log(math.expm1(1 - LEAST_SLOPE))  # softplus(UNIT) + LEAST_SLOPE = 1


def knots(raw: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """Knots of a spline on [−bound, bound] that is the identity beyond it.

    Durkan et al. 2019 (neural spline flows), section 3.1; all zeros give the identity.

    Args:
        raw: (…, 3 · bins − 1) unconstrained widths, heights and inner slopes.

    Returns:
        Abscissas, ordinates and slopes of the knots, (…, bins + 1) each.
    """
    widths, heights, slopes = raw.split([bins, bins, bins - 1], dim=-1)
    slopes = F.pad(F.softplus(slopes + UNIT) + LEAST_SLOPE, (1, 1), value=1.0)
    return _edges(widths, bound), _edges(heights, bound), slopes


def _edges(raw: Tensor, bound: float) -> Tensor:
    share = LEAST_BIN + (1 - LEAST_BIN * raw.shape[-1]) * raw.softmax(-1)
    edges = F.pad(share.cumsum(-1)[..., :-1], (1, 0))  # the last edge is exact by hand
    return bound * F.pad(2 * edges - 1, (0, 1), value=1.0)


def forward(x: Tensor, at: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(y, log dy/dx) at x (…), Durkan et al. 2019, eq. 4 and 5."""
    inside, x_in, (x0, w, y0, h, s, d0, d1) = _bin(x, at, at[0])
    t = (x_in - x0) / w
    y = y0 + h * (s * t.square() + d0 * t * (1 - t)) / _denominator(t, s, d0, d1)
    return torch.where(inside, y, x), torch.where(inside, _log_slope(t, s, d0, d1), 0)


def inverse(y: Tensor, at: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """x at y (…), Durkan et al. 2019, eq. 6–8, the root in the form that does not cancel,
    which is another for each sign of b: in fp32 off by 1e-5, where one form for both is by 1."""
    inside, y_in, (x0, w, y0, h, s, d0, d1) = _bin(y, at, at[1])
    v = y_in - y0
    bend = v * (d0 + d1 - 2 * s)
    a, b, c = h * (s - d0) + bend, h * d0 - bend, -s * v
    root, rising = (b.square() - 4 * a * c).clamp_min(0).sqrt(), b >= 0
    above = torch.where(rising, 2 * c, root - b)
    t = above / torch.where(rising, -b - root, 2 * a)
    return torch.where(inside, x0 + w * t.clamp(0, 1), y)


def _bin(x: Tensor, at: tuple[Tensor, Tensor, Tensor], edges: Tensor) -> tuple:
    """Whether x lies between the outer knots, x made safe, and the numbers of its bin."""
    inside = (x > edges[..., 0]) & (x < edges[..., -1])
    safe = torch.where(inside, x, 0)
    k = torch.searchsorted(edges[..., 1:-1].contiguous(), safe[..., None].contiguous(), right=True)
    pair = torch.cat([k, k + 1], -1)
    (x0, x1), (y0, y1), (d0, d1) = (knot.gather(-1, pair).unbind(-1) for knot in at)
    w, h = x1 - x0, y1 - y0
    return inside, safe, (x0, w, y0, h, h / w, d0, d1)


def _denominator(t: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    return s + (d0 + d1 - 2 * s) * t * (1 - t)


def _log_slope(t: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    top = d1 * t.square() + 2 * s * t * (1 - t) + d0 * (1 - t).square()
    return 2 * s.log() + top.log() - 2 * _denominator(t, s, d0, d1).log()
