"""Energy distance between two sets of points; it needs no features and no parameter."""

from __future__ import annotations

from torch import Tensor

from genai_cli.evaluation.pairwise import blocks, pair_of_rows


def mean_distance(x: Tensor, y: Tensor) -> float:
    """1/(nm) Σᵢⱼ |xᵢ − yⱼ| over all pairs of (n, *event) and (m, *event), in the data's unit.

    Raises:
        ValueError: a set is empty, or the two differ in width.
    """
    x, y = pair_of_rows(x, y)
    return sum(d.sum().item() for _, d in blocks(x, y)) / (len(x) * len(y))


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X − Y| − E|X − X′| − E|Y − Y′| (Székely & Rizzo 2013), never negative.

    The V-statistic: all pairs count, an example with itself too, so two sets of n from one
    distribution read (2/n) E|X − X′| in the mean, not 0. Compare it with the value between two
    real sets of the same size.

    Args:
        x: (n, *event).
        y: (m, *event).

    Returns:
        A number in the data's unit; n = m = 10,000 points of the plane take about a second.

    Raises:
        ValueError: a set is empty, or the two differ in width.
    """
    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)
