"""Figures of one evaluation: the closest pairs of samples and training images, class shares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter

from genai_cli.figures.grids import aligned, cell_width, draw_image, row_height
from genai_cli.figures.style import (
    EMPTY,
    GREY,
    INK,
    TRAIN,
    VALIDATION,
    add_axes,
    chart,
    fitting,
    legend,
    margin_pixels,
    number,
    save,
    sheet,
    short,
    styled,
    text_inches,
    text_pixels,
)

PAIRS = 10  # drawn
LEFT, GAP, APART, HEAD = 230, 6, 34, 26  # pixels: names, cells, between the blocks, distances
ACROSS = 40  # classes beside each other; more become rows of bars
LEVEL = 0.05  # p below which samples are called closer


@styled()
def closest_pairs(
    path: str | Path,
    samples: np.ndarray,
    train: np.ndarray,
    distances: np.ndarray,
    control: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    *,
    p: float,
    title: str,
) -> None:
    """Draw the samples nearest to a training image above those images, the closest first.

    Args:
        path: of the PNG.
        samples: (P, C, H, W) in [0, 1]; the first ten are drawn.
        train: (P, C, H, W), of each the nearest training image.
        distances: (P,) between the two.
        control: the same three of held-out test images, what "as close as unseen data" looks like.
        p: of the test that samples lie closer to training images than held-out images do.
        title: bold line.
    """
    pairs = [("sample", samples, train, distances)]
    pairs += [("held-out\ntest image", *control)] if control is not None else []
    pairs = [(name, *(np.asarray(a)[:PAIRS] for a in rest)) for name, *rest in pairs]
    n = max(len(block[1]) for block in pairs)
    cell = cell_width([block[1].shape[-1] for block in pairs], 96)
    height = row_height(pairs[0][1], False, cell, pairs[0][1])
    left, head, between = text_pixels(LEFT), text_pixels(HEAD), text_pixels(APART)
    block_height = 2 * height + GAP + head
    total = len(pairs) * block_height + (len(pairs) - 1) * between
    width = max(left + n * (cell + GAP) + margin_pixels(), text_pixels(900))
    fig, top = sheet(width, total, title, in_words(p), _caption(control is not None))
    for i, (name, ours, theirs, apart) in enumerate(pairs):
        y = top + i * (block_height + between)
        rows = ((name, ours), ("nearest\ntraining image", theirs))
        for r, (word, images) in enumerate(rows):
            ax = add_axes(fig, left, y + r * (height + GAP), n * (cell + GAP), height)
            for j, image in enumerate(images):
                draw_image(ax, image, j * (cell + GAP), cell, height)
            ax.text(-text_pixels(14), height / 2, word,
                    ha="right", va="center", color=INK, clip_on=False)  # fmt: skip
        ax = add_axes(fig, left, y + 2 * height + GAP, 1, head)
        look = {"va": "center", "color": GREY}
        ax.text(-text_pixels(14), head / 2 + 2, "distance", ha="right", clip_on=False, **look)
        texts = aligned(np.asarray(apart, dtype=float))
        look |= {"ha": "center", "size": fitting(texts, cell + GAP, 8)}
        for j, text in enumerate(texts):
            ax.text(j * (cell + GAP) + cell / 2, head / 2 + 2, text, **look)
    save(fig, path)


def in_words(p: float) -> str:
    """Interpret a p-value of the test for copying in a sentence."""
    if not np.isfinite(p):
        return "the test for copying gave no number"
    value = "p < 0.001" if p < 1e-3 else f"p = {p:.2g}"
    if p < LEVEL:
        return (
            f"samples lie closer to training images than unseen images do ({value}): copies, or "
            "samples of little variety; the pairs below tell which"
        )
    return f"samples lie no closer to training images than unseen images do ({value})"


def _caption(control: bool) -> str:
    text = "Euclidean distance of pixel values; the closest pairs of all, the closest first."
    if control:
        text += " The lower rows: test images the model never saw, how close a new image comes."
    return text


@styled()
def class_shares(
    path: str | Path,
    names: Sequence[str],
    shares: np.ndarray,
    low: np.ndarray | None,
    high: np.ndarray | None,
    real: np.ndarray,
    *,
    title: str,
) -> None:
    """Draw each class's share of samples with 95 % intervals beside its share of real data.

    All (K,); low and high may be None. Few classes stand side by side with a bar each; many are
    sorted by how far the share is from the real one and drawn as points.
    """
    shares, real = np.asarray(shares, dtype=float), np.asarray(real, dtype=float)
    k = len(names)
    distance = 0.5 * float(np.abs(shares - real).sum())
    missing = [str(name) for name, share in zip(names, shares, strict=True) if share == 0]
    detail = (
        f"total variation distance {number(distance)} (0: the shares of real data, 1: disjoint)"
    )
    detail += f" · {k - len(missing)} of {k} classes present"
    if missing:
        named = ", ".join(short(name, 24) for name in missing[:6])
        detail += f", never: {named}{' …' if len(missing) > 6 else ''}"
    if k <= ACROSS:
        fig = chart(
            max(5.6, (0.52 if k <= 12 else 0.36) * k + 1.6), 2.2 + text_inches(), title, detail
        )
        ax = fig.subplots()
        at = np.arange(k)
        ax.bar(at - 0.19, real, 0.36, color="#b8bec7", label="real data")
        ax.bar(at + 0.19, shares, 0.36, color=TRAIN, label="samples")
        if low is not None and high is not None:
            ax.vlines(at + 0.19, low, high, color=INK, linewidth=1.1, label="95 % interval")
        longest = max(len(short(name, 14)) for name in names)
        turned = text_inches(longest * 0.075) > 0.5
        ax.set_xticks(at, [short(name, 14) for name in names], rotation=40 if turned else 0,
                      ha="right" if turned else "center", rotation_mode="anchor")  # fmt: skip
        ax.set_xlim(-0.6, k - 0.4)
        ax.grid(axis="x", visible=False)
        ax.set_ylabel("share")
        ax.yaxis.set_major_formatter(FuncFormatter(_percent))
        ax.set_ylim(0, None)
    else:
        fig = _dots(names, shares, low, high, real, title, detail)
        ax = fig.axes[-1]
    known = {}  # of all panels: one class in any of them may never be sampled
    for each in fig.axes:
        known |= dict(zip(*reversed(each.get_legend_handles_labels()), strict=True))
    look = {"labels": list(known), "ncols": 4, "borderpad": 0.1, "borderaxespad": 0.5}
    legend(ax, list(known.values()), loc="lower right", **look)
    save(fig, path)


def _dots(names, shares, low, high, real, title: str, detail: str):
    """Many classes: a row each, the most over-represented on top; in two columns."""
    order = np.argsort(shares - real, kind="stable")[::-1]
    rows = -(-len(order) // 2)
    fig = chart(9.2, text_inches(0.9 + 0.16 * rows), title, detail + " · sorted by the difference")
    axes = fig.subplots(1, 2, sharex=True)
    for c, ax in enumerate(axes):
        mine = order[c * rows : (c + 1) * rows]
        at = np.arange(len(mine))
        ax.hlines(at, real[mine], shares[mine], color="#cfd4da", linewidth=1.6, zorder=1)
        ax.plot(real[mine], at, "|", color=INK, markersize=8, label="real data")
        if low is not None and high is not None:
            ax.hlines(at, np.asarray(low)[mine], np.asarray(high)[mine], color=TRAIN,
                      linewidth=2.4, alpha=0.3, label="95 % interval")  # fmt: skip
        off = shares[mine] == 0
        ax.plot(shares[mine], at, "o", color=TRAIN, markersize=3.6, label="samples")
        if off.any():
            ax.plot(shares[mine][off], at[off], "o", color=VALIDATION, markersize=4.4,
                    label="never sampled")  # fmt: skip
        ax.set_yticks(at, [short(names[i], 18) for i in mine])
        ax.tick_params(axis="y", labelsize=7, length=0)
        ax.set(ylim=(rows - 0.4, -0.6), xlabel="share")
        ax.xaxis.set_major_formatter(FuncFormatter(_percent))
        ax.grid(axis="y", color=EMPTY)
    return fig


def _percent(value: float, _: int) -> str:
    return f"{100 * value:.3g} %"
