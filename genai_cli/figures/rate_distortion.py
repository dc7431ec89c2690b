"""Rate–distortion curves: reconstruction error against the bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from genai_cli.figures.axes import log_ticks
from genai_cli.figures.families import Look
from genai_cli.figures.labels import End, label_ends
from genai_cli.figures.style import GREY, chart, save, short, styled, text_inches

STYLES = ("-", (0, (4, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))  # of one family's curves
LETTER, WIDTH = 0.066, 6.9  # inches: of a letter of a name, of the panel
BENT = 0.05  # distance from the chord, of its height, below which a curve has no knee


class RateCurve(NamedTuple):
    """One family over a sweep of the bottleneck, seeds averaged."""

    label: str
    look: Look
    k: np.ndarray  # (N,) bottlenecks, rising
    mse: np.ndarray  # (N,)
    low: np.ndarray  # (N,), nan where there is no interval
    high: np.ndarray


@styled()
def rate_distortion(
    path: str | Path,
    curves: Sequence[RateCurve],
    floor: tuple[np.ndarray, np.ndarray] | None,
    *,
    psnr: bool = True,
    title: str,
    detail: str = "",
) -> None:
    """Draw the test MSE (log) of each curve against the bottleneck (log₂), with PCA as the floor.

    Args:
        path: of the PNG.
        curves: at least one.
        floor: (k, mse) of PCA with k components, or None.
        psnr: whether values lie in [0, 1], so that −10 log₁₀ MSE stands on the right axis.
        title, detail: heading.
    """
    fig = chart(8.4, 4.4, title, detail)
    ax = fig.subplots()
    ends, seen = [], {}
    for curve in curves:
        _, colour, marker = curve.look
        style = STYLES[seen.setdefault(curve.look, 0) % len(STYLES)]
        seen[curve.look] += 1
        ax.plot(curve.k, curve.mse, color=colour, marker=marker, markersize=5, linestyle=style,
                markeredgecolor="white", markeredgewidth=0.6, zorder=3)  # fmt: skip
        known = np.isfinite(curve.low) & np.isfinite(curve.high)
        ax.vlines(curve.k[known], curve.low[known], curve.high[known], color=colour, linewidth=1.4)
        bend = knee(curve.k, curve.mse)
        name = short(curve.label, 30)
        if bend is not None:
            at = curve.k[bend], curve.mse[bend]
            ax.plot(*at, "o", markersize=12, fillstyle="none", color=colour, markeredgewidth=1.3,
                    zorder=4)  # fmt: skip
            name += f", knee at {curve.k[bend]:g}"
        ends.append(End(float(curve.k[-1]), float(curve.mse[-1]), name, colour))
    if floor is not None:
        ax.plot(*floor, color=GREY, linestyle=(0, (5, 3)), marker=".", zorder=2)
        ends.append(End(float(floor[0][-1]), float(floor[1][-1]), "PCA, a linear code", GREY))
    share = min(0.5, 0.05 + max(len(end.text) for end in ends) * text_inches(LETTER) / WIDTH)
    _axes(ax, curves, floor, share)
    if psnr:
        right = ax.twinx()
        right.set(ylim=[-10 * np.log10(y) for y in ax.get_ylim()])
        right.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        right.spines["right"].set_visible(True)
        right.grid(False)
        right.set_ylabel("PSNR of that MSE (dB)")
    label_ends(fig, [(ax, ends)], 1 - share + 0.03)
    save(fig, path)


def knee(k: np.ndarray, mse: np.ndarray) -> int | None:
    """Return the index after which more numbers buy less.

    Log MSE lies there farthest below the chord of the curve over log k, both scaled to [0, 1]
    (Kneedle, Satopää et al. 2011, section III, without its smoothing).

    None for fewer than three points, a curve that does not fall, or one as good as straight (a
    power law has no knee).
    """
    k, mse = np.asarray(k, dtype=float), np.asarray(mse, dtype=float)
    if len(k) < 3 or not (np.isfinite(mse) & (mse > 0)).all() or mse[-1] >= mse[0]:
        return None
    x, y = np.log(k), np.log(mse)
    x, y = (x - x[0]) / (x[-1] - x[0]), (y - y[-1]) / (y[0] - y[-1])
    below = (1 - x) - y
    best = int(below.argmax())
    return best if below[best] > BENT and 0 < best < len(k) - 1 else None


def _axes(
    ax: Axes,
    curves: Sequence[RateCurve],
    floor: tuple[np.ndarray, np.ndarray] | None,
    share: float,
) -> None:
    """Log axes; at the right a share of the panel stays free for the names of the curves."""
    ks = np.unique(np.concatenate([c.k for c in curves] + ([floor[0]] if floor else [])))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    room = max(1.1, (ks[-1] / ks[0]) ** 0.04)
    span = ks[-1] / ks[0] * room
    ax.set_xlim(ks[0] / room, ks[-1] * span ** (share / (1 - share)))
    log_ticks(ax.xaxis, *ax.get_xlim(), np.array(_apart(ks)), digits=6)
    log_ticks(ax.yaxis, *ax.get_ylim(), fewest=3, bins=(6,))
    ax.set(xlabel="numbers in the code (log₂ axis)", ylabel="MSE on the test split (log axis)")


def _apart(ks: np.ndarray) -> list[float]:
    """Return the bottlenecks whose tick labels do not touch."""
    chosen = [float(ks[-1])]
    least = np.log2(ks[-1] / ks[0]) / 14
    for k in ks[-2::-1]:
        if np.log2(chosen[-1] / k) >= max(least, 0.05):
            chosen.append(float(k))
    return chosen[::-1]
