"""The generator's gradient against the discriminator's output on its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from genai_cli.figures.axes import column, draw_line, epoch_axis, log_ticks, powers
from genai_cli.figures.families import sequence
from genai_cli.figures.labels import End, label_ends
from genai_cli.figures.style import (
    CLASSES,
    GREY,
    INK,
    chart,
    empty,
    panel_title,
    save,
    short,
    styled,
    text_inches,
)

SLOPES = {  # |dL/da| of the generator's loss, of D(G(z)) = sigmoid(a)
    "minimax": lambda d: d,
    "nonsaturating": lambda d: 1 - d,
}
WIDTH = 10.4  # inches
MOST = 24  # runs in one figure
TINY = 1e-7  # D(G(z)) below which float32's 1 - D is 1


class Pull(NamedTuple):
    """The generator's gradient and D(G(z)) of one GAN over its training."""

    label: str
    loss: str  # minimax, hinge, …
    epochs: np.ndarray  # (E,)
    gradient: np.ndarray  # (E,) norm of the generator's gradient, nan where there is none
    d_fake: np.ndarray  # (E,) D(G(z)) of the generator's samples: a probability in `SLOPES`


def pull_from_rows(label: str, loss: str, rows: Sequence[Mapping[str, float]]) -> Pull:
    """Return a `Pull` from the rows of a metrics.csv; older ones may hold no gradient."""
    columns = ("epoch", "train/generator/gradient", "train/generator/d_fake")
    return Pull(label, loss, *(column(rows, name) for name in columns))


@styled()
def generator(path: str | Path, pulls: Sequence[Pull], *, title: str, detail: str = "") -> None:
    """Draw D(G(z)) and the norm of the generator's gradient by epoch, and the slopes of the losses.

    The slopes are those of both losses of Goodfellow et al. 2014 against D(G(z)).

    With a = logit of D(G(z)), minimax minimises log(1 − sigmoid(a)), whose slope −sigmoid(a) goes
    to 0 as D grows sure that samples are generated; −log sigmoid(a) has −(1 − sigmoid(a)), which
    goes to −1 (Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017, theorem 2.4: an optimal
    discriminator leaves minimax no gradient at all). Both slopes are linear in sigmoid(a), so the
    mean of D(G(z)) over an epoch gives the mean slope itself: each run's epochs are points there.

    Runs of other losses, whose D gives a score, have their gradient drawn and nothing else.
    """
    pulls = pulls[:MOST]
    sure = [pull for pull in pulls if pull.loss in SLOPES]
    many = len(pulls) > len(CLASSES)
    hues = sequence(len(pulls)) if many else list(CLASSES[: len(pulls)])
    of = {id(pull): hue for pull, hue in zip(pulls, hues, strict=True)}
    fig = chart(WIDTH if sure else 6.0, 2.3 + text_inches(), title, detail)
    axes = fig.subplots(1, 3 if sure else 1, squeeze=False)[0]
    pull_ax = axes[-2] if sure else axes[0]
    for pull in pulls:
        _line(pull_ax, pull.epochs, pull.gradient, of[id(pull)])
    _log(pull_ax, "norm of G's gradient (log axis)")
    if sure:
        for pull in sure:
            _line(axes[0], pull.epochs, pull.d_fake, of[id(pull)])
        _log(axes[0], "D(G(z)), P(real) of samples (log axis)")
        _slopes(axes[2], sure, of)
    ends = [end for pull in pulls if (end := _end(pull, of[id(pull)])) is not None]
    if len(pulls) > 1:
        label_ends(fig, [(pull_ax, ends)], 1.03)
    save(fig, path)


def _line(ax: Axes, epochs: np.ndarray, values: np.ndarray, colour: str) -> None:
    values = np.where(values > 0, values, np.nan)
    draw_line(ax, epochs, values, colour, width=1.5, dots=3)
    epoch_axis(ax, epochs)


def _log(ax: Axes, title: str) -> None:
    ax.set_title(panel_title(title, WIDTH / 3 + 1 - text_inches()))
    drawn = [line.get_ydata() for line in ax.lines]
    if not drawn or not np.isfinite(np.concatenate(drawn)).any():
        empty(ax, "no value above 0")
        return
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    if high < 10 * low:  # within a decade nothing vanishes: let it not look so
        low, high = low / 3, high * 3
    ax.set_ylim(low, high)
    _powers_of_ten(ax.yaxis, low, high)


def _powers_of_ten(axis: Axis, low: float, high: float, most: int = 7) -> None:
    """Ticks at powers of ten, as the other figures write them; from 1 down every second or third
    where there would be more than ``most``."""
    ticks = powers(low, high, fewest=2)
    ticks = ticks[(ticks >= low) & (ticks <= high)][::-1]
    log_ticks(axis, low, high, ticks[:: -(-len(ticks) // most)], digits=6)


def _slopes(ax: Axes, pulls: Sequence[Pull], of: dict[int, str]) -> None:
    """|dL/da| against D(G(z)), and where the runs' epochs lie on it."""
    seen = np.concatenate([pull.d_fake for pull in pulls])
    seen = seen[np.isfinite(seen) & (seen > 0)]
    least = min(1e-3, float(seen.min(initial=1.0)))
    d = np.geomspace(max(TINY, least / 2), 0.999, 300)
    for name, style in (("minimax", (0, (1.5, 1.5))), ("nonsaturating", (0, (5, 2)))):
        ax.plot(d, SLOPES[name](d), color=GREY, linestyle=style, linewidth=1.2, zorder=1)
    low, high = d[0] / 2, 6.0
    ax.text(d[0], 1.4, "nonsaturating: 1 − D", size=8, color=INK, va="bottom")
    at = d[len(d) // 6]
    ax.text(at, 0.4 * at, "  minimax: D", size=8, color=INK, va="top")
    for pull in pulls:
        known = pull.d_fake[np.isfinite(pull.d_fake) & (pull.d_fake > 0)]
        slope = SLOPES[pull.loss](known)
        ax.plot(known, slope, "o", markersize=4, color=of[id(pull)], markeredgecolor="white",
                markeredgewidth=0.5, zorder=3)  # fmt: skip
    ax.set(xscale="log", yscale="log", xlim=(low, 1.5), ylim=(low, high), xlabel="D(G(z))")
    ax.set_title(panel_title("slope of the loss, a dot an epoch", WIDTH / 3 + 1 - text_inches()))
    _powers_of_ten(ax.xaxis, low, 1.5, most=int(4 / text_inches()))
    _powers_of_ten(ax.yaxis, low, high)


def _end(pull: Pull, colour: str) -> End | None:
    """The name at the last gradient of a run."""
    at = np.flatnonzero(np.isfinite(pull.gradient) & (pull.gradient > 0))
    if not len(at):
        return None
    last = at[-1]
    return End(float(pull.epochs[last]), float(pull.gradient[last]), short(pull.label, 26), colour)
