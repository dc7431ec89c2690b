"""Distances between all rows of two sets, a block at a time, as the sample measures need them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**20  # distances held at a time: 8 MiB, measured fastest because it stays in cache
NARROW = 16  # columns up to which differences are taken one by one: exact, and no slower


def rows(x: Tensor) -> Tensor:
    """(n, *event) of any dtype as (n, D) in double precision, detached."""
    x = x.detach()
    x = x.cpu() if x.device.type == "mps" else x  # an Apple GPU has no double precision
    return x.reshape(len(x), math.prod(x.shape[1:])).double()


def pair_of_rows(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets as `rows` about a common centre, so that large means cost no digits.

    Raises:
        ValueError: a set is empty, or the two differ in width.
    """
    x, y = rows(x), rows(y)
    if not len(x) or not len(y):
        raise ValueError(f"a distance needs examples on both sides, got {len(x)} and {len(y)}")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x.shape[1]} columns against {y.shape[1]}: these sets do not compare")
    centre = x.mean(0)
    return x - centre, y - centre


def blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows of x, their Euclidean distances (b, m) to all of y), for double (n, D) and (m, D).

    Wide rows go through a matrix product, |x|² + |y|² − 2 x·y, whose error is about 1e-8 of the
    largest norm where two rows coincide; narrow ones are exact.
    """
    mode = "donot_use_mm_for_euclid_dist" if x.shape[1] <= NARROW else "use_mm_for_euclid_dist"
    step = max(1, BLOCK // len(y))
    for start in range(0, len(x), step):
        part = slice(start, min(start + step, len(x)))
        yield part, torch.cdist(x[part], y, compute_mode=mode)
