"""Predictions of a supervised model against the truth: classes, and continuous targets."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from genai_cli.figures.scatter import thin
from genai_cli.figures.style import (
    EMPTY,
    GREY,
    INK,
    RULE,
    TRAIN,
    chart,
    empty,
    number,
    panels,
    save,
    short,
    styled,
    text_inches,
)

MOST_COUNTED = 15  # classes: beyond this a count no longer fits its cell
MOST_TARGETS = 6


@styled()
def confusion(
    path: str | Path,
    true: np.ndarray,
    predicted: np.ndarray,
    classes: Sequence[str],
    *,
    title: str,
) -> None:
    """Draw a confusion matrix: true (N,) down, predicted (N,) across, indices into `classes`.
    Colour is the share of the true class, numbers are counts; the bars are the recall."""
    k = len(classes)
    true, predicted = np.asarray(true, dtype=int), np.asarray(predicted, dtype=int)
    for name, values in (("true", true), ("predicted", predicted)):
        if len(values) and not (values.min() >= 0 and values.max() < k):
            raise ValueError(f"{name}: class numbers must be in 0…{k - 1}")
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (true, predicted), 1)
    examples = counts.sum(axis=1)
    share = counts / np.maximum(1, examples)[:, None]

    detail = "no examples"
    if len(true):
        right = int(np.trace(counts))
        detail = f"accuracy {100 * right / len(true):.1f} % ({right:,} of {len(true):,} right)"
    side = float(np.clip(0.42 * k, 2.4, 7.0))
    names = [short(c, 14) for c in classes]
    longest = max((len(name) for name in names), default=1)
    row = side * 72 / max(1, k) / text_inches()  # points
    letters = float(np.clip(0.6 * row, 5.5, 8))
    named = range(0, k, math.ceil(1.1 * letters / row))
    fig = chart(side + 1.6 + 0.07 * longest, side + 0.6 + 0.05 * longest, title, detail)
    ax, bars = fig.subplots(1, 2, width_ratios=[side, 0.7], sharey=True)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="none")
    ax.grid(False)
    if k <= MOST_COUNTED:
        size = float(np.clip(min(side * 72 / k / 3.6, row / 2.2), 5.5, 9))
        for (i, j), count in np.ndenumerate(counts):
            colour = "white" if share[i, j] > 0.5 else INK if count else "#c4c9d0"
            ax.text(j, i, f"{count}", ha="center", va="center", size=size, color=colour)
    upright = 0.65 * letters * longest > row
    ax.set_xticks(named, names[:: named.step], rotation=90 if upright else 0, size=letters)
    ax.set_yticks(named, names[:: named.step], size=letters)
    ax.tick_params(length=0)
    ax.set(xlabel="predicted", ylabel="true")
    _recall(bars, np.where(examples > 0, np.diag(share), np.nan), k)
    save(fig, path)


def _recall(ax: Axes, recall: np.ndarray, k: int) -> None:
    """One bar per row of the matrix; a class with no example has none."""
    ax.barh(range(k), np.ones(k), height=0.7, color=EMPTY)
    ax.barh(range(k), np.nan_to_num(recall), height=0.7, color=TRAIN)
    for i, value in enumerate(recall if k <= MOST_COUNTED else ()):
        text = f"{100 * value:.0f} %" if np.isfinite(value) else "–"
        ax.text(1.06, i, text, va="center", size=8, color=INK if np.isfinite(value) else GREY)
    ax.set_title("recall")
    ax.set(xlim=(0, 1), ylim=(k - 0.5, -0.5), xticks=[0, 1], xticklabels=["0", "1"])
    ax.tick_params(axis="y", length=0, labelleft=False)
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)


@styled()
def predicted_vs_true(
    path: str | Path,
    true: np.ndarray,
    predicted: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
) -> None:
    """Draw predicted against true, one panel per target with the identity line, R² and RMSE.
    true, predicted (N, K) in the targets' own units; names: K target names."""
    total = len(true)
    true, predicted = thin(
        np.asarray(true, dtype=float).reshape(total, len(names)),
        np.asarray(predicted, dtype=float).reshape(total, len(names)),
    )
    k = min(MOST_TARGETS, len(names))
    columns = min(3, max(1, k))
    rows = -(-max(1, k) // columns)
    detail = f"{total:,} example{'s' if total != 1 else ''}" if total else "no examples"
    if total > len(true):
        detail = f"{len(true):,} of {detail}"
    if len(names) > k:
        detail += f" · first {k} of {len(names)} targets"
    size = 4.4 if columns == 1 else 3.1
    fig = chart(max(4.8, size * columns), size * rows, title, detail)
    for i, ax in enumerate(panels(fig, k, columns)):
        _against(ax, true[:, i], predicted[:, i], short(names[i], 24))
    save(fig, path)


def _against(ax: Axes, true: np.ndarray, predicted: np.ndarray, name: str) -> None:
    finite = np.isfinite(true) & np.isfinite(predicted)
    missing = int((~finite).sum())
    true, predicted = true[finite], predicted[finite]
    ax.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    if not len(true):
        ax.set_title(name)
        empty(ax, "no finite prediction" if missing else "no examples")
        return
    error = float(np.mean((true - predicted) ** 2))
    spread = float(np.var(true))
    r2 = f"R² {1 - error / spread:.2f}".replace("-", "−") if spread > 0 else "R² –"
    note = f" · {missing} not finite" if missing else ""
    ax.set_title(f"{r2} · RMSE {number(error**0.5)}{note}")
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    pad = 0.05 * (high - low) or 0.5 * max(1.0, abs(high))
    limits = (low - pad, high + pad)
    ax.plot(limits, limits, color=GREY, linewidth=1, zorder=1, dashes=(4, 3))
    size = float(np.clip(9000 / len(true), 6, 30))
    look = {"color": TRAIN, "alpha": 0.6 if len(true) < 1000 else 0.35, "linewidths": 0}
    ax.scatter(true, predicted, s=size, **look)
    ax.set(xlim=limits, ylim=limits)
    ax.set_box_aspect(1)
    ax.locator_params(nbins=5)
    ax.grid(color=RULE)
