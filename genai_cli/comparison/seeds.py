"""Average runs that differ only in their seed: the mean and Student's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

T975 = (  # 97.5 % points of Student's t with 1 to 30 degrees of freedom
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)
Z975 = 1.959964


def student(df: int) -> float:
    """Return the 97.5 % point of Student's t to 1e-4, so that a comparison needs no SciPy.

    Beyond the table the first terms of the Cornish–Fisher expansion (Abramowitz & Stegun 26.7.5).
    """
    if df <= len(T975):
        return T975[df - 1]
    z = Z975
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return (mean, low, high), 95 %, of numbers from independent seeds; one has no interval."""
    m = len(values)
    mean = math.fsum(values) / m
    if m < 2:
        return mean, None, None
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (m - 1))
    half = student(m - 1) * deviation / math.sqrt(m)
    return mean, mean - half, mean + half
