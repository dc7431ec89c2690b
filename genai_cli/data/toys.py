"""Sample two-dimensional toy distributions in closed form.

The seed is a function of name and n, so a set is the same everywhere and its hash means something.
`log_density` is the exact density the points of gaussians and checkerboard are drawn from.
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from genai_cli.config.signatures import Between, NonNegative, Positive
from genai_cli.data.raw import Raw

Points = Annotated[int, Between(1, 10**7)]  # all are drawn at once

_AXES = ("x", "y")
_RING, _RADIUS = 8, math.sqrt(2)  # components and radius: deviation 1 along each axis
_NOISE = {"gaussians": 0.1, "checkerboard": 0.0}
# Lower left corners of the eight cells of side 1 that are filled, on the board [−2, 2]².
_CELLS = np.array([(i, j) for j in range(-2, 2) for i in range(-2, 2) if (i + j) % 2 == 0], float)


def moons(*, n: Points = 10000, noise: NonNegative = 0.05) -> Raw:
    """Sample two interleaving half circles of radius 1; y = which."""
    rng = _rng("moons", n)
    y = _balanced(rng, n)
    angle = np.pi * rng.uniform(size=n)
    x = np.where(y == 0, np.cos(angle), 1 - np.cos(angle)) - 0.5
    height = np.where(y == 0, np.sin(angle), 0.5 - np.sin(angle)) - 0.25
    return _labelled(rng, np.stack([x, height], 1), y, noise, ("upper", "lower"))


def circles(*, n: Points = 10000, noise: NonNegative = 0.05) -> Raw:
    """Sample two circles around the origin, radius 1 and 1/2; y = which."""
    rng = _rng("circles", n)
    y = _balanced(rng, n)
    points = _ring(2 * np.pi * rng.uniform(size=n)) * np.where(y == 0, 1.0, 0.5)[:, None]
    return _labelled(rng, points, y, noise, ("outer", "inner"))


def swiss_roll(*, n: Points = 10000, noise: NonNegative = 0.05) -> Raw:
    """Sample a spiral of one and a half turns; y = the position along it, 0 inside, 1 outside."""
    rng = _rng("swiss_roll", n)
    position = rng.uniform(size=n)
    angle = 1.5 * np.pi * (1 + 2 * position)
    points = _ring(angle) * (angle / (3 * np.pi))[:, None]
    points = points + noise * rng.normal(size=points.shape)
    return Raw(
        points.astype(np.float32),
        position.astype(np.float32)[:, None],
        features=_AXES,
        targets=("position",),
    )


def gaussians(
    *, n: Points = 10000, noise: Positive = _NOISE["gaussians"], radius: Positive = _RADIUS
) -> Raw:
    """Sample eight equal Gaussians of deviation ``noise`` on a ring; y = which."""
    rng = _rng("gaussians", n)
    y = rng.randint(_RING, size=n)
    return _labelled(
        rng, _centres(radius)[y], y, noise, tuple(f"component {k}" for k in range(_RING))
    )


def checkerboard(*, n: Points = 10000, noise: NonNegative = _NOISE["checkerboard"]) -> Raw:
    """Sample uniformly on the eight filled cells of a 4×4 board over [−2, 2]²; y = which cell."""
    rng = _rng("checkerboard", n)
    y = rng.randint(len(_CELLS), size=n)
    points = _CELLS[y] + rng.uniform(size=(n, 2))
    return _labelled(rng, points, y, noise, tuple(f"cell {k}" for k in range(len(_CELLS))))


def log_density(
    name: str, x: Tensor, noise: float | None = None, radius: float = _RADIUS
) -> Tensor:
    """Return the exact log density of gaussians or checkerboard at ``x``.

    Args:
        name: "gaussians" or "checkerboard".
        x: (B, 2) points in data space.
        noise: the data set's key; None is its default.
        radius: the key of gaussians; checkerboard has none.

    Returns:
        (B,) nats; −inf where the density is 0.
    """
    noise = _NOISE[name] if noise is None else noise
    if name == "gaussians":
        centres = torch.as_tensor(_centres(radius), dtype=x.dtype, device=x.device)
        square = (x[:, None] - centres).square().sum(-1)  # (B, 8)
        normal = -square / (2 * noise**2) - math.log(2 * math.pi * noise**2)
        return normal.logsumexp(1) - math.log(_RING)
    low = torch.as_tensor(_CELLS, dtype=x.dtype, device=x.device)
    above = x[:, None] - low  # (B, 8, 2): from the cell's lower left corner
    if noise == 0:
        inside = ((above >= 0) & (above < 1)).all(-1)
    else:  # a cell's uniform density, blurred: P(0 ≤ u − noise·ε < 1) along each axis
        ndtr = torch.special.ndtr
        inside = (ndtr(above / noise) - ndtr((above - 1) / noise)).prod(-1)
    return (inside.to(x.dtype).sum(1) / len(_CELLS)).log()


def _rng(name: str, n: int) -> np.random.RandomState:
    """The legacy generator: numpy promises never to change its stream."""
    seed = int.from_bytes(hashlib.sha256(f"{name} {n}".encode()).digest()[:4], "little")
    return np.random.RandomState(seed)


def _balanced(rng: np.random.RandomState, n: int) -> np.ndarray:
    return rng.permutation(np.arange(n) % 2)


def _ring(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _centres(radius: float) -> np.ndarray:
    return radius * _ring(2 * np.pi * np.arange(_RING) / _RING)


def _labelled(
    rng: np.random.RandomState,
    points: np.ndarray,
    y: np.ndarray,
    noise: float,
    classes: tuple[str, ...],
) -> Raw:
    points = points + noise * rng.normal(size=points.shape)
    return Raw(points.astype(np.float32), y.astype(np.int64), classes=classes, features=_AXES)
