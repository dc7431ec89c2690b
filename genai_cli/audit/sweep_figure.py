"""Draw audit.png of several runs: each run's share and reconstructions of one class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from genai_cli.audit.several import ClassRow
from genai_cli.figures.style import (
    CLASSES,
    GREY,
    INK,
    TRAIN,
    VALIDATION,
    chart,
    legend,
    panel_title,
    save,
    short,
    styled,
    text_inches,
)

NAMED = 3  # other classes with a colour of their own; the rest are one
UNCLEAR, REST = "#c3c8cf", "#eceef1"
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")


@styled()
def plot_sweep(
    path: str | Path, rows: Sequence[ClassRow], readings: Sequence[str], label: int, *, title: str
) -> None:
    """Draw a row for each run: left the class's share of samples, right its reconstructions.

    Args:
        path: of the PNG.
        rows: of the class ``label`` in each run.
        readings: names of the classes, and last of what is unclear.
        title: bold line.
    """
    detail = (
        f"{100 * rows[0].population:.3g} % of the population · samples with 95 % intervals · "
        "expected: what the classifier would read off images drawn as in training"
    )
    height = text_inches(0.3 * (len(rows) + 1) + 1.1)
    fig = chart(9.6, height, title, detail)
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15), sharey=True)
    _shares(left, rows)
    _outcomes(right, rows, readings, label)
    left.set_yticks(range(-1, len(rows)), ["test images", *(short(r.name, 40) for r in rows)])
    left.set_ylim(len(rows) - 0.4, -1.6)
    for ax in (left, right):
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_formatter(PERCENT)
    save(fig, path)


def _shares(ax: Axes, rows: Sequence[ClassRow]) -> None:
    top = rows[0].population
    ax.axvline(top, color=GREY, linewidth=1, linestyle="--", zorder=1)
    ax.annotate("population", (top, -1.5), (-3, 0), textcoords="offset points", ha="right",
                va="center", size=8, color=GREY)  # fmt: skip
    for i, row in enumerate(rows):
        ax.plot(row.drawn, i, "s", color=TRAIN, markersize=5, zorder=3,
                label=None if i else "training")  # fmt: skip
        if row.share is None:
            ax.text(0.99, i, f"n/a: {short(row.why_no_samples, 34)}", size=7.5, color=GREY,
                    va="center", ha="right", transform=ax.get_yaxis_transform())  # fmt: skip
            continue
        value, low, high = row.share
        top = max(top, high)
        spread = [[max(0.0, value - low)], [max(0.0, high - value)]]
        ax.errorbar(value, i, xerr=spread, fmt="o", color=VALIDATION, markersize=5, capsize=2,
                    elinewidth=1.2, zorder=4, label=None)  # fmt: skip
        assert row.expected is not None
        ax.plot(row.expected, i, "|", color=INK, markersize=11, markeredgewidth=1.6, zorder=2)
    ax.plot([], [], "o", color=VALIDATION, markersize=5, label="samples")
    ax.plot([], [], "|", color=INK, markersize=9, markeredgewidth=1.6, label="expected")
    ax.set_xlim(-0.03 * top, 1.15 * top)
    ax.set_xlabel("share of the class")
    look = {"columnspacing": 0.8, "handletextpad": 0.2, "fontsize": 7.5}
    legend(ax, loc="lower left", ncols=3, **look)


def _outcomes(ax: Axes, rows: Sequence[ClassRow], readings: Sequence[str], label: int) -> None:
    whole = [r.outcomes for r in rows if r.outcomes is not None]
    others = np.sum(whole, axis=0) if whole else np.zeros(len(readings))
    others[[label, -1]] = -1
    named = [int(j) for j in np.argsort(-others, kind="stable")[:NAMED] if others[j] > 0]
    colours = {j: CLASSES[i % len(CLASSES)] for i, j in enumerate([label, *named])}
    colours[len(readings) - 1] = UNCLEAR
    for at, shares in [(-1, rows[0].real), *((i, r.outcomes) for i, r in enumerate(rows))]:
        if shares is None:
            why = (rows[at].why_no_outcomes if at >= 0 else "no classifier").partition(":")[0]
            ax.text(0.01, at, f"n/a: {short(why, 56)}", size=7.5, color=GREY, va="center")
            continue
        left = 0.0
        for j, colour in colours.items():
            ax.barh(at, shares[j], 0.72, left=left, color=colour)
            if shares[j] > 0.06:
                white = j == label or colour == CLASSES[2]
                ax.text(left + shares[j] / 2, at, f"{100 * shares[j]:.0f}", size=7.5, ha="center",
                        va="center", color="white" if white else INK)  # fmt: skip
            left += shares[j]
        ax.barh(at, max(0.0, 1 - left), 0.72, left=left, color=REST)
    for j, colour in [*colours.items(), (-2, REST)]:
        name = "others" if j == -2 else short(readings[j], 12)
        ax.barh(0, 0, color=colour, label=name)
    ax.set_xlim(0, 1)
    words = f"what test images of {short(readings[label])} come back as"
    ax.set_xlabel(panel_title(words, 4.8))
    look = {"columnspacing": 0.7, "handlelength": 0.9, "handletextpad": 0.3, "fontsize": 7.5}
    legend(ax, loc="lower left", ncols=6, bbox_to_anchor=(-0.02, 1), **look)
