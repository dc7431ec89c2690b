"""Lines and axes that several figures share: epochs, losses, and numbers on a log axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from genai_cli.figures.style import EMPTY, INK, number

FEW = 30  # epochs: up to here every one gets a dot
HUGE = 1e200  # larger than this is drawn as a gap: axis margins around it overflow
STAR = {"marker": "*", "markersize": 11, "markeredgecolor": INK, "linestyle": "none", "zorder": 5}


def column(rows: Sequence[Mapping[str, float]], key: str) -> np.ndarray:
    """Return one column (epochs,) as floats; nan where it is missing, empty, infinite or absurd."""
    values = [row.get(key) for row in rows]
    numbers = np.array([np.nan if v is None or v == "" else float(v) for v in values], dtype=float)
    numbers[~(np.abs(numbers) < HUGE)] = np.nan
    return numbers


def draw_line(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    colour: str,
    *,
    width: float,
    dots: float = 2.4,
    **look: Any,
) -> None:
    """Draw one curve with dots of size ``dots`` where a line alone would not show.

    These are all epochs of a short run, and of a long one the points without a neighbour.
    """
    ax.plot(x, y, color=colour, linewidth=width, **look)
    finite = np.isfinite(y)
    beside = np.append(False, finite[:-1]) | np.append(finite[1:], False)
    dotted = finite if len(x) <= FEW else finite & ~beside
    if dots and dotted.any():
        ax.plot(x[dotted], y[dotted], "o", color=colour, markersize=dots,
                zorder=look.get("zorder"))  # fmt: skip


def epoch_axis(ax: Axes, epochs: np.ndarray) -> None:
    """Put whole epochs on the x axis, with room around a single one."""
    ax.set_xlabel("epoch")
    known = epochs[np.isfinite(epochs)]
    if not known.size:
        return
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    if np.ptp(known) < 6:
        ax.xaxis.set_major_locator(FixedLocator(np.unique(known)))
    pad = max(0.5, 0.02 * np.ptp(known))
    ax.set_xlim(known.min() - pad, known.max() + pad)


def log_axis(ax: Axes, losses: Sequence[np.ndarray]) -> float | None:
    """Set a log axis, or a symlog axis with a title that says so when a loss is at or below 0.

    Returns the half width of the linear band of a symlog axis when it is in view (it is then
    shaded).
    """
    ax.set_title("log axis")
    if not losses:
        return None
    values = np.concatenate([v[np.isfinite(v)] for v in losses])
    band = ticks = None
    if values.min() > 0:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
    else:
        ax.set_title("symlog axis: a loss ≤ 0 has no log")
        size = np.abs(values[values != 0])
        # Linear up to a typical small value, and never more than four decades below the largest.
        typical = np.quantile(size, 0.25) if size.size else 1.0
        band = 10.0 ** np.floor(np.log10(max(typical, size.max(initial=1e-300) * 1e-4)))
        ax.set_yscale("symlog", linthresh=band)
        low, high = ax.get_ylim()
        below, above = powers(band, -low, 1), powers(band, high, 1)
        ticks = np.concatenate([-below[::-1], [0.0], above])
        if low < band and high > -band:
            ax.axhspan(-band, band, color=EMPTY, zorder=0)
            ax.set_ylim(low, high)
        else:
            band = None
    log_ticks(ax.yaxis, low, high, ticks, fewest=3, bins=(5, 8, 12), digits=6)
    return band


def powers(low: float, high: float, fewest: int = 3) -> np.ndarray:
    """Return powers of ten in [low, high], every second or third of many; 1-2-5 steps of few."""
    if high < low:
        return np.array([])
    exponents = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    if len(exponents) >= fewest:
        return 10.0 ** exponents[:: -(-len(exponents) // 7)]
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high))
    steps = 10.0 ** np.arange(first, last + 1)[:, None] * np.array([1.0, 2.0, 5.0])
    return steps.ravel()


def log_ticks(
    axis: Axis,
    low: float,
    high: float,
    ticks: np.ndarray | None = None,
    *,
    fewest: int = 2,
    bins: Sequence[int] = (),
    digits: int = 3,
) -> None:
    """Label powers of ten of a log axis from ``low`` to ``high``, without other ticks.

    Args:
        axis: already logarithmic.
        low, high: its limits.
        ticks: where numbers may stand, if not at `powers`.
        fewest: where there would be fewer, round numbers stand there instead,
        bins: about so many of them; each is tried until there are enough.
        digits: of `number`.
    """
    at = powers(low, high) if ticks is None else ticks
    at = at[(at >= low) & (at <= high)]
    for most in bins:  # within one decade round numbers say more than powers
        if len(at) < fewest:
            at = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high)
            at = at[(at >= low) & (at <= high)]
    axis.set_major_locator(FixedLocator(at))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, digits)))
