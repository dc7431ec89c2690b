"""Plot a search: the value of each trial, all learning curves, and the effect of each key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from genai_cli.figures.axes import STAR, log_ticks
from genai_cli.figures.style import (
    GREY,
    INK,
    TRAIN,
    VALIDATION,
    chart,
    empty,
    legend,
    number,
    save,
    short,
    styled,
)
from genai_cli.store.trials import FAILED, FINISHED, PRUNED, Goal, Trial, best
from genai_cli.sweeps.search.importance import measure_importance, parse_numbers

MAX_KEYS = 6  # keys that get a panel
LOG_RATIO = 5.0  # largest over smallest from which an axis is logarithmic
SHOWN_DISTANCES = (
    3.0  # median distances above the best that are shown; what lies beyond stands at the edge
)
MARKER_STYLE = {"linestyle": "none", "markersize": 5.5, "zorder": 3}
FINISHED_STYLE = {
    **MARKER_STYLE,
    "marker": "o",
    "color": TRAIN,
    "markeredgecolor": "white",
    "markeredgewidth": 0.6,
}
FAILED_STYLE = {**MARKER_STYLE, "marker": "x", "color": INK}
PRUNED_STYLE = {
    **MARKER_STYLE,
    "marker": "o",
    "color": GREY,
    "fillstyle": "none",
    "markeredgewidth": 0.9,
}


@styled()
def plot_search(
    path: str | Path, asked: Mapping[str, Any], trials: Sequence[Trial], goal: Goal
) -> None:
    """Plot value against trial, all learning curves, and value against each varied key.

    Args:
        path: of the PNG.
        asked: sweep.yaml.
        trials: at least one of which has a value.
        goal: what is searched for.
    """
    known = [t for t in trials if t.cost is not None]
    top = best(trials)
    assert top is not None
    shares = {one.key: one for one in measure_importance(trials, asked["varied"])}
    keys = [k for k in asked["varied"] if len({t.values.get(k) for t in known}) > 1]
    keys = sorted(keys, key=lambda k: [*shares, k].index(k))[:MAX_KEYS]  # what explains most first
    pruned = sum(t.state == PRUNED for t in trials)
    failed = sum(t.state == FAILED for t in trials)
    detail = f"{len(trials)} trials, {pruned} ended early"
    detail += f", {failed} failed" if failed else ""
    steps = sum(t.steps for t in trials)
    detail += f" · {steps:,} optimizer steps · best: "
    detail += ", ".join(f"{k} {_format_value(v)}" for k, v in top.values.items())
    title = f"{_search_name(asked)} for the {'highest' if goal.rising else 'lowest'} {goal.column}"
    down = 1 + math.ceil(len(keys) / 3)
    across = 6 if keys else 2  # cells of the grid: a panel of the first row takes half of them
    fig = chart(10.2, 3.3 * down, title, detail)
    grid = fig.add_gridspec(down, across)
    limits = _Limits([goal.cost(t.cost) for t in known if t.cost is not None], goal.rising)
    first = fig.add_subplot(grid[0, : across // 2])
    _plot_history(first, trials, goal, limits)
    _plot_curves(fig.add_subplot(grid[0, across // 2 :]), trials, goal, limits)
    width = {1: 6, 2: 3}.get(len(keys), 2)
    for i, key in enumerate(keys):
        row, column = divmod(i * width, 6)
        ax = fig.add_subplot(grid[1 + row, column : column + width])
        _plot_key(ax, key, known, goal, limits)
        ax.set_ylabel(goal.column if column == 0 else "")
        if key in shares:
            ax.set_title(shares[key].summary)
    legend(fig, _legend_handles(pruned, failed, limits), ncols=6)
    save(fig, path)


class _Limits:
    """The value axis that all panels share."""

    def __init__(self, values: Sequence[float], rising: bool) -> None:
        v = np.array(values)
        self.beyond = False
        low, high = float(v.min()), float(v.max())
        self.log = not rising and low > 0 and high / low > LOG_RATIO
        self.rising = rising
        good, bad, middle = (high, low, np.median(v)) if rising else (low, high, np.median(v))
        reach = SHOWN_DISTANCES * abs(float(middle) - good)
        if not self.log and reach and abs(bad - good) > 1.5 * reach:
            low, high = (good - reach, high) if rising else (low, good + reach)
            self.beyond = True
        if self.log:
            pad = (high / low) ** 0.08
            self.low, self.high = low / pad, high * pad
        else:
            pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
            self.low, self.high = low - pad, high + pad

    def plot(
        self, ax: Axes, x: Sequence[float], values: Sequence[float], look: Mapping[str, Any]
    ) -> None:
        """Plot points; those beyond the axis become triangles on its edge."""
        y = np.array(values, dtype=float)
        inside = (y >= self.low) & (y <= self.high)
        ax.plot(np.array(x)[inside], y[inside], **look)
        if not inside.all():  # an empty line that is not clipped upsets the layout
            edge = np.clip(y[~inside], self.low, self.high)
            mark = {**look, "marker": "v" if self.rising else "^", "clip_on": False}
            ax.plot(np.array(x)[~inside], edge, **mark)

    def set(self, ax: Axes) -> None:
        if self.log:
            ax.set_yscale("log")
        ax.set_ylim(self.low, self.high)
        if self.log:
            log_ticks(ax.yaxis, self.low, self.high)
        else:
            ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 5)))


def _plot_history(ax: Axes, trials: Sequence[Trial], goal: Goal, limits: _Limits) -> None:
    """Each trial's value, and a staircase of the best so far."""
    limits.set(ax)
    x = [i for i, t in enumerate(trials) if t.cost is not None]
    values = [goal.cost(t.cost) for t in trials if t.cost is not None]
    so_far = (np.maximum if goal.rising else np.minimum).accumulate(values)
    ax.step([*x, len(trials) - 1], [*so_far, so_far[-1]], where="post", color=VALIDATION, zorder=2)
    for state, look in ((FINISHED, FINISHED_STYLE), (PRUNED, PRUNED_STYLE)):
        indices = [i for i, t in enumerate(trials) if t.state == state and t.cost is not None]
        limits.plot(ax, indices, [goal.cost(trials[i].cost or 0.0) for i in indices], look)
    lost = [i for i, t in enumerate(trials) if t.state == FAILED]
    edge = limits.low if goal.rising else limits.high
    if lost:  # an empty line that is not clipped upsets the layout
        ax.plot(lost, [edge] * len(lost), **FAILED_STYLE, clip_on=False)
    at = trials.index(best(trials))  # type: ignore[arg-type]
    value = goal.cost(trials[at].cost or 0.0)
    ax.plot(at, value, color=VALIDATION, **STAR)
    right = at > 0.6 * len(trials)
    ax.annotate(
        number(value, 4),
        (at, value),
        # the staircase comes from the left at another height, and goes on to the right at this one
        xytext=(-9, 0) if right else (9, -9 if goal.rising else 9),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontweight="bold",
        zorder=6,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
    )
    ax.set(title="every trial, and the best so far", xlabel="trial", ylabel=goal.column)
    ax.set_xlim(-0.7, max(len(trials) - 0.3, 1))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _plot_curves(ax: Axes, trials: Sequence[Trial], goal: Goal, limits: _Limits) -> None:
    """The value after each epoch; pruned trials end in a ring."""
    limits.set(ax)
    top = best(trials)
    for t in sorted(trials, key=lambda t: t is top):
        if not t.curve or t.state == FAILED:
            continue
        epochs = list(t.curve)
        values = [goal.cost(c) for c in t.curve.values()]
        cut, is_best = t.state == PRUNED or (t.stopped and t is not top), t is top
        colour = VALIDATION if is_best else GREY if cut else TRAIN
        ax.plot(epochs, values, color=colour, linewidth=2.2 if is_best else 0.9,
                alpha=1.0 if is_best else 0.65, zorder=4 if is_best else 2)  # fmt: skip
        inside = limits.low <= values[-1] <= limits.high
        if inside and not is_best:
            ax.plot(
                epochs[-1],
                values[-1],
                **{**(PRUNED_STYLE if cut else FINISHED_STYLE), "markersize": 4.5},
            )
        if is_best:
            ax.plot(t.epoch, goal.cost(t.cost or 0.0), color=VALIDATION, **STAR)
    ax.set(title="how far each was trained", xlabel="epoch")
    ax.tick_params(labelleft=False)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _plot_key(ax: Axes, key: str, trials: Sequence[Trial], goal: Goal, limits: _Limits) -> None:
    """The value over one key: a number on its own axis, words side by side."""
    limits.set(ax)
    best_trial = best(trials)
    known = [t for t in trials if key in t.values]
    numbers = parse_numbers([t.values[key] for t in known])
    if numbers is None:
        words = sorted({t.values[key] for t in known})
        numbers = [float(words.index(t.values[key])) for t in known]
        ax.set_xticks(range(len(words)), [short(_format_value(w), 14) for w in words])
        ax.set_xlim(-0.6, len(words) - 0.4)
    elif min(numbers) > 0 and max(numbers) / min(numbers) > 2 * LOG_RATIO:
        pad = (max(numbers) / min(numbers)) ** 0.06
        low, high = min(numbers) / pad, max(numbers) * pad
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        log_ticks(ax.xaxis, low, high)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    for state, look in ((FINISHED, FINISHED_STYLE), (PRUNED, PRUNED_STYLE)):
        at = [i for i, t in enumerate(known) if t.state == state]
        values = [goal.cost(known[i].cost or 0.0) for i in at]
        limits.plot(ax, [numbers[i] for i in at], values, look)
    for x, t in zip(numbers, known, strict=True):
        if t is best_trial:
            ax.plot(x, goal.cost(t.cost or 0.0), color=VALIDATION, **STAR)
    if not known:
        empty(ax, "no trial with a value")
    ax.set_xlabel(key)


def _format_value(text: str) -> str:
    numbers = parse_numbers([text])
    return number(numbers[0], 4) if numbers else text


def _search_name(asked: Mapping[str, Any]) -> str:
    names = {"tpe": "TPE search", "random": "Random search", "halving": "Successive halving"}
    return names.get(str(asked.get("sweep", {}).get("search")), "Search")


def _legend_handles(pruned: int, failed: int, limits: _Limits) -> list[Line2D]:
    done = {**FINISHED_STYLE, "label": "trained to its end"}
    out = [Line2D([], [], **done)]
    if pruned:
        out.append(Line2D([], [], **{**PRUNED_STYLE, "label": "ended early"}))
    if limits.beyond:
        edge = {**MARKER_STYLE, "marker": "v" if limits.rising else "^", "color": GREY}
        out.append(Line2D([], [], **{**edge, "label": "beyond the axis"}))
    if failed:
        out.append(Line2D([], [], **{**FAILED_STYLE, "label": "failed"}))
    out.append(Line2D([], [], color=VALIDATION, label="best so far"))
    out.append(Line2D([], [], color=VALIDATION, label="best", **STAR))
    return out
