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
FLATTENED = 20  # times the last losses: values from which a linear axis would show no more
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
    falls: bool = True  # lower is better: not the loss of one of two players


@styled()
def losses(
    path: str | Path, objectives: Sequence[Objective], *, title: str, detail: str = ""
) -> None:
    """A row of two panels for each objective: its loss by seconds of training and by epochs.

    Losses of different objectives have different units and zero points, so they never share an
    axis. At most six objectives of 24 lines each; what is left out is counted in the grey line.
    """
    shown = [o._replace(lines=o.lines[:MOST_LINES]) for o in objectives[:MOST_PANELS]]
    left_out = sum(len(o.lines) for o in objectives) - sum(len(o.lines) for o in shown)
    if left_out:
        detail += f"{' · ' if detail else ''}{left_out} more curves are not drawn"
    heights = [max(2.0, 0.75 + len(o.lines) * LINE) for o in shown] or [2.0]
    fig = chart(10.4, sum(heights), title, detail)
    axes = fig.subplots(len(heights), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    panels = []
    for (left, right), objective in zip(axes, shown, strict=False):
        drawn = [line for line in objective.lines if np.isfinite(line.values).any()]
        hues = colours([line.model for line in drawn])
        for ax, name in ((left, "seconds"), (right, "epochs")):
            for line, hue in zip(drawn, hues, strict=True):
                dots = "o" if len(line.values) <= MARKED else ""
                ax.plot(getattr(line, name), line.values, dots + "-", color=hue, linewidth=1.4,
                        markersize=2.4)  # fmt: skip
        said = _axis(left, drawn)
        _axis(right, drawn)
        left.set(title=objective.title + said, xlabel="seconds of training")
        left.set_ylabel("validation loss")
        right.set(title="the same by epochs", xlabel="epoch")
        right.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
        panels.append(
            (right, [_end(line, h, objective.falls) for line, h in zip(drawn, hues, strict=True)])
        )
    if not shown:
        for ax in axes.ravel():
            empty(ax, "no run has a validation loss")
    label_ends(fig, panels, 1.04)
    save(fig, path)


def _axis(ax: Axes, lines: Sequence[Line]) -> str:
    """A log axis where all losses are above 0, else a linear one, symlog where the first epochs
    would flatten the rest; its name for the title."""
    if not lines:
        empty(ax, "no finite value")
        return ""
    values = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    last = max(abs(_last(line)[1]) for line in lines)
    if values.min() <= 0 and np.abs(values).max() < FLATTENED * last:
        return ""
    _logarithmic(ax, lines)
    return ", log axis" if ax.get_yscale() == "log" else ", symlog axis"


def _last(line: Line) -> tuple[float, float]:
    """(epoch, value) of the last finite loss."""
    at = np.flatnonzero(np.isfinite(line.values))[-1]
    return float(line.epochs[at]), float(line.values[at])


def _end(line: Line, colour: str, falls: bool) -> End:
    """The label, with the lowest value reached where lower is better."""
    least = f"  {number(float(np.nanmin(line.values)))}" if falls else ""
    return End(*_last(line), short(line.label, 34) + least, colour)
