"""Draw audit.png of a run: shares of the classes, errors by class, images of one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from genai_cli.audit.measure import Audit
from genai_cli.figures.grids import draw_image
from genai_cli.figures.style import (
    GREY,
    INK,
    TRAIN,
    VALIDATION,
    chart,
    empty,
    legend,
    number,
    panel_title,
    save,
    short,
    styled,
    text_inches,
)

MOST = 20  # classes drawn; of more those that are furthest off
POPULATION = "#b9bec7"
WIDTH = 8.4  # inches
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")


@styled()
def plot_run(path: str | Path, result: Audit, *, title: str) -> None:
    """Draw shares with intervals above, errors by class in the middle, a class's images below."""
    classes = _selected_classes(result)
    has_errors = result.outcomes is not None and result.outcomes.error is not None
    images = result.outcomes.images if result.outcomes is not None else ()
    heights = [1.9 + text_inches(0.8)] + [1.0 + text_inches(0.7)] * has_errors
    heights += [0.85 * max(1, len(images)) + text_inches(0.35)]
    fig = chart(WIDTH, sum(heights), f"{title}: classes", _detail(result))
    axes = iter(fig.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    ax = next(axes)
    _shares(ax, result, classes)
    if has_errors:
        _errors(next(axes), result, classes)
    _images(next(axes), result)
    save(fig, path)


def _detail(result: Audit) -> str:
    parts = []
    if result.samples is not None:
        s = result.samples
        labelling = f" {s.labelling}" if s.labelling else ""
        parts.append(f"{s.counts.sum():,} samples{labelling}, {s.unclear[0]:.0%} unclear")
    rare = result.training.rare
    if rare is not None:
        n, whole = int(result.training.split[rare]), int(result.training.split.sum())
        parts.append(f"{result.population.classes[rare]}: {n:,} of {whole:,} training examples")
    if result.population.classifier is not None:
        classifier = result.population.classifier.reference
        parts.append(
            f"read by the reference classifier {classifier.hash}, {classifier.accuracy:.1%} right"
        )
    return " · ".join(parts)


def _selected_classes(result: Audit) -> np.ndarray:
    """Indices of the classes drawn, in their order."""
    k = len(result.population.classes)
    if k <= MOST:
        return np.arange(k)
    off = np.abs(result.training.drawn - result.population.shares)
    if result.samples is not None:
        off = off + np.abs(result.samples.share.value - result.samples.expected.value)
    return np.sort(np.argsort(-off, kind="stable")[:MOST])


def _shares(ax: Axes, result: Audit, classes: np.ndarray) -> None:
    x, s = np.arange(len(classes)), result.samples
    series = [("population", result.population.shares, POPULATION)]
    series.append(("training", result.training.shares, TRAIN))
    if (result.training.drawn != result.training.shares).any():
        series.append(("training as drawn", result.training.drawn, "#56B4E9"))
    if s is not None:
        series.append(("samples", s.share.value, VALIDATION))
    width = 0.8 / len(series)
    for i, (name, values, colour) in enumerate(series):
        at = x + (i - (len(series) - 1) / 2) * width
        ax.bar(at, values[classes], 0.92 * width, color=colour, label=name)
        if name == "samples" and s is not None:
            value, low, high = (part[classes] for part in s.share)
            spread = np.maximum(0, [value - low, high - value])
            ax.errorbar(at, value, spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
            look = {"color": INK, "linewidth": 1.6, "label": "expected of the classifier"}
            expected = s.expected.value[classes]
            ax.hlines(expected, at - 0.5 * width, at + 0.5 * width, **look)
            for j, mark in enumerate(s.marks[classes]):
                if mark:
                    word = "▲" if mark > 0 else "▼"
                    ax.annotate(word, (at[j], max(high[j], expected[j])), (0, 4),
                                textcoords="offset points", ha="center", size=8)  # fmt: skip
    _names(ax, result, classes)
    ax.yaxis.set_major_formatter(PERCENT)
    ax.set_ylabel("share")
    ax.margins(y=0.14)
    ax.set_ylim(bottom=0)
    look = {"borderaxespad": 0.1, "columnspacing": 1.2, "handlelength": 1.2}
    legend(ax, ncols=5, loc="lower right", **look)
    if s is None:
        reason = result.reasons.get("samples", "")
        ax.text(0.005, 1.04, f"no samples: {reason}", transform=ax.transAxes, size=8, color=GREY)
    else:
        ax.text(0.005, 1.04, "▲ ▼ beyond chance", transform=ax.transAxes, size=8, color=GREY)


def _names(ax: Axes, result: Audit, classes: np.ndarray) -> None:
    names = [short(result.population.classes[i], 14) for i in classes]
    turned = max(map(len, names)) * len(names) > 90
    look = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    ax.set_xticks(range(len(names)), names, **look)
    ax.grid(axis="x", visible=False)
    rare = result.training.rare
    if rare is not None and rare in classes:
        tick = ax.get_xticklabels()[int(np.flatnonzero(classes == rare)[0])]
        tick.set_fontweight("bold")


def _errors(ax: Axes, result: Audit, classes: np.ndarray) -> None:
    assert result.outcomes is not None
    assert result.outcomes.error is not None
    value, low, high = (part[classes] for part in result.outcomes.error)
    x = np.arange(len(classes))
    ax.bar(x, np.nan_to_num(value), 0.6, color=VALIDATION)
    spread = np.nan_to_num(np.maximum(0, [value - low, high - value]))
    ax.errorbar(x, np.nan_to_num(value), spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    if np.isfinite(result.outcomes.error.value).any():
        mean = float(np.nanmean(result.outcomes.error.value))
        ax.axhline(mean, color=GREY, linewidth=1, linestyle="--")
        text = f"dashed: mean class {number(mean)}"
        ax.text(0.005, 1.02, text, transform=ax.transAxes, size=8, color=GREY)
    _names(ax, result, classes)
    ax.set_ylabel("error of\nreconstruction")


def _images(ax: Axes, result: Audit) -> None:
    """Rows of pictures of the focus class: input, target, what comes back; or samples of it."""
    name = short(result.population.classes[result.focus], 24)
    outcomes = result.outcomes
    ax.set_axis_off()
    if outcomes is not None and outcomes.images:
        rows = list(outcomes.images)
        words = ["input", "target", "output"] if len(rows) == 3 else ["original", "comes back"]
        under = [result.population.readings[j] for j in outcomes.labels]
        above = f"{name} of the test split, and what comes back, with the class read off it"
    elif result.drawn is not None and len(result.drawn):
        rows, words, under = [result.drawn], ["samples"], []
        above = f"samples read as {name}"
    else:
        why = result.reasons.get("reconstruction") or result.reasons.get("samples", "")
        none = result.samples is not None
        text = f"no sample is read as {name}" if none else f"no images: {why}" if why else ""
        empty(ax, text)
        return
    _strip(ax, rows, words, under, above, result.focus, result)


def _strip(
    ax: Axes,
    rows: list[np.ndarray],
    words: list[str],
    under: list[str],
    above: str,
    focus: int,
    result: Audit,
) -> None:
    n, gap = max(len(row) for row in rows), 0.06
    for r, row in enumerate(rows):
        for i, image in enumerate(row):
            inner = ax.inset_axes((i * (1 + gap), -r * (1 + gap) - 1, 1, 1), transform=ax.transData)
            inner.set_axis_off()
            inner.set(xlim=(0, 1), ylim=(1, 0))
            draw_image(inner, image, 0, 1, 1)
        ax.text(-0.12, -r * (1 + gap) - 0.5, words[r], ha="right", va="center", size=8.5)
    low = -len(rows) * (1 + gap)
    true_class = result.population.classes[focus]
    for i, text in enumerate(under):
        same = text == true_class
        look = {"color": GREY} if same else {"color": VALIDATION, "weight": "bold"}
        at = i * (1 + gap) + 0.5, low - 0.02
        size = 6.8 / text_inches()  # what fits below an image
        ax.text(*at, short(text, 11), ha="center", va="top", size=size, **look)
    lines = panel_title(above, WIDTH + 2.2 - text_inches(2.2))
    ax.text(0, 0.12, lines, size=9.5, va="bottom")
    top = 0.12 + text_inches(0.33) * (1 + lines.count("\n"))
    left = -text_inches(1.1)
    ax.set(xlim=(left, 10 * (1 + gap)), ylim=(low - 0.35, top), aspect="equal")
    ax.set_anchor("W")
    assert n <= 10
