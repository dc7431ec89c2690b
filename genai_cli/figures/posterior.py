"""The aggregate posterior against the prior that samples are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from genai_cli.figures.scatter import PALE, thin
from genai_cli.figures.style import (
    TRAIN,
    VALIDATION,
    chart,
    number,
    panel_title,
    save,
    short,
    styled,
    text_inches,
)

REACH = 0.005  # quantile of codes and draws that may lie outside the frame, on each side


class CodesAndDraws(NamedTuple):
    """Codes of one run and draws from its prior."""

    label: str
    prior: str  # its name: "N(0, I)"
    codes: np.ndarray  # (N, K)
    draws: np.ndarray  # (M, K)
    mismatch: float  # between the two, 0 where alike
    floor: float  # the same between codes and codes of other examples


@styled()
def posterior_prior(
    path: str | Path,
    pairs: Sequence[CodesAndDraws],
    *,
    title: str,
    detail: str = "",
    caption: str = "",
) -> None:
    """Draw a column for each run: codes of test examples above, draws from its prior below.

    Both are projected on the first two principal components of the run's codes and stand in one
    frame; the other set lies pale behind. Below, the mismatch of the two in numbers.
    """
    n = max(1, len(pairs))
    heading = detail + (f"\n{caption}" if caption else "")
    fig = chart(max(6.6, 2.75 * n + 0.4), 3.8 + text_inches(1.8), title, heading)
    axes = fig.subplots(2, n, squeeze=False)
    for column, pair in zip(axes.T, pairs, strict=False):
        _column(column, pair, first=column is axes.T[0] or pair is pairs[0])
    save(fig, path)


def _column(axes: Sequence[Axes], pair: CodesAndDraws, first: bool) -> None:
    codes, draws = project(pair.codes, pair.draws)
    codes, draws = thin(codes)[0], thin(draws)[0]
    both = np.concatenate([codes, draws])
    both = both[np.isfinite(both).all(axis=1)]
    top, bottom = axes
    flat = pair.codes.shape[1] == 1
    if flat:
        _histograms(axes, codes[:, 0], draws[:, 0])
    else:
        low, high = np.quantile(both, [REACH, 1 - REACH], axis=0)
        half = 0.56 * max(float((high - low).max()), 1e-6)
        middle = (low + high) / 2
        for ax, front, behind, colour in (
            (top, codes, draws, TRAIN),
            (bottom, draws, codes, VALIDATION),
        ):
            ax.scatter(*behind.T, s=4, color=PALE, linewidths=0)
            ax.scatter(*front.T, s=4, color=colour, alpha=0.65, linewidths=0)
            ax.set(xlim=(middle[0] - half, middle[0] + half),
                   ylim=(middle[1] - half, middle[1] + half), aspect="equal")  # fmt: skip
            ax.tick_params(labelsize=7)
    name = panel_title(short(pair.label, 30), 3.2)
    top.set_title(f"{name}\nprior: {pair.prior}", size=9)
    times = pair.mismatch / pair.floor if pair.floor > 0 else np.inf
    times = f"{times:.1f} × codes against codes" if np.isfinite(times) else ""
    axis = "code" if flat else "PC 1 of the codes"
    bottom.set_xlabel(f"{axis}\n\nmismatch {number(100 * pair.mismatch, 2)} %\n{times}")
    top.tick_params(labelbottom=False)
    if first:
        top.set_ylabel(panel_title("codes of test examples", 2.4), color=TRAIN)
        bottom.set_ylabel(panel_title("draws from the prior", 2.4), color=VALIDATION)


def _histograms(axes: Sequence[Axes], codes: np.ndarray, draws: np.ndarray) -> None:
    """A code of one number: its distribution, with the other's outline."""
    both = np.concatenate([codes, draws])
    low, high = np.quantile(both[np.isfinite(both)], [REACH, 1 - REACH])
    bins = np.linspace(low, high + 1e-9, 40)
    for ax, front, behind, colour in (
        (axes[0], codes, draws, TRAIN),
        (axes[1], draws, codes, VALIDATION),
    ):
        ax.hist(behind, bins, density=True, color=PALE)
        ax.hist(front, bins, density=True, histtype="step", color=colour, linewidth=1.4)


def project(codes: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project codes and draws on the first two principal components of the codes.

    Returns (N, 2) and (M, 2); a code of one number keeps it, beside a 0.
    """
    codes, draws = np.asarray(codes, dtype=float), np.asarray(draws, dtype=float)
    mean = codes.mean(axis=0)
    if codes.shape[1] == 1:
        return tuple(np.concatenate([x - 0, np.zeros_like(x)], 1) for x in (codes, draws))
    _, axes = np.linalg.eigh(np.cov((codes - mean).T))  # rising
    axes = axes[:, ::-1][:, :2]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, [0, 1]] < 0, -1.0, 1.0)  # a sign is arbitrary
    return (codes - mean) @ axes, (draws - mean) @ axes
