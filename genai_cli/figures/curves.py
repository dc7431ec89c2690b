"""Loss curves of one run, from the rows of its metrics.csv."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from genai_cli.figures.style import (
    EMPTY,
    GREY,
    INK,
    PLAYERS,
    TRAIN,
    VALIDATION,
    chart,
    empty,
    number,
    save,
    styled,
)

MOST_TERMS = 6
NAMES = {
    "lr": "learning rate",
    "d_real": "D(x), real",
    "d_fake": "D(G(z)), generated",
    "gradient": "norm of the gradient",
}
FEW = 30  # epochs: up to here every one gets a dot
STAR = {"marker": "*", "markersize": 11, "markeredgecolor": INK, "linestyle": "none", "zorder": 5}
HUGE = 1e200  # larger than this is drawn as a gap: axis margins around it overflow


class Series(NamedTuple):
    """One column of metrics.csv: `train/loss`, `val/kl`, `train/generator/loss`."""

    split: str  # train | val
    player: str  # "" for a family with one player
    term: str
    values: np.ndarray  # (epochs,), nan where the row has no finite number


class Best(NamedTuple):
    epoch: float
    value: float
    colour: str


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
    """Train and validation loss, linear and log, with one small panel per further term.

    rows: one dict per epoch with the columns of metrics.csv; missing or non-finite numbers become
    gaps. unit: of the loss, "nats per image". best_epoch: what the monitor chose, or None.
    note: the doctor's words, and the epoch at which a dotted line stands, or None.
    """
    epochs = _column(rows, "epoch")
    every = _series(rows)
    loss = [s for s in every if s.term == "loss"]
    terms = list(dict.fromkeys(s.term for s in every if s.term != "loss"))
    lr = _column(rows, "lr")
    panels = [*terms[:MOST_TERMS]]
    if np.unique(lr[np.isfinite(lr)]).size > 1:
        panels.append("lr")
    colours = _colours(every)

    rows_of_panels = min(len(panels), 1 + (len(panels) > 4))
    heights = [3.3] + [2.0 * rows_of_panels] * bool(panels)
    words, since = note
    detail = " · ".join(filter(None, [_detail(rows, loss, terms), words and f"doctor: {words}"]))
    fig = chart(9.6, sum(heights), title, detail)
    top, *bottom = fig.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]

    left, right = top.subplots(1, 2)
    best = _best(rows, loss, best_epoch)
    for ax in (left, right):
        _lines(ax, epochs, loss, colours, size=1.6)
        if best is not None:
            ax.plot(best.epoch, best.value, color=best.colour, **STAR)
        if since is not None:
            ax.axvline(since, color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    left.set(title="linear axis", ylabel=f"loss ({unit})" if unit else "loss")
    band = _logarithmic(right, loss)
    _legend(right, loss, colours, best, band, dots=len(epochs) <= FEW)

    if panels:
        columns = -(-len(panels) // rows_of_panels)
        axes = bottom[0].subplots(rows_of_panels, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, panels, strict=False):
            if panel == "lr":
                own = [Series("lr", "", "lr", lr)]
            else:
                own = [s for s in every if s.term == panel]
            _lines(ax, epochs, own, colours, size=1.2)
            ax.set_title(NAMES.get(panel, panel.replace("_", " ")))
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
    save(fig, path)


def _column(rows: list[dict[str, float]], key: str) -> np.ndarray:
    """(epochs,) floats of one column; nan where it is missing, empty, infinite or absurd."""
    values = [row.get(key) for row in rows]
    column = np.array([np.nan if v is None or v == "" else float(v) for v in values], dtype=float)
    column[~(np.abs(column) < HUGE)] = np.nan
    return column


def _series(rows: list[dict[str, float]]) -> list[Series]:
    found = []
    for key in dict.fromkeys(key for row in rows for key in row):
        split, *rest = key.split("/")
        if split in ("train", "val") and 1 <= len(rest) <= 2:
            values = _column(rows, key)
            if np.isfinite(values).any():
                found.append(Series(split, "".join(rest[:-1]), rest[-1], values))
    return found


def _colours(every: list[Series]) -> dict[str, str]:
    """Player → colour. One player: the split has the colour. Several: the player has it, and
    validation is dashed."""
    players = list(dict.fromkeys(s.player for s in every if s.player))
    return {player: PLAYERS[i % len(PLAYERS)] for i, player in enumerate(players)}


def _look(s: Series, colours: dict[str, str]) -> dict[str, object]:
    if s.player:
        return {"color": colours[s.player], "linestyle": "-" if s.split == "train" else (0, (4, 2))}
    return {"color": {"train": TRAIN, "val": VALIDATION}.get(s.split, GREY)}


def _lines(
    ax: Axes, epochs: np.ndarray, series: list[Series], colours: dict[str, str], size: float
) -> None:
    for s in series:
        look = _look(s, colours)
        width = size if len(epochs) <= 300 else size * 0.7
        ax.plot(epochs, s.values, linewidth=width, **look)
        # A point with no neighbour has no line to be seen by; in short runs mark every epoch.
        finite = np.isfinite(s.values)
        beside = np.append(False, finite[:-1]) | np.append(finite[1:], False)
        dots = finite if len(epochs) <= FEW else finite & ~beside
        ax.plot(epochs[dots], s.values[dots], "o", color=look["color"], markersize=2.4 * size)
    _epochs(ax, epochs)
    if not series:
        empty(ax, "no finite value")


def _epochs(ax: Axes, epochs: np.ndarray) -> None:
    """Whole epochs on the x axis, with room around a single one."""
    ax.set_xlabel("epoch")
    known = epochs[np.isfinite(epochs)]
    if not known.size:
        return
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    if np.ptp(known) < 6:
        ax.xaxis.set_major_locator(FixedLocator(np.unique(known)))
    pad = max(0.5, 0.02 * np.ptp(known))
    ax.set_xlim(known.min() - pad, known.max() + pad)


def _logarithmic(ax: Axes, loss: list[Series]) -> float | None:
    """Log axis; symlog, and a title that says so, when a loss is at or below 0. Returns the half
    width of the linear band of a symlog axis when it is in view (it is then shaded)."""
    ax.set_title("log axis")
    if not loss:
        return None
    values = np.concatenate([s.values[np.isfinite(s.values)] for s in loss])
    band = None
    if values.min() > 0:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        ticks = _powers(low, high)
    else:
        ax.set_title("symlog axis: a loss ≤ 0 has no log")
        size = np.abs(values[values != 0])
        # Linear up to a typical small value, and never more than four decades below the largest.
        typical = np.quantile(size, 0.25) if size.size else 1.0
        band = 10.0 ** np.floor(np.log10(max(typical, size.max(initial=1e-300) * 1e-4)))
        ax.set_yscale("symlog", linthresh=band)
        low, high = ax.get_ylim()
        below, above = _powers(band, -low, 1), _powers(band, high, 1)
        ticks = np.concatenate([-below[::-1], [0.0], above])
        if low < band and high > -band:
            ax.axhspan(-band, band, color=EMPTY, zorder=0)
            ax.set_ylim(low, high)
        else:
            band = None
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    for most in (5, 8, 12):  # within one decade round numbers say more than powers
        if len(ticks) < 3:
            ticks = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high)
            ticks = ticks[(ticks >= low) & (ticks <= high)]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(lambda value, _: number(value, digits=6))
    return band


def _powers(low: float, high: float, fewest: int = 3) -> np.ndarray:
    """Powers of ten in [low, high], every second or third when many; 1-2-5 steps when few."""
    if high < low:
        return np.array([])
    exponents = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    if len(exponents) >= fewest:
        return 10.0 ** exponents[:: -(-len(exponents) // 7)]
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high))
    steps = 10.0 ** np.arange(first, last + 1)[:, None] * np.array([1.0, 2.0, 5.0])
    return steps.ravel()


def _best(rows: list[dict[str, float]], loss: list[Series], best_epoch: int | None) -> Best | None:
    """The best epoch, on the validation curve where there is one."""
    own = [s for s in loss if not s.player]
    own.sort(key=lambda s: s.split != "val")
    at = np.flatnonzero(_column(rows, "epoch") == best_epoch) if best_epoch is not None else []
    if not own or not len(at) or not np.isfinite(own[0].values[at[-1]]):
        return None
    return Best(best_epoch, own[0].values[at[-1]], _look(own[0], {})["color"])


def _legend(
    ax: Axes,
    loss: list[Series],
    colours: dict[str, str],
    best: Best | None,
    band: float | None,
    dots: bool,
) -> None:
    """Right of the panel, where it covers no curve. The handles are empty lines."""
    both = {s.split for s in loss} == {"train", "val"}
    handles = []
    for s in loss:
        word = "train" if s.split == "train" else "validation"
        label = ", ".join(filter(None, [s.player, word if both or not s.player else ""]))
        look = {"marker": "o", "markersize": 4} if dots else {}
        handles += ax.plot([], [], label=label, **look, **_look(s, colours))
    if best is not None:
        label = f"best: epoch {best.epoch:.0f}\n{number(best.value)}"
        handles += ax.plot([], [], color=best.colour, label=label, **STAR)
    if band is not None:
        handles.append(Patch(color=EMPTY, label=f"linear within\n±{number(band)}"))
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.02))


def _detail(rows: list[dict[str, float]], loss: list[Series], terms: list[str]) -> str:
    """What the caller cannot know: last values, how much is missing."""
    parts = [f"{len(rows):,} epoch{'s' if len(rows) != 1 else ''}"]
    last = []
    for s in loss:
        word = "train" if s.split == "train" else "validation"
        last.append(" ".join(filter(None, [s.player, word, number(s.values[-1])])))
    if last:
        parts.append("last: " + ", ".join(last))
    gaps = sum(int((~np.isfinite(s.values)).sum()) for s in loss)
    if gaps:
        parts.append(f"{gaps} loss value{'s' if gaps > 1 else ''} missing or not finite (gaps)")
    if len(terms) > MOST_TERMS:
        parts.append(f"further columns in metrics.csv: {len(terms) - MOST_TERMS}")
    return " · ".join(parts)
