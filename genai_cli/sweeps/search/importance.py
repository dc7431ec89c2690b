"""Measure the importance of each key of a search by the ranking of its trials.

The trials are put into groups by a key's value, and ranked by their cost over all groups; the share
is Kruskal and Wallis's η² = (H - k + 1) / (n - k) of n trials in k groups (Tomczak & Tomczak 2014,
"The need to report effect size estimates revisited", table 1). Ranks, not values: one trial that
diverged would else be all the variance there is. A trial that failed counts as the worst.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from genai_cli.store.trials import FAILED, Trial

MIN_TRIALS = 8  # trials; of fewer nothing can be said
GROUPS = 4  # of a key with more values, of as many trials each
SIGNIFICANCE = 0.05  # as often no key at all would look as good as one that counts


class KeyImportance(NamedTuple):
    """The share of the ranking that one key explains."""

    key: str
    share: float  # of the variance of the ranks, in [0, 1]
    counts: bool  # it is more than chance would show

    @property
    def summary(self) -> str:
        """Return a phrase like ``explains 71 % of the ranking``."""
        share = f"{100 * self.share:.0f} %"
        return f"explains {share} of the ranking" if self.counts else "not told apart from chance"


def measure_importance(trials: Sequence[Trial], keys: Sequence[str]) -> list[KeyImportance]:
    """Return the importance of each varied key, largest first; [] for too few trials.

    Args:
        trials: those with a cost and those that failed count.
        keys: that were varied.
    """
    from scipy.stats import kruskal

    known = [t for t in trials if t.cost is not None or t.state == FAILED]
    known = [t for t in known if all(key in t.values for key in keys)]
    costs = [math.inf if t.cost is None else t.cost for t in known]
    if len(known) < MIN_TRIALS or len(set(costs)) < 2:
        return []
    finite = [cost for cost in costs if math.isfinite(cost)]
    costs = [min(cost, max(finite, default=0.0) + 1.0) for cost in costs]
    shares = []
    for key in keys:
        groups = group_values([t.values[key] for t in known])
        k, n = max(groups) + 1, len(known)
        if not 1 < k < n:
            continue
        members = [[c for c, g in zip(costs, groups, strict=True) if g == i] for i in range(k)]
        h, p = kruskal(*members)
        share = min(1.0, max(0.0, float(h - k + 1) / (n - k)))
        shares.append(KeyImportance(key, share, bool(p < SIGNIFICANCE / len(keys))))
    return sorted(shares, key=lambda one: (not one.counts, -one.share))


def group_values(texts: Sequence[str]) -> list[int]:
    """Return the group of each value: of words and of a few numbers each its own, of more one of
    `GROUPS` neighbouring ones; equal values are never apart."""
    numbers = parse_numbers(texts)
    values: list[str] | list[float] = list(texts) if numbers is None else numbers
    distinct = sorted(set(values))  # type: ignore[type-var]
    if numbers is None or len(distinct) <= GROUPS:
        return [distinct.index(value) for value in values]
    ordered = sorted(numbers)
    bounds = {ordered[len(ordered) * i // GROUPS] for i in range(1, GROUPS)}
    bounds -= {ordered[0]}
    return [sum(value >= bound for bound in bounds) for value in numbers]


def parse_numbers(texts: Sequence[str]) -> list[float] | None:
    """Return the texts as numbers if all are finite, else None."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
