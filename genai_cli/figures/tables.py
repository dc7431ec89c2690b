"""Vectors with named features: reconstructions as heat maps, samples as histograms."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from genai_cli.figures.style import (
    DIVERGING,
    MISSING,
    SEQUENTIAL,
    TRAIN,
    chart,
    empty,
    legend,
    number,
    panel_title,
    panels,
    save,
    short,
    styled,
    text_inches,
)

ROWS = 16  # examples of a heat map
PANELS = 12  # features of the histograms
DATA = "#c9cdd3"


@styled()
def reconstructions_table(
    path: str | Path,
    original: np.ndarray,
    code: np.ndarray | None,
    reconstruction: np.ndarray,
    features: Sequence[str],
    *,
    title: str,
    row: str = "reconstruction",
) -> None:
    """Draw heat maps of originals, codes, reconstructions and their differences.

    Rows are examples (the first 16): original (N, D), code (N, K) or None, reconstruction (N,
    D). Original and reconstruction share one scale; code and difference have their own,
    symmetric about 0.
    """
    n = min(ROWS, len(original))
    original = np.asarray(original, dtype=float)[:n]
    reconstruction = np.asarray(reconstruction, dtype=float)[:n]
    error = reconstruction - original
    detail = "no examples"
    if n:
        detail = f"mean MSE {number(float(np.mean(error**2)))} over the {n} rows shown"
    maps = [("original", original), (row, reconstruction), ("difference", error)]
    if code is not None:
        numbers = np.asarray(code, dtype=float)[:n]
        numbers = numbers.reshape(n, int(np.prod(numbers.shape[1:])))
        maps.insert(1, (f"code ({numbers.shape[1]})", numbers))
    shared = _scale(np.concatenate([original, reconstruction]))

    d = original.shape[1]
    widths = [float(np.clip(0.13 * values.shape[1], 0.7, 2.6)) for _, values in maps]
    longest = max((len(short(f)) for f in features), default=1)
    height = text_inches(0.17 * max(n, 6) + 0.9 + 0.075 * longest)
    fig = chart(sum(widths) + 0.9 * len(maps) + 0.5, height, title, detail)
    axes = fig.subplots(1, len(maps), width_ratios=widths)
    for ax, width, (name, values) in zip(axes, widths, maps, strict=True):
        ax.set_title(name)
        if not n:
            empty(ax, "no examples")
            continue
        scale = shared if name in ("original", row) else _scale(values, signed=True)
        image = ax.imshow(values, aspect="auto", interpolation="none", **scale)
        ax.grid(False)
        k = values.shape[1]
        ticks = range(0, k, max(1, math.ceil(text_inches(0.085) * k / width)))
        if name.startswith("code"):
            ax.set_xticks(ticks, [str(i + 1) for i in ticks], rotation=90, size=7)
        else:
            ax.set_xticks(
                ticks, [short(features[i]) for i in ticks] if d else [], rotation=90, size=7
            )
        ax.set_yticks(range(n) if ax is axes[0] else [], range(1, n + 1) if ax is axes[0] else [])
        ax.tick_params(length=0)
        if name != "original":  # it has the reconstruction's
            bar = fig.colorbar(
                image, ax=ax, pad=0.02, fraction=0.14 / width, aspect=0.17 * max(n, 6) / 0.09
            )
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=7, length=0)
    axes[0].set_ylabel("example")
    save(fig, path)


def _scale(values: np.ndarray, signed: bool = False) -> dict[str, object]:
    """Colour map and limits: diverging about 0 where the values have both signs."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if signed or low < 0 < high:
        top = max(abs(low), abs(high)) or 1.0
        return {"cmap": _map(DIVERGING), "vmin": -top, "vmax": top}
    return {"cmap": _map(SEQUENTIAL), "vmin": low, "vmax": high if high > low else low + 1.0}


def _map(name: str) -> Colormap:
    return colormaps[name].with_extremes(bad=MISSING)


@styled()
def samples_table(
    path: str | Path,
    data: np.ndarray,
    samples: np.ndarray,
    features: Sequence[str],
    *,
    title: str,
) -> None:
    """Draw a small histogram for each of the first 12 features.

    Data (N, D) are filled, samples (M, D) a line, each with area 1; the title has the
    Kolmogorov–Smirnov distance between the two (0 to 1).
    """
    data, samples = np.asarray(data, dtype=float), np.asarray(samples, dtype=float)
    d = len(features)
    k = min(PANELS, d)
    detail = f"{len(data):,} data rows, {len(samples):,} samples"
    detail += f" · first {k} of {d} features" if d > k else ""
    detail += " · KS: largest gap between the two distributions, 0 to 1"
    columns = min(4, max(1, k))
    rows = -(-max(1, k) // columns)
    fig = chart(max(5.0, 2.4 * columns), 1.75 * rows + 0.35, title, detail)
    for i, ax in enumerate(panels(fig, k, columns)):
        _histograms(ax, data[:, i], samples[:, i], short(features[i], 20))
    handles = [Patch(color=DATA, label="data"), Line2D([], [], color=TRAIN, label="samples")]
    legend(fig, handles, ncols=2)
    save(fig, path)


def _histograms(ax: Axes, data: np.ndarray, samples: np.ndarray, name: str) -> None:
    data, samples = data[np.isfinite(data)], samples[np.isfinite(samples)]
    gap = _kolmogorov_smirnov(data, samples)
    ax.set_title(panel_title(name if gap is None else f"{name} · KS {gap:.2f}", 2.7))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)
    if not len(data) and not len(samples):
        empty(ax, "no finite value")
        return
    both = np.concatenate([data, samples])
    # The data fix the frame; stray samples pile up in its first and last bins.
    low, high = (data.min(), data.max()) if len(data) else (both.min(), both.max())
    reach = 0.25 * (high - low) or 0.5 * max(1.0, abs(high))
    low, high = max(both.min(), low - reach), min(both.max(), high + reach)
    if high <= low:
        low, high = low - reach, high + reach
    bins = np.linspace(low, high, 31)
    for values, look in (
        (data, {"histtype": "stepfilled", "color": DATA}),
        (samples, {"histtype": "step", "color": TRAIN, "linewidth": 1.4}),
    ):
        if len(values):
            ax.hist(np.clip(values, low, high), bins, density=True, **look)
    ax.locator_params(axis="x", nbins=4)


def _kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float | None:
    """Largest distance between the two empirical distribution functions."""
    if not len(a) or not len(b):
        return None
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(v), at, side="right") / len(v) for v in (a, b)]
    return float(np.abs(below[0] - below[1]).max())
