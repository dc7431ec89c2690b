"""Rank numbers of one ruler: the best, and those not distinguishable from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genai_cli.comparison.choose import TableCell
from genai_cli.evaluation.measures import BY_NAME
from genai_cli.evaluation.passport import differences

if TYPE_CHECKING:
    from genai_cli.comparison.rows import Row

EXACT = ("speed/calls", "cost/seconds")  # counted, or what was spent: without an interval


@dataclass
class Ranking:
    """Rows whose numbers of a measure share a ruler, best first."""

    name: str
    rows: list[Row]

    @property
    def best(self) -> Row:
        return self.rows[0]

    def cell(self, row: Row) -> TableCell:
        return row.cells[self.name]

    @property
    def tied(self) -> list[Row]:
        """Return the rows not distinguishable from the best."""
        top = self.cell(self.best)
        return [row for row in self.rows[1:] if alike(top, self.cell(row))]


def alike(a: TableCell, b: TableCell) -> bool:
    """Return True if two numbers are not distinguishable at 95 %.

    The interval of the difference is put together from the two by their squares on the facing
    sides (MOVER: Zou & Donner 2008, eq. 4), as if independent. Runs measured on the same
    test examples differ by less than that, so a difference told here is one. A number without an
    interval counts as exact: then only a difference within the other's interval, or none, is a tie.
    """
    assert a.value is not None
    assert b.value is not None
    low, high = (a, b) if a.value <= b.value else (b, a)
    up = low.high - low.value if low.high is not None else 0.0
    down = high.value - high.low if high.low is not None else 0.0
    return high.value - low.value <= math.hypot(max(up, 0.0), max(down, 0.0))


def rankings(rows: Sequence[Row], name: str) -> list[Ranking]:
    """Return the rows that have a number by ruler, the ruler of most rows first.

    What a classifier cost is not ranked with what a model of samples did: they are for other uses.
    """
    measure = BY_NAME[name]
    groups: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        cell = row.cells.get(name)
        if cell is not None and cell.value is not None:
            groups.setdefault((cell.key, row.run.predicts), []).append(row)
    sign = -1.0 if measure.better == "higher" else 1.0

    def sort_key(row: Row) -> tuple[float, bool]:  # of equal numbers the exact one before the bound
        cell = row.cells[name]
        assert cell.value is not None
        return sign * cell.value, cell.bound

    made = [Ranking(name, sorted(group, key=sort_key)) for group in groups.values()]
    return sorted(made, key=lambda r: -len(r.rows))


def mark_cells(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Set the marks of all cells; return notes on numbers that were not ranked together."""
    notes: dict[str, list[str]] = {}
    for name in names:
        if BY_NAME[name].better is None:
            continue
        made = rankings(rows, name)
        for ranking in made:
            if len(ranking.rows) < 2:
                continue
            ranking.cell(ranking.best).mark = "*"
            for row in ranking.tied:
                equal = ranking.cell(row).value == ranking.cell(ranking.best).value
                ranking.cell(row).mark = "*" if equal else "≈"
        if len({ranking.cell(ranking.best).key for ranking in made}) > 1:
            notes.setdefault(_different_rulers(made, rows), []).append(name)
        single = [
            ranking.best.label
            for ranking in made
            if len(ranking.rows) > 1 and ranking.cell(ranking.best).low is None
        ]
        if single and name not in EXACT:
            note = f"the best has no interval, taken as it stands ({', '.join(single)})"
            notes.setdefault(note, []).append(name)
    return [f"{join_names(names)}: {note}" for note, names in notes.items()]


def join_names(names: Sequence[str]) -> str:
    """Join names of measures, those of a group as ``samples/{frechet,kernel,recall}``."""
    if len(names) <= 3:
        return ", ".join(names)
    groups = dict.fromkeys(name.split("/")[0] for name in names)
    return ", ".join(
        f"{g}/{{{','.join(n.partition('/')[2] for n in names if n.startswith(g + '/'))}}}"
        if sum(n.startswith(g + "/") for n in names) > 1
        else next(n for n in names if n.startswith(g + "/"))
        for g in groups
    )


def _different_rulers(made: Sequence[Ranking], rows: Sequence[Row]) -> str:
    """``not ranked together: n 360 (a, b) against 1000 (c)``; rows in the order of the table, so
    that measures with the same reason share a note."""
    rulers = [ranking.cell(ranking.best).ruler for ranking in made]
    keys = dict.fromkeys(key for ruler in rulers[1:] for key in differences(rulers[0], ruler))
    fields = [key for key in keys if key != "metric"] or list(keys)
    texts = []
    for field in fields:
        values: dict[str, list[str]] = {}
        for ruler, ranking in zip(rulers, made, strict=True):
            names = [row.label for row in rows if row in ranking.rows]
            values.setdefault(_word(ruler.get(field)), []).extend(names)
        parts = [
            value if texts else f"{value} ({', '.join(names)})" for value, names in values.items()
        ]
        texts.append(f"{_word(field)} {' against '.join(parts)}")
    return f"not ranked together: {'; '.join(texts)}"


def _word(value: object) -> str:
    return "none" if value is None else str(value).replace("_", " ")
