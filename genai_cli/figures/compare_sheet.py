"""Contact sheets: the same test images, or the same noise, through one run after another."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genai_cli.figures.grids import aligned, cell_width, draw_image, row_height
from genai_cli.figures.scatter import PALE, frame, thin
from genai_cli.figures.style import (
    GREY,
    INK,
    TRAIN,
    add_axes,
    chart,
    margin_pixels,
    number,
    panels,
    save,
    sheet,
    short,
    styled,
    text_inches,
    text_pixels,
)

GAP, HEAD, APART = 5, 26, 16  # pixels: between cells, column captions, below the real images
LETTER = 12  # pixels a letter of a row's name takes at the house's 9 points
MOST_LETTERS = 24  # of a row's name in one line


class ImageRow(NamedTuple):
    """One run of a sheet."""

    name: str
    images: np.ndarray  # (F, C, H, W) in [0, 1], or points (N, 2)
    error: float | None = None  # MSE, at the row's end


@styled()
def image_rows(
    path: str | Path,
    rows: Sequence[ImageRow],
    *,
    real: int = 1,
    columns: Sequence[str] = (),
    title: str,
    detail: str = "",
    caption: str = "",
) -> None:
    """Draw rows of images with the run's name before and its error behind.

    The first ``real`` rows are data and stand apart. ``columns`` are names above.
    Values outside [0, 1] are clipped, nan is drawn in pink.
    """
    f = max(len(row.images) for row in rows)
    cell = cell_width([row.images.shape[-1] for row in rows], 84)
    heights = [row_height(row.images, False, cell, row.images) for row in rows]
    names = [_lines(row.name) for row in rows]
    longest = max(len(line) for lines in names for line in lines)
    left = margin_pixels() + text_pixels(LETTER * longest + 14)
    errors = _errors(rows)
    right = text_pixels(max(map(len, errors)) * LETTER)
    head = text_pixels(HEAD) if columns or right else 0
    tops, y = [], head
    for i, height in enumerate(heights):
        tops.append(y)
        y += height + (APART if i + 1 == real else GAP)
    width = max(left + f * (cell + GAP) + right + 2 * margin_pixels(), text_pixels(780))
    fig, top = sheet(width, y, title, detail, caption)
    if head:
        ax = add_axes(fig, left, top, 1, head)
        for j, text in enumerate(columns):
            at = j * (cell + GAP) + cell / 2
            name = short(text, max(6, cell // text_pixels(9)))
            ax.text(at, head / 2 - 2, name, ha="center", va="center", size=8, color=GREY)
        end = f * (cell + GAP) + text_pixels(8)
        ax.text(end, head / 2 - 2, "MSE" if right else "", va="center", size=8, color=GREY)
    for i, row in enumerate(rows):
        ax = add_axes(fig, left, top + tops[i], f * (cell + GAP), heights[i])
        for j, image in enumerate(row.images):
            draw_image(ax, image, j * (cell + GAP), cell, heights[i])
        look = {"va": "center", "clip_on": False}
        label = {"color": GREY, "style": "italic"} if i < real else {"color": INK}
        ax.text(-text_pixels(12), heights[i] / 2, "\n".join(names[i]), ha="right", **look, **label)
        ax.text(f * (cell + GAP) + text_pixels(8), heights[i] / 2, errors[i], color=INK, **look)
    save(fig, path)


@styled()
def point_panels(
    path: str | Path,
    real: np.ndarray,
    rows: Sequence[ImageRow],
    *,
    title: str,
    detail: str = "",
    across: int = 4,
) -> None:
    """Draw one panel a run, points (N, 2) over the data (M, 2), all in the frame of the data."""
    across = min(across, 1 + len(rows))
    down = -(-(1 + len(rows)) // across)
    side = 2.25 if across > 3 else 6.8 / across
    fig = chart(side * across, (side + 0.3) * down, title, detail)
    axes = panels(fig, 1 + len(rows), across, sharex=True, sharey=True)
    real = thin(np.asarray(real, dtype=float))[0]
    low, high = frame(real)
    for ax, row in zip(axes, [ImageRow("test split", real), *rows], strict=True):
        points = thin(np.asarray(row.images, dtype=float))[0]
        ax.scatter(*real.T, s=3, color=PALE, linewidths=0)
        if row.images is not real:
            ax.scatter(*points.T, s=3, color=TRAIN, alpha=0.6, linewidths=0)
        else:
            ax.scatter(*real.T, s=3, color=GREY, linewidths=0)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        end = f"\nMSE {number(row.error)}" if row.error is not None else ""
        ax.set_title("\n".join(textwrap.wrap(row.name, int(30 / text_inches()))) + end, size=8.5)
        ax.tick_params(labelsize=7)
    save(fig, path)


def _errors(rows: Sequence[ImageRow]) -> list[str]:
    """The rows' errors with the same number of decimals, "" where a row has none."""
    known = [row.error for row in rows if row.error is not None]
    texts = iter(aligned(np.array(known)) if known else ())
    return ["" if row.error is None else next(texts) for row in rows]


def _lines(name: str) -> list[str]:
    """A row's name in at most three lines; what is longer ends in an ellipsis."""
    lines = textwrap.wrap(name, MOST_LETTERS) or [""]
    return [*lines[:2], short(" ".join(lines[2:]), MOST_LETTERS)] if len(lines) > 3 else lines
