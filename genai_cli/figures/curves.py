"""Loss curves: of one run, of several runs overlaid, and of the cells of a sweep side by side.

The three are one file because they share their data, lines, limits and legends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from genai_cli.figures.axes import FEW, STAR, column, draw_line, epoch_axis, log_axis, log_ticks
from genai_cli.figures.families import Look, colours
from genai_cli.figures.labels import LINE, End, label_ends
from genai_cli.figures.style import (
    EMPTY,
    GREY,
    PLAYERS,
    TRAIN,
    VALIDATION,
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
    wrap,
)

NAMES = {
    "lr": "learning rate",
    "d_real": "D(x), real",
    "d_fake": "D(G(z)), generated",
    "gradient": "norm of the gradient",
}
WORDS = {"train": "train", "val": "validation"}
MOST_TERMS = 6  # of a run
MOST_PANELS, MOST_LINES = 6, 24  # of an overlay, and of one of its panels
FLATTENED = 20  # times the last losses: values from which a linear axis would show no more
DASHED = (0, (3, 1.5))  # a training loss beside the validation loss
OTHERS = "#c9cdd3"  # curves of the other cells, behind
WIDTH, HEIGHT, HEADING = 10.4, 1.75, 0.17  # inches: of the cells, of a panel, of a line above it
STRETCHED = 5  # times as many epochs in the longest run as in the shortest: a log axis
ABOVE = 3  # times the first validation loss of most: where an axis ends above curves that fall,
FAR = 20  # and from where on a curve's end is out of sight; so is a 20th of the lowest


class LossCurve(NamedTuple):
    """The losses of one run among several."""

    epochs: np.ndarray  # (E,)
    validation: np.ndarray  # (E,), nan where there is none
    train: np.ndarray | None = None  # (E,), for `cell_curves`
    seconds: np.ndarray | None = None  # (E,) of training so far, for `overlay`
    label: str = ""
    look: Look = Look()  # of its family
    colour: str = VALIDATION


class CurvePanel(NamedTuple):
    """Curves that share an axis: of runs that minimise the same number."""

    title: str
    curves: Sequence[LossCurve]
    falls: bool = True  # lower is better: not the loss of one of two players
    note: str = ""  # numbers, below the title
    objective: str = ""  # cells of one objective share their limits


class _Series(NamedTuple):
    """One column of metrics.csv: `train/loss`, `val/kl`, `train/generator/loss`."""

    split: str  # train | val
    player: str  # "" for a family with one player
    term: str
    values: np.ndarray  # (epochs,), nan where the row has no finite number


@styled()
def loss_curve(
    path: str | Path,
    rows: list[dict[str, float]],
    *,
    title: str,
    unit: str,
    best_epoch: int | None,
    note: tuple[str, int | None] = ("", None),
) -> None:
    """Draw training and validation loss, linear and log, with a small panel per further term.

    rows: one dict per epoch with the columns of metrics.csv; missing or non-finite numbers become
    gaps. unit: of the loss, "nats per image". best_epoch: what the monitor chose, or None.
    note: the doctor's words, and the epoch at which a dotted line stands, or None.
    """
    epochs, lr = column(rows, "epoch"), column(rows, "lr")
    every = _series(rows)
    loss = [s for s in every if s.term == "loss"]
    terms = list(dict.fromkeys(s.term for s in every if s.term != "loss"))
    small = {term: [s for s in every if s.term == term] for term in terms[:MOST_TERMS]}
    if np.unique(lr[np.isfinite(lr)]).size > 1:
        small["lr"] = [_Series("lr", "", "lr", lr)]
    players = dict.fromkeys(s.player for s in every if s.player)
    hues = {player: PLAYERS[i % len(PLAYERS)] for i, player in enumerate(players)}

    down = min(len(small), 1 + (len(small) > 4))
    heights = [1.9 + text_inches(1.4)] + [down * (1.0 + text_inches())] * bool(small)
    words, since = note
    detail = " · ".join(filter(None, [_detail(rows, loss, terms), words and f"doctor: {words}"]))
    fig = chart(9.6, sum(heights), title, detail)
    top, *bottom = fig.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]

    left, right = top.subplots(1, 2)
    best = _best(epochs, loss, best_epoch)
    for ax in (left, right):
        _draw_series(ax, epochs, loss, hues, width=1.6)
        if best is not None:
            ax.plot(best_epoch, best[0], color=best[1], **STAR)
        if since is not None:
            ax.axvline(since, color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    left.set(title="linear axis", ylabel=f"loss ({unit})" if unit else "loss")
    band = log_axis(right, [s.values for s in loss])
    handles = _handles(loss, hues, dots=len(epochs) <= FEW)
    if best is not None:
        label = f"best: epoch {best_epoch:.0f}\n{number(best[0])}"
        handles.append(Line2D([], [], color=best[1], label=label, **STAR))
    if band is not None:
        handles.append(Patch(color=EMPTY, label=f"linear within\n±{number(band)}"))
    if handles:
        legend(right, handles)
    across = -(-len(small) // max(1, down))
    axes = panels(bottom[0], len(small), across) if small else []
    for ax, (name, series) in zip(axes, small.items(), strict=True):
        _draw_series(ax, epochs, series, hues, width=1.2)
        ax.set_title(panel_title(NAMES.get(name, name.replace("_", " ")), 9.6 / across))
    save(fig, path)


@styled()
def overlay(
    path: str | Path, objectives: Sequence[CurvePanel], *, title: str, detail: str = ""
) -> None:
    """Draw two panels for each objective: validation losses by seconds of training, by epochs.

    Losses of different objectives have different units and zero points, so they never share an
    axis. At most six objectives of 24 lines each; what is left out is counted in the grey line.
    """
    selected = [o._replace(curves=o.curves[:MOST_LINES]) for o in objectives[:MOST_PANELS]]
    left_out = sum(len(o.curves) for o in objectives) - sum(len(o.curves) for o in selected)
    if left_out:
        detail += f"{' · ' if detail else ''}{left_out} more curves are not drawn"
    least = 1.0 + text_inches()
    heights = [max(least, text_inches(0.75 + len(o.curves) * LINE)) for o in selected] or [least]
    fig = chart(10.4, sum(heights), title, detail)
    axes = fig.subplots(len(heights), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    named = []
    for (left, right), objective in zip(axes, selected, strict=False):
        drawn = [curve for curve in objective.curves if np.isfinite(curve.validation).any()]
        hues = colours([curve.look for curve in drawn])
        for ax, key in ((left, "seconds"), (right, "epochs")):
            for curve, hue in zip(drawn, hues, strict=True):
                draw_line(ax, getattr(curve, key), curve.validation, hue, width=1.4)
            kind = _overlay_axis(ax, drawn)
        words = panel_title(objective.title + kind, 6.3 - text_inches(1.1))
        left.set(title=words, xlabel="seconds of training")
        left.set_ylabel("validation loss")
        right.set(title="the same by epochs", xlabel="epoch")
        right.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
        ends = [_end(curve, hue, objective.falls) for curve, hue in zip(drawn, hues, strict=True)]
        named.append((right, ends))
    if not selected:
        for ax in axes.ravel():
            empty(ax, "no run has a validation loss")
    label_ends(fig, named, 1.04)
    save(fig, path)


@styled()
def cell_curves(
    path: str | Path, cells: Sequence[CurvePanel], *, title: str, detail: str = ""
) -> None:
    """Draw small panels of a sweep's cells, validation solid and training dashed.

    A panel of one curve has those of all others behind it in grey; curves of several are coloured,
    with one legend for all panels.

    Args:
        path: of the PNG.
        cells: at least one; those of one objective in a row.
        title, detail: heading.
    """
    single = all(len(cell.curves) == 1 for cell in cells)
    across = 4 if len(cells) in (4, 7, 8) or len(cells) > 9 else min(3, len(cells))
    across = max(1, int(across / text_inches() + 0.5))
    width = (WIDTH / across + 0.9) / text_inches() - 0.9
    titles = [wrap(cell.title, width, 10) for cell in cells]
    notes = [wrap(cell.note, width, 7.5) for cell in cells]
    lines = max(len(t) + len(n) for t, n in zip(titles, notes, strict=True))
    height = HEIGHT + text_inches(0.55 + HEADING * lines)
    fig = chart(WIDTH, -(-len(cells) // across) * height + text_inches(0.3), title, detail)
    axes = panels(fig, len(cells), across)
    for i, (ax, cell) in enumerate(zip(axes, cells, strict=True)):
        drawn = [c for c in cell.curves if np.isfinite(c.validation).any()]
        if not drawn:
            empty(ax, "no finite loss")
        alike = [other for other in cells if other.objective == cell.objective]
        for other in alike if drawn and single else ():
            for curve in other.curves if other is not cell else ():
                draw_line(ax, curve.epochs, curve.validation, OTHERS, width=0.9, dots=0, zorder=1)
        for curve in drawn:
            hue, thick = (TRAIN, 1.3) if single else (curve.colour, 0.9)
            look = {"linestyle": DASHED, "zorder": 3}
            draw_line(ax, curve.epochs, curve.train, hue, width=thick, dots=0, **look)
            draw_line(ax, curve.epochs, curve.validation, curve.colour, width=1.5, zorder=4)
            if single:
                best = int(np.nanargmin(curve.validation))
                star = STAR | {"markersize": 8, "markeredgewidth": 0.6}
                ax.plot(curve.epochs[best], curve.validation[best], color=curve.colour, **star)
        if drawn:
            _cell_axes(ax, [curve for other in alike for curve in other.curves])
        ax.set_title("\n".join(titles[i]), pad=4 + 10.5 * len(notes[i]))
        ax.annotate("\n".join(notes[i]), (0, 1), (0, 4), xycoords="axes fraction", va="bottom",
                    textcoords="offset points", size=7.5, color=GREY)  # fmt: skip
        ax.set_xlabel("epoch" if i + across >= len(cells) else "")
        ax.set_ylabel("" if i % across else "loss")
    legend(fig, _cell_handles(cells, single), ncols=8)
    save(fig, path)


def _series(rows: list[dict[str, float]]) -> list[_Series]:
    series = []
    for key in dict.fromkeys(key for row in rows for key in row):
        split, *rest = key.split("/")
        if split in WORDS and 1 <= len(rest) <= 2:
            values = column(rows, key)
            if np.isfinite(values).any():
                series.append(_Series(split, "".join(rest[:-1]), rest[-1], values))
    return series


def _look(s: _Series, hues: Mapping[str, str]) -> dict[str, Any]:
    """One player: the split has the colour. Several: the player has it, validation is dashed."""
    if s.player:
        return {"color": hues[s.player], "linestyle": "-" if s.split == "train" else (0, (4, 2))}
    return {"color": {"train": TRAIN, "val": VALIDATION}.get(s.split, GREY)}


def _draw_series(
    ax: Axes, epochs: np.ndarray, series: list[_Series], hues: Mapping[str, str], width: float
) -> None:
    thin = width if len(epochs) <= 300 else width * 0.7
    for s in series:
        look = _look(s, hues)
        draw_line(ax, epochs, s.values, look.pop("color"), width=thin, dots=2.4 * width, **look)
    epoch_axis(ax, epochs)
    if not series:
        empty(ax, "no finite value")


def _best(
    epochs: np.ndarray, loss: list[_Series], best_epoch: int | None
) -> tuple[float, str] | None:
    """(loss, colour) of the best epoch, on the validation curve where there is one."""
    total = sorted((s for s in loss if not s.player), key=lambda s: s.split != "val")
    at = np.flatnonzero(epochs == best_epoch) if best_epoch is not None else ()
    if not total or not len(at) or not np.isfinite(total[0].values[at[-1]]):
        return None
    return float(total[0].values[at[-1]]), _look(total[0], {})["color"]


def _handles(loss: list[_Series], hues: Mapping[str, str], dots: bool) -> list[Line2D | Patch]:
    both = {s.split for s in loss} == {*WORDS}
    look = {"marker": "o", "markersize": 4} if dots else {}
    names = [(s.player, WORDS[s.split] if both or not s.player else "") for s in loss]
    return [
        Line2D([], [], label=", ".join(filter(None, name)), **look, **_look(s, hues))
        for s, name in zip(loss, names, strict=True)
    ]


def _detail(rows: list[dict[str, float]], loss: list[_Series], terms: list[str]) -> str:
    """Return the line below the title: last values, missing epochs."""
    parts = [f"{len(rows):,} epoch{'s' if len(rows) != 1 else ''}"]
    last = [(s.player, WORDS[s.split], number(s.values[-1])) for s in loss]
    if last:
        parts.append("last: " + ", ".join(" ".join(filter(None, words)) for words in last))
    gaps = sum(int((~np.isfinite(s.values)).sum()) for s in loss)
    if gaps:
        parts.append(f"{gaps} loss value{'s' if gaps > 1 else ''} missing or not finite (gaps)")
    if len(terms) > MOST_TERMS:
        parts.append(f"further columns in metrics.csv: {len(terms) - MOST_TERMS}")
    return " · ".join(parts)


def _overlay_axis(ax: Axes, curves: Sequence[LossCurve]) -> str:
    """A log axis where all losses are above 0, else a linear one, symlog where the first epochs
    would flatten the rest; its name for the title."""
    if not curves:
        empty(ax, "no finite value")
        return ""
    every = [c.validation[np.isfinite(c.validation)] for c in curves]
    low, far = np.concatenate(every).min(), np.abs(np.concatenate(every)).max()
    if low <= 0 and far < FLATTENED * max(abs(values[-1]) for values in every):
        return ""
    log_axis(ax, every)
    return f", {ax.get_yscale()} axis"


def _end(curve: LossCurve, colour: str, falls: bool) -> End:
    """The label at the last finite loss, with the lowest one where lower is better."""
    least = f"  {number(float(np.nanmin(curve.validation)))}" if falls else ""
    at = np.flatnonzero(np.isfinite(curve.validation))[-1]
    last = float(curve.epochs[at]), float(curve.validation[at])
    return End(*last, short(curve.label, 34) + least, colour)


def _cell_handles(cells: Sequence[CurvePanel], single: bool) -> list[Line2D]:
    """Return the legend's handles, the same for all panels."""
    dashed = {"linestyle": DASHED, "label": "training"}
    if single:
        handles = [Line2D([], [], color=VALIDATION, label="validation"),
                 Line2D([], [], color=VALIDATION, label="its lowest", **STAR),
                 Line2D([], [], color=TRAIN, **dashed)]  # fmt: skip
        others = len(cells) > len({cell.objective for cell in cells})
        return handles + [Line2D([], [], color=OTHERS, label="validation, other panels")] * others
    named = {c.label: c.colour for cell in cells for c in cell.curves}
    handles = [Line2D([], [], color=hue, label=short(name, 24)) for name, hue in named.items()]
    return [*handles, Line2D([], [], color=GREY, **dashed)]


def _cell_axes(ax: Axes, curves: Sequence[LossCurve]) -> None:
    """The limits that all cells of an objective share.

    A loss that explodes in one cell, or a training loss that vanishes, must not flatten the rest.
    """
    flat = np.concatenate([v[np.isfinite(v)] for c in curves for v in (c.train, c.validation)])
    known = [v[np.isfinite(v)] for v in (c.validation for c in curves) if np.isfinite(v).any()]
    first, last = (np.array([v[at] for v in known]) for at in (0, -1))
    low, high = float(flat.min()), float(flat.max())
    if low > 0:
        usual = float(np.median(first))
        high = min(high, max(ABOVE * usual, *last[last < FAR * usual]))
        low = max(low, min(float(v.min()) for v in known) / FAR)
    log = low > 0 and high / low > 1.5
    room = (high / low) ** 0.06 if log else 0.06 * (high - low or 1.0)
    low, high = (low / room, high * room) if log else (low - room, high + room)
    epochs = [float(c.epochs[-1]) for c in curves if len(c.epochs)]
    if max(epochs) > STRETCHED * min(epochs):
        left, right = 1 / 1.12, max(epochs) * 1.12
        ax.set_xscale("log")
        log_ticks(ax.xaxis, left, right)
    else:
        left, right = 1 - 0.04 * max(epochs), 1.04 * max(epochs)
        ax.xaxis.get_major_locator().set_params(nbins=6, steps=[1, 2, 5, 10], integer=True)
    if log:
        ax.set_yscale("log")
        log_ticks(ax.yaxis, low, high, fewest=2, bins=(4,))
    ax.set(xlim=(left, right), ylim=(low, high))
