"""The density of a model of the plane, beside the points it was learned from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from genai_cli.figures.scatter import by_label, frame, thin
from genai_cli.figures.style import GREY, SEQUENTIAL, chart, empty, number, save, styled

BRIGHTEST = 0.999  # share of the mass at whose density the colours end: one spike hides the rest


@styled()
def density(
    path: str | Path,
    data: np.ndarray,
    log_prob: Callable[[np.ndarray], np.ndarray],
    *,
    kind: str,
    side: int,
    title: str,
) -> None:
    """Draw data (N, 2) left, the model's density on ``side`` × ``side`` points right.

    log_prob: points (M, 2) to nats (M,); kind: what it is, "exact" or "bound". Where the density
    is very high for a thousandth of the mass, the colours end below it. Values that are not finite
    count as 0.
    """
    low, high = frame(data)
    edges = [np.linspace(low[i], high[i], side + 1) for i in (0, 1)]
    middles = [(e[:-1] + e[1:]) / 2 for e in edges]
    points = np.stack(np.meshgrid(*middles), -1).reshape(-1, 2)
    with np.errstate(over="ignore"):
        p = np.exp(np.asarray(log_prob(points), dtype=float)).reshape(side, side)
    p = np.where(np.isfinite(p), p, 0.0)
    area = float(np.prod((high - low) / side))
    mass = float(p.sum()) * area
    order = np.sort(p.ravel())
    below = np.searchsorted(np.cumsum(order), BRIGHTEST * order.sum())
    top = float(order[min(below, len(order) - 1)])
    word = {"exact": "exact density", "bound": "lower bound on the density"}.get(kind, kind)
    detail = f"{len(data):,} data points · {word}, {side} × {side} points"
    detail += f", {number(100 * mass, 3)} % of the mass within the frame"
    fig = chart(8.8, 4.0, title, detail)
    left, right = fig.subplots(1, 2, sharex=True, sharey=True)
    by_label(fig, left, thin(data)[0], None, (), colour=GREY)
    left.set(title="data", xlabel="x₁", ylabel="x₂")
    right.set(title=f"the model's {word}", xlabel="x₁")
    right.grid(False)
    if top > 0:
        mesh = right.pcolormesh(
            *edges, p, vmin=0, vmax=top, cmap=SEQUENTIAL, shading="flat", rasterized=True
        )
        more = "max" if top < order[-1] else "neither"
        bar = fig.colorbar(mesh, ax=right, pad=0.02, extend=more, label="p(x)")
        bar.outline.set_visible(False)
    else:
        empty(right, "no mass within the frame")
    for ax in (left, right):
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set_aspect("equal")
    save(fig, path)
