"""A table as a picture: rows and columns of a sweep, the test metric in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.patches import Rectangle

from genai_cli.figures.style import GREY, INK, chart, save, short, styled, text_inches, wrap

CELL, LEFT, TALL = 1.22, 1.75, 0.52  # inches: width of a cell, of the names, height of a row
NONE = "#f1f2f4"  # a cell that no run is in
MAP = "GnBu"


class TableEntry(NamedTuple):
    """The number, text and frame of one cell."""

    value: float
    text: str  # the value as it is written
    below: str = ""  # its interval
    best: bool = False  # of its row, or as good as it


class TableRow(NamedTuple):
    """One row; its metric is its own, and so is its scale of colours."""

    name: str
    metric: str  # with ↑ or ↓: which way is better
    entries: Sequence[TableEntry | None]
    rising: bool = True


@styled()
def cross_table(
    path: str | Path,
    columns: Sequence[str],
    lines: Sequence[TableRow],
    *,
    title: str,
    detail: str = "",
) -> None:
    """Draw the table; darker is better within a row.

    The best of a row, and those its interval does not distinguish from it, are bold and framed.

    Args:
        path: of the PNG.
        columns: their names.
        lines: each with an entry, or None, for every column.
        title, detail: heading.
    """
    heads = [wrap(name, CELL, 9.5) for name in columns]
    head = 0.12 + 0.16 * max(map(len, heads))
    width, height = LEFT + CELL * len(columns), head + TALL * len(lines)
    # its type fills it: larger type is a larger table
    fig = chart(text_inches(max(width, 4.5)), text_inches(height), title, detail)
    ax = fig.subplots()
    ax.set(xlim=(-LEFT, max(width, 4.5) - LEFT), ylim=(height - head, -head))
    ax.set_axis_off()
    for j, words in enumerate(heads):
        ax.text((j + 0.5) * CELL, -0.06, "\n".join(words), ha="center", va="bottom", size=8.5)
    for i, line in enumerate(lines):
        middle = (i + 0.5) * TALL
        ax.text(-0.12, middle - 0.09, short(line.name, 22), ha="right", va="center", size=9.5,
                weight="bold")  # fmt: skip
        ax.text(-0.12, middle + 0.12, line.metric, ha="right", va="center", size=8, color=GREY)
        for j, (entry, share) in enumerate(zip(line.entries, _shares(line), strict=True)):
            colour = NONE if entry is None else colormaps[MAP](0.08 + 0.62 * share)
            box = (j * CELL + 0.02, i * TALL + 0.02), CELL - 0.04, TALL - 0.04
            ax.add_patch(Rectangle(*box, facecolor=colour, edgecolor="none"))
            if entry is None:
                continue
            if entry.best:
                ax.add_patch(Rectangle(*box, fill=False, edgecolor=INK, linewidth=1.4, zorder=3))
            centre = (j + 0.5) * CELL
            weight = "bold" if entry.best else "normal"
            up = 0.09 if entry.below else 0.0
            ax.text(centre, middle - up, entry.text, ha="center", va="center", size=9.5,
                    weight=weight)  # fmt: skip
            ax.text(centre, middle + 0.12, entry.below, ha="center", va="center", size=7,
                    color=INK)  # fmt: skip
    save(fig, path)


def _shares(line: TableRow) -> list[float]:
    """Scale each entry to its quality: the worst of the row 0 and the best 1."""
    values = np.array([np.nan if e is None else e.value for e in line.entries], dtype=float)
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    shares = (values - low) / (high - low) if high > low else np.ones(len(values))
    shares = shares if line.rising else 1 - shares
    return [float(s) if np.isfinite(s) else 0.0 for s in shares]
