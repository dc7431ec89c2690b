"""Loss curves of the cells of a sweep: small panels on one scale, what a key does seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from genai_cli.figures.curves import STAR, _powers
from genai_cli.figures.style import (
    GREY,
    TRAIN,
    VALIDATION,
    chart,
    empty,
    number,
    save,
    short,
    styled,
    wrap,
)

OTHERS = "#c9cdd3"  # curves of the other panels, behind
WIDTH, HEIGHT = 10.4, 1.75  # inches: of the figure, of a panel's axes
HEADING = 0.17  # of a line above a panel
STRETCHED = 5  # times as many epochs in the longest run as in the shortest: a log axis
ABOVE = 3  # times the first validation loss of most: where an axis ends above curves that fall,
FAR = 20  # and from where on a curve's end is out of sight; so is a 20th of the lowest
MARKED = 20  # epochs up to which every one gets a dot


class Curve(NamedTuple):
    """One run."""

    epochs: np.ndarray  # (E,)
    train: np.ndarray  # (E,), nan where there is none
    validation: np.ndarray  # (E,)
    label: str = ""  # what sets it apart in its panel
    colour: str = VALIDATION


class Panel(NamedTuple):
    """One value of the swept key."""

    title: str
    note: str  # numbers, below the title
    objective: str  # panels of one objective share their axes
    curves: Sequence[Curve]


@styled()
def cell_curves(path: str | Path, panels: Sequence[Panel], *, title: str, detail: str = "") -> None:
    """Validation solid, training dashed. A panel of one curve has those of all others behind it in
    grey; curves of several are coloured, with one legend for all panels.

    Args:
        path: of the PNG.
        panels: at least one; those of one objective in a row.
        title, detail: heading.
    """
    alone = all(len(panel.curves) == 1 for panel in panels)
    across = 4 if len(panels) in (4, 7, 8) or len(panels) > 9 else min(3, len(panels))
    letters = WIDTH / across
    titles = [wrap(panel.title, letters, 10) for panel in panels]
    notes = [wrap(panel.note, letters, 7.5) for panel in panels]
    down = -(-len(panels) // across)
    lines = max(len(t) + len(n) for t, n in zip(titles, notes, strict=True))
    fig = chart(WIDTH, down * (HEIGHT + 0.55 + HEADING * lines) + 0.3, title, detail)
    axes = fig.subplots(down, across, squeeze=False).ravel()
    scales = {o: _scale([p for p in panels if p.objective == o]) for o in _objectives(panels)}
    for ax, panel, name, note in zip(axes, panels, titles, notes, strict=False):
        drawn = [c for c in panel.curves if np.isfinite(c.validation).any()]
        if not drawn:
            empty(ax, "no finite loss")
        else:
            if alone:
                alike = [p for p in panels if p.objective == panel.objective]
                _behind(ax, [p for p in alike if p is not panel])
            for curve in drawn:
                _draw(ax, curve, alone)
            _axes(ax, *scales[panel.objective])
        ax.set_title("\n".join(name), pad=4 + 10.5 * len(note))
        ax.annotate("\n".join(note), (0, 1), (0, 4), xycoords="axes fraction", va="bottom",
                    textcoords="offset points", size=7.5, color=GREY)  # fmt: skip
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for i, ax in enumerate(axes[: len(panels)]):
        if i + across >= len(panels):
            ax.set_xlabel("epoch")
        if i % across == 0:
            ax.set_ylabel("loss")
    look = {"loc": "outside lower center", "ncols": 8}
    fig.legend(handles=_handles(panels, alone), **look)
    save(fig, path)


def _objectives(panels: Sequence[Panel]) -> list[str]:
    return list(dict.fromkeys(panel.objective for panel in panels))


def _behind(ax: Axes, others: Sequence[Panel]) -> None:
    for panel in others:
        for curve in panel.curves:
            ax.plot(curve.epochs, curve.validation, color=OTHERS, linewidth=0.9, zorder=1)


def _draw(ax: Axes, curve: Curve, alone: bool) -> None:
    hue = TRAIN if alone else curve.colour
    dots = "o" if len(curve.epochs) <= MARKED else ""
    ax.plot(curve.epochs, curve.train, color=hue, linestyle=(0, (3, 1.5)), zorder=3,
            linewidth=1.3 if alone else 0.9)  # fmt: skip
    ax.plot(curve.epochs, curve.validation, dots + "-", color=curve.colour, linewidth=1.5,
            markersize=2.4, zorder=4)  # fmt: skip
    if alone:
        best = int(np.nanargmin(curve.validation))
        star = STAR | {"markersize": 8, "markeredgewidth": 0.6}
        ax.plot(curve.epochs[best], curve.validation[best], color=curve.colour, **star)


def _handles(panels: Sequence[Panel], alone: bool) -> list[Line2D]:
    """What the lines are: the same in all panels."""
    dashed = {"linestyle": (0, (3, 1.5)), "label": "training"}
    if alone:
        found = [Line2D([], [], color=VALIDATION, label="validation"),
                 Line2D([], [], color=VALIDATION, label="its lowest", **STAR),
                 Line2D([], [], color=TRAIN, **dashed)]  # fmt: skip
        others = len(panels) > len(_objectives(panels))
        return found + [Line2D([], [], color=OTHERS, label="validation, other panels")] * others
    named = {c.label: c.colour for panel in panels for c in panel.curves}
    found = [Line2D([], [], color=hue, label=short(name, 24)) for name, hue in named.items()]
    return [*found, Line2D([], [], color=GREY, **dashed)]


def _scale(panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float], bool, bool]:
    """(limits of epochs, limits of losses, epochs on a log axis, losses on one) for an objective.

    A loss that explodes in one cell, or a training loss that vanishes, must not flatten the rest.
    """
    curves = [c for panel in panels for c in panel.curves]
    values = [v[np.isfinite(v)] for c in curves for v in (c.train, c.validation)]
    flat = np.concatenate([*values, np.zeros(0)])
    known = [c.validation[np.isfinite(c.validation)] for c in curves]
    first, last = (np.array([v[at] for v in known if v.size]) for at in (0, -1))
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0)
    if first.size and low > 0:
        usual = float(np.median(first))
        high = min(high, max(ABOVE * usual, *last[last < FAR * usual]))
        low = max(low, min(float(v.min()) for v in known if v.size) / FAR)
    log = low > 0 and high / low > 1.5
    room = (high / low) ** 0.06 if log else 0.06 * (high - low or 1.0)
    limits = (low / room, high * room) if log else (low - room, high + room)
    epochs = [float(c.epochs[-1]) for c in curves if len(c.epochs)] or [1.0]
    stretched = max(epochs) > STRETCHED * min(epochs)
    pad = 1.12 if stretched else 1 + 0.04 * max(epochs)
    ends = (1 / pad, max(epochs) * pad) if stretched else (2 - pad, max(epochs) + pad - 1)
    return ends, limits, stretched, log


def _axes(
    ax: Axes,
    ends: tuple[float, float],
    limits: tuple[float, float],
    stretched: bool,
    log: bool,
) -> None:
    if stretched:
        ax.set_xscale("log")
        ticks = _powers(*ends)
        ax.xaxis.set_major_locator(FixedLocator(ticks[(ticks >= ends[0]) & (ticks <= ends[1])]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    else:
        ax.xaxis.get_major_locator().set_params(nbins=6, steps=[1, 2, 5, 10], integer=True)
    if log:
        ax.set_yscale("log")
        ticks = _powers(*limits)
        ticks = ticks[(ticks >= limits[0]) & (ticks <= limits[1])]
        if len(ticks) < 2:
            ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(*limits)
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: number(v)))
    ax.set(xlim=ends, ylim=limits)
