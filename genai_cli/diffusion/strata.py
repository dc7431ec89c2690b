"""Stratified choice of steps, to estimate a sum over all 1 … T from a few."""

from __future__ import annotations

import itertools


def strata(total: int, count: int) -> list[tuple[int, int]]:
    """Cut 1 … ``total`` into ``count`` runs (first, last), both inclusive, each longer by a factor.

    The first ones hold a single step: there the terms of a diffusion bound are large and differ
    from step to step. One uniform step of each run, times its length, is an unbiased estimate of
    the sum. At most ``total`` runs.
    """
    count, ends = min(count, total), [0]
    for left in range(count, 0, -1):
        start = ends[-1]
        grown = int(start * (total / start) ** (1 / left)) if start else 0
        # rounding down never takes what the later ones need: growth lies below even lengths
        ends.append(total if left == 1 else max(start + 1, grown))
    return [(a + 1, b) for a, b in itertools.pairwise(ends)]
