"""Quality of samples against sampling speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from genai_cli.figures.axes import log_ticks
from genai_cli.figures.families import Look
from genai_cli.figures.labels import label_points
from genai_cli.figures.style import (
    EMPTY,
    GREY,
    INK,
    chart,
    empty,
    legend,
    panel_title,
    panels,
    save,
    styled,
    text_inches,
)

MOST_NAMES = 14  # points of a panel; of more only the front is named
RATIO = 5.0  # largest over smallest from which an axis is logarithmic


class Point(NamedTuple):
    """One evaluation of one run."""

    label: str  # of the point: "VAE", "50 steps ddim"
    look: Look
    seconds: float  # for one sample
    quality: float  # lower is better
    low: float | None = None
    high: float | None = None
    run: str = ""  # points of one run are joined by a line


class FrontierPanel(NamedTuple):
    """Points that one ruler measured."""

    title: str
    points: Sequence[Point]
    floor: float | None = None  # quality of real data against real data
    quality: str = "Fréchet distance"


@styled()
def frontier(
    path: str | Path, drawn: Sequence[FrontierPanel], *, title: str, detail: str = ""
) -> None:
    """Draw a panel for each ruler: seconds for one sample (log) against quality, lower is better.

    Points that no other beats in both are ringed, and a staircase shows what they reach together,
    the Pareto front; several settings of one run share a thin line. The dashed line is
    what real data read against real data.
    """
    across = min(2, len(drawn))
    down = -(-len(drawn) // across)
    fig = chart(7.2 if across == 1 else 11.0, (3.3 + text_inches()) * down, title, detail)
    axes = panels(fig, len(drawn), across)
    for ax, panel in zip(axes, drawn, strict=True):
        _panel(ax, panel)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # labels are placed in pixels from here on
    for ax, panel in zip(axes, drawn, strict=True):
        points = _drawn(panel)
        named = points if len(points) <= MOST_NAMES else pareto(points)
        lines = [line.get_xydata().T for line in ax.lines if line.get_gid() == "way"]
        names = [(p.seconds, p.quality, p.label if p in named else "") for p in points]
        label_points(ax, names, lines)
    save(fig, path)


def pareto(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front, sorted by time.

    No other point is at least as fast and as good, and better in one of the two.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds, p.quality)):
        if not front or point.quality < front[-1].quality:
            front.append(point)
    return front


def _drawn(panel: FrontierPanel) -> list[Point]:
    known = [p for p in panel.points if np.isfinite([p.seconds, p.quality]).all()]
    return [p for p in known if p.seconds > 0]


def _panel(ax: Axes, panel: FrontierPanel) -> None:
    points = _drawn(panel)
    ax.set_title(panel.title)
    if not points:
        empty(ax, "no run with both a quality and a speed")
        return
    for run in dict.fromkeys(p.run for p in points if p.run):
        of_run = sorted((p for p in points if p.run == run), key=lambda p: p.seconds)
        if len(of_run) > 1:
            path = np.array([(p.seconds, p.quality) for p in of_run]).T
            ax.plot(*path, color=of_run[0].look.colour, linewidth=1.1, alpha=0.55, zorder=2,
                    gid="way")  # fmt: skip
    for p in points:
        _, colour, marker = p.look
        if p.low is not None and p.high is not None:
            ax.plot([p.seconds] * 2, [p.low, p.high], color=colour, linewidth=1.6, zorder=2.5,
                    gid="way")  # fmt: skip
        ax.plot(p.seconds, p.quality, marker=marker, color=colour, markersize=6.5,
                markeredgecolor="white", markeredgewidth=0.7, zorder=3)  # fmt: skip
    front = pareto(points)
    x, y = np.array([(p.seconds, p.quality) for p in front]).T
    corners = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]  # what is reached: right, then down
    ax.plot(*corners, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1.8, gid="way")
    ax.plot(x, y, "o", markersize=11, fillstyle="none", color=INK, markeredgewidth=0.9, zorder=4)
    _axes(ax, points, panel.floor)
    ax.set_xlabel(panel_title("seconds for one sample, log axis (faster is left)", 4.4))
    ax.set_ylabel(f"{panel.quality} (better is down)")
    _legend(ax, points, panel.floor)


def _axes(ax: Axes, points: list[Point], floor: float | None) -> None:
    """Limits with room for labels; a log axis for the quality where it spans much."""
    x = np.array([p.seconds for p in points])
    ends = [v for p in points for v in (p.low, p.quality, p.high) if v is not None]
    ends += [floor] if floor is not None else []
    low, high = min(ends), max(ends)
    ax.set_xscale("log")
    pad = max(2.2, (x.max() / x.min()) ** 0.16)
    ax.set_xlim(x.min() / pad, x.max() * pad)
    log_ticks(ax.xaxis, *ax.get_xlim())
    if low > 0 and high / low > RATIO:
        ax.set_yscale("log")
        ax.set_ylim(low / (high / low) ** 0.08, high * (high / low) ** 0.12)
        log_ticks(ax.yaxis, *ax.get_ylim())
    else:
        span = max(high - low, 1e-3 * abs(high), 1e-12)
        bottom = low - 0.1 * span
        ax.set_ylim(0.0 if low >= 0 and bottom < 0 else bottom, high + 0.14 * span)
    if floor is not None:
        ax.axhline(floor, color=GREY, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1.5)
        ax.axhspan(ax.get_ylim()[0], floor, color=EMPTY, zorder=0)


def _legend(ax: Axes, points: list[Point], floor: float | None) -> None:
    handles = []
    for name, colour, marker in dict.fromkeys(p.look for p in points):
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none",
                              markersize=6, label=name))  # fmt: skip
    front = "Pareto front" + (", named" if len(points) > MOST_NAMES else "")
    handles.append(Line2D([], [], color=INK, marker="o", fillstyle="none", markersize=9,
                          linestyle=(0, (1, 2)), linewidth=0.9, label=front))  # fmt: skip
    if floor is not None:
        handles.append(Line2D([], [], color=GREY, linestyle=(0, (5, 3)), linewidth=1.1,
                              label="real against real"))  # fmt: skip
    legend(ax, handles)
