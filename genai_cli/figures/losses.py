"""Validation losses of several runs, overlaid where they are one objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from genai_cli.figures.curves import _logarithmic
from genai_cli.figures.families import colours
from genai_cli.figures.labels import LINE, End, label_ends
from genai_cli.figures.style import chart, empty, number, save, short, styled

MOST_PANELS = 6
MOST_LINES = 24  # in one panel
MARKED = 30  # epochs up to which every one gets a dot


class Line(NamedTuple):
    """The loss of one run."""

    label: str
    model: str
    epochs: np.ndarray  # (E,)
    seconds: np.ndarray  # (E,) of training so far
    values: np.ndarray  # (E,), nan where there is none


class Objective(NamedTuple):
    """Runs that minimise the same number."""

    title: str
    lines: Sequence[Line]


@styled()
def losses(
    path: str | Path, objectives: Sequence[Objective], *, title: str, detail: str = ""
) -> None:
    """A row of two panels for each objective: its loss by epochs and by seconds of training.

    Losses of different objectives have different units and zero points, so they never share an
    axis. At most six objectives of 24 lines each; what is left out is counted in the grey line.
    """
    shown = [o._replace(lines=o.lines[:MOST_LINES]) for o in objectives[:MOST_PANELS]]
    left_out = sum(len(o.lines) for o in objectives) - sum(len(o.lines) for o in shown)
    if left_out:
        detail += f"{' · ' if detail else ''}{left_out} more curves are not drawn"
    heights = [max(2.3, 0.75 + len(o.lines) * LINE) for o in shown] or [2.0]
    fig = chart(10.4, sum(heights), title, detail)
    axes = fig.subplots(len(heights), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (left, right), objective in zip(axes, shown, strict=False):
        drawn = [line for line in objective.lines if np.isfinite(line.values).any()]
        for ax, name in ((left, "epochs"), (right, "seconds")):
            _lines(ax, drawn, name)
        left.set(title=objective.title + _scale(left), xlabel="epoch", ylabel="validation loss")
        right.set(title="the same over time", xlabel="seconds of training")
        left.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    if not shown:
        for ax in axes.ravel():
            empty(ax, "no run has a validation loss")
    panels = []
    for (_, right), objective in zip(axes, shown, strict=False):
        drawn = [line for line in objective.lines if np.isfinite(line.values).any()]
        hues = colours([line.model for line in drawn])
        ends = [End(*_last(line), _name(line), h) for line, h in zip(drawn, hues, strict=True)]
        panels.append((right, ends))
    label_ends(fig, panels, 1.04)
    save(fig, path)


def _lines(ax: Axes, lines: Sequence[Line], name: str) -> None:
    for line, colour in zip(lines, colours([line.model for line in lines]), strict=True):
        x = getattr(line, name)
        few = len(x) <= MARKED
        ax.plot(x, line.values, color=colour, linewidth=1.4, marker="o" if few else "",
                markersize=2.4)  # fmt: skip
    if not lines:
        empty(ax, "no finite value")
        return
    _logarithmic(ax, lines)
    ax.set_title("")


def _scale(ax: Axes) -> str:
    return ", log axis" if ax.get_yscale() == "log" else ", symlog axis"


def _last(line: Line) -> tuple[float, float]:
    at = np.flatnonzero(np.isfinite(line.values) & np.isfinite(line.seconds))
    return (float(line.seconds[at[-1]]), float(line.values[at[-1]])) if len(at) else (0.0, 0.0)


def _name(line: Line) -> str:
    """The label with the lowest value reached."""
    finite = line.values[np.isfinite(line.values)]
    least = number(float(finite.min())) if len(finite) else "not finite"
    return f"{short(line.label, 34)}  {least}"
