"""95 % intervals: over test examples by the bootstrap, over fresh sample sets by Student's t."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from genai_cli.rng import derive_seed

RESAMPLES = 1000
FEW = 20  # examples below which resamples vary too little, whatever the quantile
SHARES = ("accuracy",)  # columns of 0 and 1: of nine right out of nine all resamples are alike

Interval = tuple[float, float | None, float | None]  # mean, low, high; None where there is none


def of_means(columns: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, Interval]:
    """Return (mean, low, high) of each per-example column (n,) of test examples.

    By `bootstrap`; of fewer than 20 by Student's t, of a share of right answers by `wilson`. One
    example has no interval but of a share.
    """
    table = np.stack(list(columns.values()), 1)
    n, means = len(table), table.mean(0).tolist()
    lows, highs = bootstrap(table, seed).tolist() if n >= FEW else ([], [])
    out: dict[str, Interval] = {}
    for i, name in enumerate(columns):
        if name in SHARES:
            low, high = (float(x) for x in wilson(np.array(means[i]), np.array(n)))
            out[name] = means[i], low, high
        else:
            of_few = n < FEW
            out[name] = over_sets(table[:, i]) if of_few else (means[i], lows[i], highs[i])
    return out


def bootstrap(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Percentile intervals (95 %) of the column means of ``values`` (n, T): (2, T) low and high.

    Efron & Tibshirani 1993, section 13.3: test examples are resampled, all columns together. The
    percentiles are expanded as Student's t is against the normal, and by √(n / (n − 1)), because
    resamples vary too little (Hesterberg 2015, section 5.3).
    """
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    n = len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    for i in range(RESAMPLES):
        means[i] = np.bincount(rng.integers(0, n, n), minlength=n) @ values / n
    outside = 50 * math.erfc(_student(n - 1) * math.sqrt(n / (n - 1) / 2))
    return np.percentile(means, [outside, 100 - outside], axis=0)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, three digits from 19 on, without scipy: no training waits
    for that import (Abramowitz & Stegun 1964, 26.7.5)."""
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def wilson(share: np.ndarray, n: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of shares of ``n`` (Wilson 1927): within 0 … 1, and wide for one example.

    ``z`` is the normal quantile of another level.
    """
    z2, n = z**2, np.maximum(n, 1)
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # rounding must not leave a share of 0 or 1 outside of its own interval
    low, high = np.minimum(middle - half, share), np.maximum(middle + half, share)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def over_sets(
    values: Sequence[float], least: float = -math.inf, most: float = math.inf
) -> Interval:
    """Return (mean, low, high) of a number measured on several independent sets.

    A bootstrap within one set would be biased for distances of distributions: a resample repeats
    examples. One set has no interval. ``least`` and ``most`` are what the number can be.
    """
    m, mean = len(values), math.fsum(values) / len(values)
    if m < 2:
        return mean, None, None
    from scipy.special import stdtrit  # no training waits for this import

    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (m - 1))
    half = float(stdtrit(m - 1, 0.975)) * deviation / math.sqrt(m)
    return mean, max(mean - half, least), min(mean + half, most)
