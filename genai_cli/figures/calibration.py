"""The reliability diagram: confidence of a classifier against its accuracy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genai_cli.figures.style import (
    GREY,
    INK,
    TRAIN,
    VALIDATION,
    chart,
    legend,
    number,
    panel_title,
    save,
    styled,
    text_inches,
)

FEW = 10  # examples of a bin, below which it says little and is drawn so


@styled()
def reliability(
    path: str | Path,
    table: Mapping[str, Sequence],
    interval: tuple[np.ndarray, np.ndarray],
    *,
    title: str,
) -> None:
    """Draw accuracy against confidence in equal bins, and below the examples in each.

    Args:
        path: of the PNG.
        table: ``confidence``, ``accuracy`` (None where a bin is empty) and ``count`` of each bin
            (DeGroot & Fienberg 1983; Guo et al. 2017, figure 1).
        interval: (low, high) of the accuracy of each bin.
        title: above it.
    """
    count = np.asarray(table["count"], dtype=float)
    columns = (np.array(table[k], dtype=float) for k in ("confidence", "accuracy"))
    confidence, accuracy = columns  # nan where a bin is empty
    bins, total = len(count), count.sum()
    edges = np.linspace(0, 1, bins + 1)
    middle, width = (edges[:-1] + edges[1:]) / 2, 1 / bins
    detail = "no examples"
    if total:
        held = count > 0
        share = count[held] / total
        gap = accuracy[held] - confidence[held]
        lean = float(share @ gap)
        word = "over" if lean < 0 else "under"
        detail = f"calibration error {number(float(share @ np.abs(gap)))}"
        detail += f" · accuracy {100 * float(share @ accuracy[held]):.1f} %"
        detail += f" at a mean confidence of {100 * float(share @ confidence[held]):.1f} %"
        detail += f": {word}confident" if abs(lean) >= 0.005 else ""
        detail += f" · faint: fewer than {FEW} examples" if (held & (count < FEW)).any() else ""
    fig = chart(4.8, 4.0 + text_inches(1.2), title, detail)
    above, below = fig.subplots(2, 1, height_ratios=[3.4, 1], sharex=True)
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, dashes=(4, 3), zorder=1)
    few = count < FEW
    strength = np.where(few, 0.35, 1.0)
    for x, y, a in zip(middle, np.nan_to_num(accuracy), strength, strict=True):
        above.bar(x, y, 0.92 * width, color=TRAIN, alpha=0.35 * a, linewidth=0)
    low, high = interval
    for name, faint in (("", few), ("accuracy, 95 % interval", ~few)):
        visible = faint & (count > 0)
        alpha = 0.4 if not name else 1.0
        at, top = confidence[visible], accuracy[visible]
        above.vlines(at, low[visible], high[visible], color=TRAIN, linewidth=1, alpha=alpha)
        above.plot(at, top, "o", color=TRAIN, markersize=4.5, alpha=alpha, label=name or None)
        gap = {"label": "gap to confidence"} if name else {}
        look = {"color": VALIDATION, "linewidth": 2, "alpha": alpha}
        above.vlines(at, top, at, **look, **gap)
    above.set(ylabel="accuracy", xlim=(0, 1.005), ylim=(0, 1.02))
    legend(above, loc="lower left", ncols=2)
    below.bar(middle, count, 0.92 * width, color=GREY, linewidth=0)
    words = panel_title("confidence: probability of the class chosen", 4.8)
    below.set(xlabel=words, ylabel="examples")
    below.locator_params(axis="y", nbins=3, integer=True)
    most = count.max(initial=0)
    for x, c in zip(middle, count, strict=True):
        if c:
            text = f"{int(c):,}" if c < 10_000 else f"{c / 1000:.0f}k"
            below.text(x, c + 0.03 * most, text, size=6.5 / text_inches(), color=INK,
                       ha="center", va="bottom")  # fmt: skip
    below.set_ylim(0, 1.25 * most or 1)
    save(fig, path)
