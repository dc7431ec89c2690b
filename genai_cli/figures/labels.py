"""Direct labels: names of lines and points beside them, none over another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genai_cli.figures.style import GREY, INK

SIZE = 8  # points of a name
LINE = SIZE * 1.25 / 72  # inches that one takes


class End(NamedTuple):
    """The last point of a line, and what to write there."""

    x: float
    y: float
    text: str
    colour: str


def spread(targets: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Positions at least ``gap`` apart in the order of ``targets`` and as near to them as that
    allows, inside [low, high] where there is room for all."""
    wanted = np.asarray(targets, dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    # With the gaps taken off, "apart" is "not falling": an isotonic regression, by pooling.
    blocks: list[list[float]] = []  # [sum, count]
    for value in wanted[order] - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    fitted = np.concatenate([np.full(int(c), s / c) for s, c in blocks]) if blocks else wanted
    room = max(low, high - (steps[-1] if len(steps) else 0.0))
    out = np.empty_like(wanted)
    out[order] = np.clip(fitted, low, room) + steps
    return out


def label_ends(fig: Figure, panels: Sequence[tuple[Axes, Sequence[End]]], at: float) -> None:
    """Name lines at the right of their panels, a thin line from each name to its last point.

    Call it last: it makes room in the layout, fixes it, and measures in it. ``at`` is where names
    start, as a share of the panel's width (1: its right edge).
    """
    ghosts = []
    for ax, ends in panels:
        widest = max((end.text for end in ends), key=len, default="")
        ghosts.append(ax.text(at + 0.02, 0.5, widest, transform=ax.transAxes, size=SIZE, alpha=0))
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    for ghost, (ax, ends) in zip(ghosts, panels, strict=True):
        ghost.remove()
        _label_ends(ax, ends, at)


def _label_ends(ax: Axes, ends: Sequence[End], at: float) -> None:
    to_panel = ax.transData + ax.transAxes.inverted()
    heights = [float(np.clip(to_panel.transform((end.x, end.y))[1], 0, 1)) for end in ends]
    gap = LINE * ax.figure.dpi / max(ax.get_window_extent().height, 1.0)
    for end, row in zip(ends, spread(heights, gap, 0.0, 1.0), strict=True):
        away = {"arrowstyle": "-", "color": end.colour, "linewidth": 0.7, "alpha": 0.7}
        away |= {"shrinkA": 0, "shrinkB": 2}
        ax.annotate("", xy=(end.x, end.y), xytext=(at, row), textcoords="axes fraction",
                    arrowprops=away, annotation_clip=False)  # fmt: skip
        ax.plot([at], [row], "s", markersize=4, color=end.colour, transform=ax.transAxes,
                clip_on=False)  # fmt: skip
        ax.text(at + 0.02, row, end.text, transform=ax.transAxes, va="center", size=SIZE)


def label_points(ax: Axes, points: Sequence[tuple[float, float, str]], size: float = 7.5) -> None:
    """Name points (x, y, text) beside them where the name covers neither a point nor another
    name: right, left, above, below, then further away with a thin line.

    Call it last: the layout must be final, because it is measured in pixels.
    """
    fig = ax.figure
    renderer = fig.canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    dots = ax.transData.transform([(x, y) for x, y, _ in points]) if points else np.zeros((0, 2))
    unit = fig.dpi / 72
    half = 5 * unit
    taken = [(x - half, y - half, x + half, y + half) for x, y in dots]
    for i, (_, _, text) in enumerate(points):
        probe = ax.text(0, 0, text, size=size)
        box = probe.get_window_extent(renderer)
        probe.remove()
        w, h = box.width + 2 * unit, box.height + unit
        x, y = dots[i]
        best, least = None, np.inf
        for reach in (7, 14, 24, 36, 50, 70):
            d = reach * unit
            ways = [(d, -h / 2), (-d - w, -h / 2), (-w / 2, d), (-w / 2, -d - h),
                    (0.7 * d, 0.7 * d), (0.7 * d, -0.7 * d - h), (-0.7 * d - w, 0.7 * d),
                    (-0.7 * d - w, -0.7 * d - h)]  # fmt: skip
            for dx, dy in ways:
                spot = (x + dx, y + dy, x + dx + w, y + dy + h)
                cost = sum(_overlap(spot, other) for j, other in enumerate(taken) if j != i)
                inside = (max(spot[0], frame.x0), max(spot[1], frame.y0),
                          min(spot[2], frame.x1), min(spot[3], frame.y1))  # fmt: skip
                cost += 3 * (w * h - _area(inside)) + 0.3 * reach
                if cost < least:
                    best, least = (spot, reach), cost
            if least < 0.3 * reach + 1:
                break
        spot, reach = best
        taken.append(spot)
        middle = ((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2)
        away = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        note = ax.annotate(
            text, xy=(x, y), xycoords="figure pixels", xytext=middle, textcoords="figure pixels",
            ha="center", va="center", size=size, color=INK,
            arrowprops=away if reach > 14 else None,
        )  # fmt: skip
        note.set_in_layout(False)


def _area(box: tuple[float, float, float, float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
