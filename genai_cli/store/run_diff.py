"""Compare two runs that should be equal, number by number."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_cli.store import run_folder
from genai_cli.store.run_folder import MeasuredPart, measured_part

RESULT = "reproduction.json"
IDENTICAL, WITHIN, DIFFERS = "identical", "within tolerance", "differs"
TIMED = ("seconds",)  # columns that no two runs share


@dataclass
class Difference:
    """Holds one number that differs between two runs."""

    column: str
    epoch: int | None  # None: of summary.json
    one: float | None  # None: it is not there
    other: float | None
    share: float  # of the column's largest value, inf where one is missing

    def describe(self) -> str:
        """Describe the difference in one line."""
        where = "summary.json" if self.epoch is None else f"epoch {self.epoch}"
        pair = " and ".join("none" if v is None else f"{v:.9g}" for v in (self.one, self.other))
        size = "" if math.isinf(self.share) else f" ({self.share:.1e} of its range)"
        return f"{self.column} in {where}: {pair}{size}"


@dataclass
class RunDiff:
    """Holds the result of comparing two runs."""

    rows: int = 0  # of metrics.csv, in both
    numbers: int = 0  # of summary.json, in both
    weights: bool | None = None  # equal, byte for byte; None: not of the same step
    gaps: list[Difference] = field(default_factory=list)  # in the order of the epochs
    newer: list[str] = field(default_factory=list)  # what the first did not write yet
    unlike: str = ""  # why the numbers of summary.json are not compared

    def verdict(self, rtol: float) -> str:
        """Return identical, within tolerance or differs, at relative tolerance ``rtol``."""
        if not self.gaps:
            return IDENTICAL if self.weights is not False else WITHIN
        return WITHIN if all(gap.share <= rtol for gap in self.gaps) else DIFFERS

    @property
    def first(self) -> Difference | None:
        """Return the earliest difference, if any."""
        return self.gaps[0] if self.gaps else None

    @property
    def largest(self) -> Difference | None:
        """Return the largest difference, if any."""
        return max(self.gaps, key=lambda gap: gap.share, default=None)


def compare(
    one: Sequence[Mapping[str, float]],
    other: Sequence[Mapping[str, float]],
    summaries: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> RunDiff:
    """Compare the rows of two metrics.csv and, where both have them, the numbers of summary.json.

    A column is compared from the first row on in which ``one`` has it, and a number where ``one``
    has it: an older version wrote fewer, which is no difference of the runs.
    """
    diff = RunDiff()
    by_step = {row["step"]: row for row in other}
    columns = dict.fromkeys(k for row in [*one, *other] for k in row if k not in TIMED)
    largest = {
        c: max((abs(row[c]) for row in one if math.isfinite(row.get(c, math.nan))), default=0.0)
        for c in columns
    }
    begun: set[str] = set()  # columns
    for row in one:
        twin = by_step.pop(row["step"], {})
        begun |= row.keys()
        diff.newer += sorted(twin.keys() - begun - {*TIMED, *diff.newer})
        diff.rows += bool(twin)
        for column in filter(begun.__contains__, columns):
            gap = _gap(column, int(row["epoch"]), row.get(column), twin.get(column))
            if gap is not None:
                diff.gaps.append(_scaled(gap, largest[column]))
    for row in by_step.values():
        diff.gaps.append(Difference("the row", int(row["epoch"]), None, row["step"], math.inf))
    a, b = (_numbers(summary) for summary in summaries)
    parts = [measured_part(summary.get("metrics")) for summary in summaries]
    if a and b and parts[0] != parts[1]:
        diff.unlike = f"measured on {' and on '.join(map(_amount, parts))}: not compared"
    elif a and b:
        diff.numbers = len(a.keys() & b.keys())
        diff.newer += [name for name in b if name not in a]
        for name in a:
            gap = _gap(name, None, a.get(name), b.get(name))
            if gap is not None:
                diff.gaps.append(_scaled(gap, abs(a.get(name) or 0.0)))
    return diff


def same_weights(one: Path, other: Path, step: int) -> bool | None:
    """Tell whether two checkpoints of a step hold the same bytes; None where one is missing."""
    from genai_cli.store.run_folder import WEIGHTS

    files = [run / run_folder.CHECKPOINTS / f"step-{step:06d}" / WEIGHTS for run in (one, other)]
    try:
        sums = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    except OSError:
        return None
    return sums[0] == sums[1]


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    metrics = summary.get("metrics")
    entries = metrics.items() if isinstance(metrics, dict) else ()
    values = {k: e.get("value") for k, e in entries if isinstance(e, dict)}
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float)}


def _amount(part: MeasuredPart | None) -> str:
    """How much of the test split was measured, in words."""
    return "?" if part is None else f"{part.n:,} test examples with {part.draws} draws of the noise"


def _gap(
    column: str, epoch: int | None, one: float | None, other: float | None
) -> Difference | None:
    if one is None and other is None:
        return None
    if one is not None and other is not None:
        if one == other or (math.isnan(one) and math.isnan(other)):
            return None
        return Difference(column, epoch, one, other, abs(one - other))
    return Difference(column, epoch, one, other, math.inf)


def _scaled(gap: Difference, largest: float) -> Difference:
    """The gap as a share: values near zero are judged by the range of their column."""
    if math.isfinite(gap.share):
        gap.share = gap.share / largest if largest else math.inf
    elif math.isnan(gap.share):  # one of them is no number
        gap.share = math.inf
    return gap
