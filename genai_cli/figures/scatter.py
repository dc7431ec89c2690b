"""Points in the plane: coloured by label, beside their reconstruction, beside samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from genai_cli.figures.style import (
    CLASSES,
    DPI,
    GREY,
    SEQUENTIAL,
    TRAIN,
    chart,
    empty,
    legend,
    number,
    panels,
    save,
    short,
    styled,
)

MOST_POINTS = 3000  # more only blacken the panel and the file
MOST_CLASSES = 20
MOST_LINES = 12  # in a legend
PALE = "#d3d7dd"  # data behind what a model makes of it
MARKERS = ("o", "^")  # classes 11 to 20 repeat the ten colours with triangles


@styled()
def scatter_reconstructions(
    path: str | Path,
    original: np.ndarray,
    reconstruction: np.ndarray,
    labels: np.ndarray | None,
    *,
    title: str,
    classes: Sequence[str] = (),
    name: str = "reconstruction",
) -> None:
    """Draw the data left and their reconstruction right, with the same colours and limits.

    original, reconstruction (N, 2); labels (N,) int or float, or None. Thin lines on the right
    lead back to the originals.
    """
    original, reconstruction, labels = thin(original, reconstruction, labels)
    error = np.mean((original - reconstruction) ** 2) if len(original) else np.nan
    detail = f"mean MSE {number(float(error))} over {len(original):,} points"
    fig = chart(8.6, 4.0, title, detail if len(original) else "no examples")
    left, right = fig.subplots(1, 2, sharex=True, sharey=True)
    moved = np.stack([original, reconstruction], axis=1)  # (N, 2 ends, 2 coordinates)
    moved = moved[np.isfinite(moved).all(axis=(1, 2))]
    right.add_collection(LineCollection(list(moved), color=GREY, linewidth=0.5, alpha=0.35))
    by_label(fig, left, original, labels, classes, key=False)
    by_label(fig, right, reconstruction, labels, classes)
    _limits((left, right), original, reconstruction)
    left.set(title="original", xlabel="x₁", ylabel="x₂")
    right.set(title=f"{name}, with a line to its original", xlabel="x₁")
    save(fig, path)


@styled()
def scatter_samples(path: str | Path, data: np.ndarray, samples: np.ndarray, *, title: str) -> None:
    """Draw the data (N, 2) left and samples (M, 2) right, with the same limits.

    Samples far from the data do not shrink the data: the frame reaches a quarter of the data's
    range beyond them, the rest is counted.
    """
    data, samples = thin(data)[0], thin(samples)[0]
    fig = chart(8.0, 4.0, title, f"{len(data):,} data points, {len(samples):,} samples")
    left, right = fig.subplots(1, 2, sharex=True, sharey=True)
    by_label(fig, left, data, None, (), colour=GREY)
    by_label(fig, right, samples, None, (), colour=TRAIN)
    outside = _limits((left, right), data, samples)
    left.set(title="data", xlabel="x₁", ylabel="x₂")
    right.set(title=f"samples ({outside:,} outside the frame)" if outside else "samples")
    right.set_xlabel("x₁")
    save(fig, path)


def frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high), (2,) each: a square around the finite points (N, 2), with a margin."""
    points = np.asarray(points, dtype=float)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return np.full(2, -1.0), np.full(2, 1.0)
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.58 * max(float((high - low).max()), 1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


@styled()
def scatter_frames(
    path: str | Path,
    data: np.ndarray,
    frames: np.ndarray,
    columns: Sequence[str],
    *,
    title: str,
    detail: str = "",
) -> None:
    """Draw frames (F, N, 2) over the data (M, 2), a panel each, five in a row."""
    across = min(5, len(frames))
    down = -(-len(frames) // across)
    fig = chart(2.0 * across, 2.15 * down, title, detail)
    axes = panels(fig, len(frames), across)
    for ax, points, name in zip(axes, frames, columns, strict=True):
        _over_data(ax, data, points)
        ax.set_title(name)
    save(fig, path)


def scatter_pictures(data: np.ndarray, frames: np.ndarray) -> list[Image.Image]:
    """Render the same points as images of one size, for a GIF."""
    return [_scatter_picture(data, points) for points in frames]


@styled()
def _scatter_picture(data: np.ndarray, points: np.ndarray) -> Image.Image:
    fig = Figure(figsize=(2.6, 2.6), dpi=DPI)
    canvas = FigureCanvasAgg(fig)
    _over_data(fig.add_axes((0.02, 0.02, 0.96, 0.96)), data, points)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


@styled()
def scatter_ways(
    path: str | Path,
    data: np.ndarray,
    ways: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    detail: str = "",
    lines_of: Sequence[str] = (),
) -> None:
    """Draw lines through the plane over the data (M, 2), a panel for each group.

    ways (groups, R, F, 2), with a dot at each of the F points and a ring at the first.
    lines_of: names of the R lines, for a legend.
    """
    fig = chart(max(4.2 * len(ways), 5.6), 4.0, title, detail)
    axes = fig.subplots(1, len(ways), squeeze=False)[0]
    for ax, lines, name in zip(axes, ways, names, strict=True):
        _over_data(ax, data, None)
        for i, line in enumerate(lines):
            look = {"color": class_colour(i), "markersize": 3, "linewidth": 1.2}
            label = short(lines_of[i]) if i < len(lines_of) and i < MOST_LINES else None
            ax.plot(*line.T, "o-", label=label, **look)
            ax.plot(*line[0], "o", markersize=9, fillstyle="none", color=class_colour(i))
        ax.set_title(name)
    if lines_of:
        legend(axes[-1])
    save(fig, path)


def _over_data(ax: Axes, data: np.ndarray, points: np.ndarray | None) -> None:
    """Points in a bare frame about the data, which is pale behind them."""
    low, high = frame(data)
    ax.scatter(*thin(data)[0].T, s=4, color=PALE, linewidths=0, rasterized=True)
    if points is not None:
        ax.scatter(*thin(points)[0].T, s=4, color=TRAIN, alpha=0.8, linewidths=0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
    ax.set_aspect("equal")
    ax.grid(False)
    ax.spines[:].set(visible=True, color="#c4c9d0", linewidth=0.5)


def thin(*arrays: np.ndarray | None) -> list[np.ndarray | None]:
    """Return the same evenly spaced MOST_POINTS rows of every array."""
    n = max((len(a) for a in arrays if a is not None), default=0)
    keep = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(int)) if n else slice(None)
    return [None if a is None else np.asarray(a)[keep] for a in arrays]


def by_label(
    fig: Figure,
    ax: Axes,
    points: np.ndarray,
    labels: np.ndarray | None,
    classes: Sequence[str],
    *,
    colour: str = TRAIN,
    key: bool = True,
) -> None:
    """Scatter points (N, 2) in the colour of their label.

    Up to twenty classes get ten colours × two markers with a legend, others a colour bar. key:
    draw that legend.
    """
    size = float(np.clip(9000 / max(1, len(points)), 9, 36))
    look = {"s": size, "linewidths": 0.25, "edgecolors": "white", "alpha": 0.85}
    if not len(points):
        empty(ax, "no examples")
    elif labels is None:
        ax.scatter(*points.T, color=colour, **look)
    elif not discrete(labels):
        whole = np.asarray(labels).dtype.kind in "iu"
        values = np.asarray(labels, dtype=float).reshape(len(points))
        known = np.isfinite(values)
        ax.scatter(*points[~known].T, color=GREY, **look)
        dots = ax.scatter(*points[known].T, c=values[known], cmap=SEQUENTIAL, **look)
        if key:
            fig.colorbar(
                dots, ax=ax, label="class" if whole else "label", pad=0.02
            ).outline.set_visible(False)
    else:
        kinds = np.unique(labels)
        # One call per marker in a fixed random order: a class drawn last would cover the others.
        order = np.random.default_rng(0).permutation(len(points))
        rank = np.searchsorted(kinds, np.asarray(labels).reshape(-1))[order]
        colours = np.array([class_colour(int(k)) for k in kinds])[rank]
        for m, marker in enumerate(MARKERS):
            mine = np.array([class_marker(int(k)) for k in kinds])[rank] == MARKERS[m]
            if mine.any():
                ax.scatter(*points[order][mine].T, c=list(colours[mine]), marker=marker, **look)
        if key:
            handles = [_handle(int(k), class_name(int(k), classes)) for k in kinds]
            legend(ax, handles, handletextpad=0.2, labelspacing=0.35)


def discrete(labels: np.ndarray) -> bool:
    """Return True if labels are classes, and few enough for a legend."""
    labels = np.asarray(labels)
    return labels.dtype.kind in "iub" and np.unique(labels).size <= MOST_CLASSES


def class_colour(label: int) -> str:
    return CLASSES[label % len(CLASSES)]


def class_marker(label: int) -> str:
    return MARKERS[label // len(CLASSES) % len(MARKERS)]


def class_name(label: int, classes: Sequence[str]) -> str:
    return short(classes[label]) if 0 <= label < len(classes) else f"label {label}"


def _handle(label: int, name: str) -> Line2D:
    look = {"color": class_colour(label), "marker": class_marker(label), "markersize": 6}
    return Line2D([], [], linestyle="none", label=name, **look)


def _limits(axes: tuple[Axes, ...], data: np.ndarray, others: np.ndarray) -> int:
    """Equal axes around the data and the others near it; returns how many others are outside."""
    inside = data[np.isfinite(data).all(axis=1)] if len(data) else np.zeros((0, 2))
    finite = np.isfinite(others).all(axis=1) if len(others) else np.zeros(0, dtype=bool)
    if not len(inside):
        inside = others[finite]
    if not len(inside):
        return int((~finite).sum())
    low, high = inside.min(axis=0), inside.max(axis=0)
    reach = 0.25 * max(float((high - low).max()), 1e-6)
    near = others[finite & ((others >= low - reach) & (others <= high + reach)).all(axis=1)]
    both = np.concatenate([inside, near])
    low, high = both.min(axis=0), both.max(axis=0)
    half = 0.53 * max(float((high - low).max()), 1e-6)  # a square frame: equal units, equal panels
    centre = (low + high) / 2
    for ax in axes:
        ax.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
        ax.set_aspect("equal")
    beyond = (np.abs(np.where(np.isfinite(others), others, np.inf) - centre) > half).any(axis=1)
    return int(beyond.sum())
