"""Split examples into kept and held out, with numpy alone.

The numbers equal scikit-learn's ``train_test_split`` for the same seed, stratified or not, so that
a result on digits can be set beside anyone else's; importing scikit-learn for it costs a second.
"""

from __future__ import annotations

import math

import numpy as np


def holdout(
    n: int, fraction: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return two disjoint, shuffled index arrays that cover ``range(n)``: (kept, held out).

    Args:
        n: number of examples.
        fraction: the part held out, in [0, 1); its size is rounded up.
        seed: of the legacy generator, whose stream numpy froze.
        labels: (n,) whole numbers; each class then keeps its share in both parts. A class too
            small for that is allowed, where scikit-learn refuses it.
    """
    rng = np.random.RandomState(seed)
    n_held = math.ceil(fraction * n)
    if labels is None or n_held in (0, n):
        order = rng.permutation(n)
        return order[n_held:], order[:n_held]
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    keep = _shares(counts, n - n_held, rng)
    hold = _shares(counts - keep, n_held, rng)
    of_class = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    kept, held = [], []
    for members, a, b in zip(of_class, keep, hold, strict=True):
        members = members[rng.permutation(len(members))]
        kept.append(members[:a])
        held.append(members[a : a + b])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held))


def _shares(counts: np.ndarray, draws: int, rng: np.random.RandomState) -> np.ndarray:
    """``draws`` seats shared among classes in proportion to ``counts``: the mode of the
    multivariate hypergeometric. Left-over seats go to the largest remainders, ties by lot."""
    exact = counts / counts.sum() * draws
    seats = np.floor(exact)
    remainder = exact - seats
    left = int(draws - seats.sum())
    for value in np.unique(remainder)[::-1]:
        if left <= 0:
            break
        tied = np.flatnonzero(remainder == value)
        chosen = rng.choice(tied, size=min(len(tied), left), replace=False)
        seats[chosen] += 1
        left -= len(chosen)
    return seats.astype(int)
