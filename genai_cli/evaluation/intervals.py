"""95 % intervals: over test examples by the bootstrap, over fresh sample sets by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from genai_cli.training.randomness import derive

RESAMPLES = 1000


def bootstrap(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Percentile intervals (95 %) of the column means of ``values`` (n, T): (2, T) low and high.

    Efron & Tibshirani 1993, section 13.3: test examples are resampled, all columns together.
    """
    rng = np.random.default_rng(derive(seed, "bootstrap"))
    n = len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    for i in range(RESAMPLES):
        means[i] = np.bincount(rng.integers(0, n, n), minlength=n) @ values / n
    return np.percentile(means, [2.5, 97.5], axis=0)


def over_sets(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """(mean, low, high) of a number measured on each of several independent sets.

    A bootstrap within one set would be biased for distances of distributions: a resample repeats
    examples. One set has no interval.
    """
    m, mean = len(values), math.fsum(values) / len(values)
    if m < 2:
        return mean, None, None
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (m - 1))
    half = float(stdtrit(m - 1, 0.975)) * deviation / math.sqrt(m)
    return mean, mean - half, mean + half
