"""The latent space of a model in two dimensions."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from genai_cli.figures.scatter import by_label, class_colour, class_name, discrete, thin
from genai_cli.figures.style import GREY, INK, TRAIN, chart, empty, save, styled

FIT = 1000  # examples that fix the axes of a wide code; an SVD of all of them takes minutes


@styled()
def latent(
    path: str | Path,
    codes: np.ndarray,
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    *,
    title: str,
) -> None:
    """Draw codes (N, K) coloured by label (N,).

    K = 2 as they are, K > 2 on their first two principal components, K = 1 one histogram per
    class. Integer labels are classes, floats a colour bar.
    """
    n = len(codes)
    codes = np.asarray(codes, dtype=float).reshape(n, int(np.prod(np.shape(codes)[1:])))
    codes, labels = thin(codes, labels)
    finite = np.isfinite(codes).all(axis=1)
    codes, labels = codes[finite], None if labels is None else np.asarray(labels)[finite]
    k = codes.shape[1]

    detail = f"{len(codes):,}{'' if len(codes) == n else f' of {n:,}'} codes of {k} number"
    detail += "s" if k != 1 else ""
    if not finite.all():
        detail += f" · {int((~finite).sum())} not finite, left out"
    if len(codes) > 1 and not np.ptp(codes, axis=0).any():
        detail += " · all codes are equal"
    per_class = k == 1 and labels is not None and discrete(labels)
    rows = np.unique(labels).size if per_class else 0
    fig = chart(6.6, max(4.4, 0.42 * rows), title, detail if n else "no examples")
    ax = fig.subplots()
    if not len(codes) or k == 0:
        empty(ax, "no finite code" if n else "no examples")
    elif per_class:
        _ridges(ax, codes[:, 0], labels, classes)
    elif k == 1 and labels is not None:
        ax.scatter(codes[:, 0], labels, s=10, color=TRAIN, alpha=0.6, linewidths=0)
        ax.set(xlabel="code", ylabel="label")
    elif k == 1:
        ax.hist(codes[:, 0], bins=_bins(codes[:, 0]), color=TRAIN)
        ax.set(xlabel="code", ylabel="examples")
    else:
        points, names = (codes, ("code 1", "code 2")) if k == 2 else _principal(codes)
        by_label(fig, ax, points, labels, classes)
        ax.set(xlabel=names[0], ylabel=names[1])
        ax.set_aspect("equal", adjustable="datalim")
    save(fig, path)


def _principal(codes: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """(N, 2) coordinates on the first two principal components, and axis names with the share of
    the variance of all numbers that each holds."""
    centred = codes - codes.mean(axis=0)
    n, k = codes.shape
    rows = slice(None) if k <= 256 else np.linspace(0, n - 1, min(n, FIT)).astype(int)
    _, _, components = np.linalg.svd(centred[rows], full_matrices=False)  # (min(n, k), k)
    components = components[:2]
    # The sign of a component is arbitrary: make its largest weight positive.
    largest = np.abs(components).argmax(axis=1)[:, None]
    components = components * np.where(np.take_along_axis(components, largest, 1) < 0, -1.0, 1.0)
    points = np.zeros((n, 2))
    points[:, : len(components)] = centred @ components.T
    total = float(centred.var(axis=0).sum())
    share = points.var(axis=0) / total if total > 0 else np.zeros(2)
    return points, tuple(f"PC {i + 1} ({100 * s:.0f} %)" for i, s in enumerate(share))


def _bins(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(1.0, abs(high)):  # a constant code is one bar, not an error
        low, high = low - 0.5 * max(1.0, abs(low)), high + 0.5 * max(1.0, abs(high))
    return np.linspace(low, high, 61)


def _ridges(ax: Axes, code: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    """One histogram per class on its own line, all on one scale: overlaid, more than three
    classes hide each other."""
    bins = _bins(code)
    middle = (bins[:-1] + bins[1:]) / 2
    kinds = [int(kind) for kind in np.unique(labels)]
    counts = [np.histogram(code[labels == kind], bins)[0] for kind in kinds]
    shares = [count / max(1, count.sum()) for count in counts]
    top = max(float(share.max()) for share in shares)
    for i, (kind, share) in enumerate(zip(kinds, shares, strict=True)):
        base = len(kinds) - 1 - i
        height = base + 0.92 * share / top
        ax.fill_between(middle, base, height, color=class_colour(kind), alpha=0.85, step="mid")
        ax.axhline(base, color=GREY, linewidth=0.5)
    ax.set_yticks([len(kinds) - 1 - i + 0.3 for i in range(len(kinds))])
    ax.set_yticklabels([class_name(kind, classes) for kind in kinds], color=INK)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="code", ylim=(-0.05, len(kinds) + 0.05))
    ax.spines["left"].set_visible(False)
