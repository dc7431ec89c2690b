"""Direct labels: names of lines and points beside them, none over another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genai_cli.figures.style import GREY, INK

SIZE = 8  # points of a name
LINE = SIZE * 1.25 / 72  # inches that one takes


REACHES, FAR = (7, 12, 20, 30, 42, 56, 72), 20  # points away; from where on a line leads back
WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
Box = tuple[float, float, float, float]  # left, below, right, above, in pixels


class End(NamedTuple):
    """The last point of a line, and the text to write there."""

    x: float
    y: float
    text: str
    colour: str


def spread(targets: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Return positions at least ``gap`` apart, in the order of ``targets``.

    They are as near to the targets as that allows, inside [low, high] where there is room for
    all.
    """
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
        ghosts.append(
            ax.text(at + _gap(ax), 0.5, widest, transform=ax.transAxes, size=SIZE, alpha=0)
        )
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
        ax.text(at + _gap(ax), row, end.text, transform=ax.transAxes, va="center", size=SIZE)


def _gap(ax: Axes) -> float:
    """From a line's mark to its name, as a share of the panel's width."""
    return max(0.02, 3.4 / 72 * ax.figure.dpi / max(ax.get_window_extent().width, 1.0))


def label_points(
    ax: Axes,
    points: Sequence[tuple[float, float, str]],
    lines: Sequence[np.ndarray] = (),
    size: float = 7.5,
) -> None:
    """Name points (x, y, text; "" for none) beside them, where the name covers neither a point nor
    another name, and lines (2, N) as little as possible: right, left, above, below, then further
    away. A thin line leads to the point from a name far from it, or near another point.

    Call it last: the layout must be final, because it is measured in pixels.
    """
    renderer = ax.figure.canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    pixel = ax.figure.dpi / 72
    dots = [tuple(ax.transData.transform((x, y))) for x, y, _ in points]
    taken = [_around(dot, 5.5 * pixel) for dot in dots]
    named: list[Box] = []
    inked = [_around(spot, 1.5 * pixel) for line in lines for spot in _along(ax, line, 3 * pixel)]
    for dot, (_, _, text) in zip(dots, points, strict=True):
        if not text:
            continue
        probe = ax.figure.text(0, 0, text, size=size)
        box = probe.get_window_extent(renderer)
        probe.remove()
        w, h = box.width + 2 * pixel, box.height + pixel
        spots = []
        for reach in REACHES:
            for dx, dy in WAYS:
                left = dot[0] + dx * reach * pixel - w * (1 - np.sign(dx)) / 2
                below = dot[1] + dy * reach * pixel - h * (1 - np.sign(dy)) / 2
                spot = (left, below, left + w, below + h)
                hidden = sum(_overlap(spot, other) for other in taken)
                crossed = sum(_overlap(spot, other) for other in inked)
                inside = _overlap(spot, (frame.x0, frame.y0, frame.x1, frame.y1))
                cost = 4 * hidden + 4 * (w * h - inside) + crossed + pixel * reach
                if reach > FAR:  # its line to the point should cross no name either
                    middle = (left + w / 2, below + h / 2)
                    way = [np.add(dot, np.subtract(middle, dot) * t) for t in np.linspace(0, 1, 20)]
                    near = [_around(step, pixel) for step in way]
                    cost += 9 * sum(_overlap(step, other) for step in near for other in named)
                spots.append((cost, len(spots), reach, spot))
        _, _, reach, spot = min(spots)
        taken.append(spot)
        named.append(spot)
        middle = ((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2)
        away = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        note = ax.annotate(
            text, xy=np.divide(dot, pixel), xycoords="figure points",
            xytext=np.divide(middle, pixel), textcoords="figure points",
            ha="center", va="center", size=size, color=INK,
            arrowprops=away if reach > FAR or _anothers(spot, dot, dots) else None,
        )  # fmt: skip
        note.set_in_layout(False)


def _anothers(box: Box, target: tuple[float, float], dots: Sequence[tuple[float, float]]) -> bool:
    """Return True if a name stands about as near to another point as to its own, or nearer."""

    def away(dot: tuple[float, float]) -> float:
        beside = max(box[0] - dot[0], 0.0, dot[0] - box[2])
        return float(np.hypot(beside, max(box[1] - dot[1], 0.0, dot[1] - box[3])))

    return any(dot != target and away(dot) < 1.2 * away(target) for dot in dots)


def _around(spot: tuple[float, float], half: float) -> Box:
    return spot[0] - half, spot[1] - half, spot[0] + half, spot[1] + half


def _along(ax: Axes, line: np.ndarray, step: float) -> list[tuple[float, float]]:
    """Pixels along a polyline (2, N) of the data, a ``step`` apart."""
    ends = ax.transData.transform(np.asarray(line, dtype=float).T)
    spots = []
    for a, b in pairwise(ends):
        n = max(2, int(np.hypot(*(b - a)) / step))
        spots += [tuple(a + (b - a) * t) for t in np.linspace(0, 1, min(n, 500))]
    return spots


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
