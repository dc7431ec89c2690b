"""Shares of classes read by a classifier that errs, and how far two of them lie apart.

A sample has no label, so a classifier reads it, and its errors alone make classes look more or
less frequent. The apparent share of class j among examples of which a share p_i is of class i is

    r_j = Σ_i p_i P(read as j | class i)

(Rogan & Gladen 1978, for two classes). We hold the samples' apparent shares against the r_j that
the training split itself would get, by the confusion of the classifier on test images. Solving for
the samples' own p instead would magnify noise, and take for granted that drawn images are confused
as real ones are.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from genai_cli.evaluation.intervals import wilson

LEVEL = 0.05  # of all classes of a run together


class ShareInterval(NamedTuple):
    """A share of each reading, with an interval: three arrays (R,)."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def quantile(tests: int) -> float:
    """The normal quantile of ``tests`` two-sided tests at `LEVEL` together (Bonferroni)."""
    return NormalDist().inv_cdf(1 - LEVEL / (2 * max(1, tests)))


def of_counts(counts: np.ndarray, z: float = 1.96) -> ShareInterval:
    """Return shares of counts (…, K) along the last axis with Wilson's intervals; nan of none."""
    n = counts.sum(-1, keepdims=True)
    share = np.where(n > 0, counts / np.maximum(n, 1), np.nan)
    return ShareInterval(share, *wilson(share, n, z))


def apparent(shares: np.ndarray, confusion: np.ndarray, z: float = 1.96) -> ShareInterval:
    """Return the shares that the classifier would read off examples with ``shares`` (K,).

    Args:
        shares: p (K,), exact.
        confusion: (K, R) counts of real examples, true class by what is read, of which the first
            K are the classes. A class without any example is taken to be read rightly.
        z: quantile of the intervals, which hold the confusion's own uncertainty: a linear function
            of independent proportions by Wilson limits (Zou, Huang & Zhang 2009).
    """
    rightly = np.eye(*confusion.shape)
    counted = np.where(confusion.sum(1, keepdims=True) > 0, confusion, rightly)
    rate, low, high = of_counts(counted, z)
    r = shares @ rate
    spread_low = np.sqrt(shares**2 @ (rate - low) ** 2)
    spread_high = np.sqrt(shares**2 @ (high - rate) ** 2)
    return ShareInterval(r, np.clip(r - spread_low, 0, 1), np.clip(r + spread_high, 0, 1))


def difference(a: ShareInterval, b: ShareInterval) -> ShareInterval:
    """a − b with the interval of its two (Newcombe 1998, method 10)."""
    d = a.value - b.value
    low = np.sqrt((a.value - a.low) ** 2 + (b.high - b.value) ** 2)
    high = np.sqrt((a.high - a.value) ** 2 + (b.value - b.low) ** 2)
    return ShareInterval(d, d - low, d + high)


def among_clear(shares: np.ndarray, confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(shares (K,) of each class, confusion (K, K)) among examples whose class is clear.

    Args:
        shares: p (K,) of all examples.
        confusion: (K, K + 1); the last column counts what is unclear.
    """
    k = len(shares)
    n = confusion.sum(1)
    clear = np.where(n > 0, confusion[:, :k].sum(1) / np.maximum(n, 1), 1.0)
    left = shares * clear
    return left / max(left.sum(), 1e-300), confusion[:, :k]


def marks(counts: np.ndarray, shares: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Mark each class (K,): 1 over-represented, −1 under-represented, 0 neither beyond chance.

    Of all classes together a run that draws exactly ``shares`` gets a mark with a probability of
    about 5 %: of simulated ones up to 4 % at 2,000 samples, 8 % at 50,000, where it shows that
    the share of a class that is clear is taken as known.

    Args:
        counts: (K,) samples read as each class.
        shares, confusion: as of `apparent`, (K,) and (K, K).
    """
    z = quantile(len(counts))
    off = difference(of_counts(counts, z), apparent(shares, confusion, z))
    return np.where(off.low > 0, 1, np.where(off.high < 0, -1, 0))


def confusion_of(true: np.ndarray, read: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count ``true`` (n,) by ``read`` (n,) as a matrix (K, R)."""
    rows, columns = shape
    return np.bincount(true * columns + read, minlength=rows * columns).reshape(shape)
