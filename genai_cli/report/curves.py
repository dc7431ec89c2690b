"""Lay out loss curves from the rows of metrics.csv; curves.html draws them as SVG.

Colour is never alone: each line carries its name, and validation is dashed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from genai_cli.system.text import format_number

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 112, 26, 40  # inside the frame: tick labels, names of the lines
COLUMNS = 250  # pixels a line has; a longer run is thinned to the extremes of each
MOST_TERMS = 6
LOG_FROM = 20  # largest over smallest value from which the axis is logarithmic
TABLE_ROWS = 40
HUGE = 1e200
NAMES = {"lr": "learning rate", "kl": "KL", "d_real": "D(x), real", "d_fake": "D(G(z)), generated"}
SERIES = ("one", "two", "three", "four", "five", "six")  # colours of report.css

Point = tuple[float, float]
Scale = Callable[[float], float]


class CurveLine(NamedTuple):
    """One curve."""

    label: str  # at its end
    side: str  # before its last value: "val." where the label alone does not say it
    colour: str  # of SERIES
    dashed: bool
    points: list[Point]  # (epoch, value), finite ones and nan for gaps


class CurvePanel(NamedTuple):
    """One chart in pixels of its frame; without a finite value all lists are empty."""

    ident: str  # unique on the page
    title: str
    right: int = 0  # end of the axes
    log: bool = False
    grid: Sequence[tuple[float, str]] = ()  # (y, label)
    ticks: Sequence[tuple[float, str]] = ()  # (x, label)
    lines: Sequence[tuple[CurveLine, str]] = ()  # with the path's d
    dots: Sequence[tuple[CurveLine, Point]] = ()  # points without a neighbour
    names: Sequence[tuple[str, str, str, float]] = ()  # (label, last value, colour, y)
    best: tuple[str, Point, str, Point, str] | None = None  # (colour, ring, label, its end, side)
    description: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM


class Curves(NamedTuple):
    """The panels of a run and their numbers as a table."""

    panels: list[CurvePanel]
    caption: str
    head: list[str]
    rows: list[list[str]]


def loss_panels(
    rows: list[dict[str, float]], best: float | None = None, prefix: str = "c"
) -> Curves | None:
    """Return panels of the loss and up to six further terms; None before the first epoch.

    Args:
        rows: of metrics.csv.
        best: the epoch whose weights were kept.
        prefix: of the ids, unique on the page.
    """
    terms = _lines(rows)
    if not terms:
        return None
    names = ["loss", *[t for t in terms if t != "loss"][:MOST_TERMS]]
    lr = [(r["epoch"], r["lr"]) for r in rows if "lr" in r]
    if len({value for _, value in lr}) > 1:
        terms["lr"] = [CurveLine("", "", "three", False, lr)]
        names.append("lr")
    panels = [
        lay_out_panel(f"{prefix}{i}", NAMES.get(term, term.replace("_", " ")), terms[term],
              best if term == "loss" else None)
        for i, term in enumerate(t for t in names if t in terms)
    ]  # fmt: skip
    return Curves(panels, *_table(rows))


def lay_out_panel(
    ident: str, title: str, lines: list[CurveLine], best: float | None = None, margin: int = RIGHT
) -> CurvePanel:
    """Return one chart: axes, curves, names at their ends, for which ``margin`` is kept free."""
    every = [p for line in lines for p in line.points if _finite(p[1])]
    if not every:
        return CurvePanel(ident, title)
    right = WIDTH - margin
    xs, ys = [p[0] for p in every], [p[1] for p in every]
    log = min(ys) > 0 and max(ys) / min(ys) >= LOG_FROM
    scale = math.log10 if log else float
    low, high = scale(min(ys)), scale(max(ys))
    pad = 0.06 * (high - low) or 0.05 * max(abs(high), 1e-12)
    low, high = low - pad, high + pad
    first, last = min(xs), max(xs)
    if first == last:
        first, last = first - 0.5, last + 0.5

    def x_of(value: float) -> float:
        return LEFT + (value - first) / (last - first) * (right - LEFT)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (scale(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    paths, dots, ends = [], [], []
    for line in lines:
        for piece in _pieces(line.points):
            thin = [(round(x_of(a), 1), round(y_of(b), 1)) for a, b in thinned(piece, first, last)]
            if len(thin) == 1:
                dots.append((line, thin[0]))
            else:
                paths.append((line, "M" + "L".join(f"{a},{b}" for a, b in thin)))
        finite = [p for p in line.points if _finite(p[1])]
        if finite and line.label:
            ends.append((y_of(finite[-1][1]), line, finite[-1][1]))
    marks = _log_ticks(low, high) if log else ticks(low, high, 5)
    epochs = sorted({round(v) for v in ticks(min(xs), max(xs), 4)})
    return CurvePanel(
        ident,
        title,
        right,
        log,
        [(round(y_of(value), 1), _tick(value)) for value in marks],
        [(round(x_of(v), 1), f"{v:,}") for v in epochs if min(xs) <= v <= max(xs)],
        paths,
        dots,
        _names(ends, round((margin - 7) / 7.7)),
        None if best is None else _best(lines, best, x_of, y_of),
        "; ".join(
            f"{line.label or title} {line.side} from {format_number(values[0])} to "
            f"{format_number(values[-1])}, lowest {format_number(min(values))}"
            for line in lines
            if (values := [v for _, v in line.points if _finite(v)])
        ),
    )


def _lines(rows: list[dict[str, float]]) -> dict[str, list[CurveLine]]:
    """Return term → its curves. One player: training and validation have a colour each. Several:
    the player has it, and validation is dashed."""
    split = [k.split("/") for k in dict.fromkeys(k for row in rows for k in row)]
    known = [s for s in split if s[0] in ("train", "val") and 2 <= len(s) <= 3]
    players = list(dict.fromkeys(s[1] for s in known if len(s) == 3))
    terms: dict[str, list[CurveLine]] = {}
    for words in known:
        key, term = "/".join(words), words[-1]
        points = [(r["epoch"], _value(r.get(key))) for r in rows]
        if not any(_finite(v) for _, v in points):
            continue
        side = "training" if words[0] == "train" else "validation"
        label, colour, short_side = side, SERIES[words[0] == "val"], ""
        if len(words) == 3:
            label, short_side = words[1], "val." if words[0] == "val" else "train"
            colour = SERIES[(players.index(words[1]) + 2) % len(SERIES)]
        terms.setdefault(term, []).append(
            CurveLine(label, short_side, colour, words[0] == "val", points)
        )
    return terms


def _value(value: float | None) -> float:
    return value if value is not None and abs(value) < HUGE else math.nan


def _finite(value: float) -> bool:
    return math.isfinite(value) and abs(value) < HUGE


def _pieces(points: list[Point]) -> list[list[Point]]:
    """Return the runs of finite points: a gap stays a gap."""
    pieces: list[list[Point]] = [[]]
    for point in points:
        if _finite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [p for p in pieces if p]


def thinned(points: list[Point], first: float, last: float) -> list[Point]:
    """Return the points that a line of `COLUMNS` pixels can show: of each column the first, the
    lowest, the highest and the last, so that no spike is lost."""
    if len(points) <= 4 * COLUMNS // 2:
        return points
    columns: dict[int, list[Point]] = {}
    for point in points:
        at = int((point[0] - first) / max(last - first, 1e-12) * COLUMNS)
        columns.setdefault(at, []).append(point)
    kept: list[Point] = []
    for group in columns.values():
        low, high = min(group, key=lambda p: p[1]), max(group, key=lambda p: p[1])
        kept += sorted({group[0], low, high, group[-1]})
    return kept


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers in [low, high]: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * (1 - 1e-9))
    start = math.ceil(low / step - 1e-9)
    stop = math.floor(high / step + 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(start, stop + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten between 10^low and 10^high, with 2 and 5 where they are few."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    few = high - low < 3
    steps = [m * 10.0**p for p in powers for m in ((1, 2, 5) if few else (1,))]
    inside = [s for s in steps if low <= math.log10(s) <= high]
    return inside[:: -(-len(inside) // 7)] if inside else [10**low, 10**high]


def _tick(value: float) -> str:
    """Format the label of a tick without trailing zeros."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6 and len(f"{value:,.6f}".rstrip("0")) < 9:
        return f"{value:,.6f}".rstrip("0").rstrip(".").replace("-", "−")
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}".replace("-", "−")


def _ending(value: float) -> str:
    """Format the last value of a line, short enough for the margin."""
    text = format_number(value)
    return _tick(value) if "e" in text or len(text) > 7 else text


def _names(
    ends: list[tuple[float, CurveLine, float]], most: int
) -> list[tuple[str, str, str, float]]:
    """Return the names of lines with their last values, pushed apart so that none covers another;
    a name has at most ``most`` characters."""
    apart, placed = 28.0, []
    ends.sort(key=lambda e: e[0])
    low, high = TOP + 6, HEIGHT - BOTTOM - 14
    ys = [min(max(y, low), high) for y, _, _ in ends]
    for i in range(1, len(ys)):
        ys[i] = max(ys[i], ys[i - 1] + apart)
    if ys and ys[-1] > high:  # no room below: push up
        ys[-1] = high
        for i in range(len(ys) - 2, -1, -1):
            ys[i] = min(ys[i], ys[i + 1] - apart)
    for y, (_, line, value) in zip(ys, ends, strict=True):
        label = line.label if len(line.label) <= most else f"{line.label[: most - 1]}…"
        last = f"{line.side} {_ending(value)}".strip()
        placed.append((label, last, line.colour, round(y + 1, 1)))
    return placed


def _best(
    lines: list[CurveLine], best: float, x_of: Scale, y_of: Scale
) -> tuple[str, Point, str, Point, str] | None:
    """Return the mark of the epoch whose weights were kept, if the validation line has it."""
    line = next((x for x in lines if x.dashed), lines[0])
    value = next((v for e, v in line.points if e == best and _finite(v)), None)
    if value is None:
        return None
    x, y = round(x_of(best), 1), round(y_of(value), 1)
    end = x > (LEFT + WIDTH) / 2.3
    label_y = y - 10 if y - 10 > TOP + 12 else y + 22
    label, anchor = f"best: epoch {best:,.0f}", "end" if end else "start"
    return line.colour, (x, y), label, (x + (4 if end else -4), label_y), anchor


def _table(rows: list[dict[str, float]]) -> tuple[str, list[str], list[list[str]]]:
    """Return caption, head and rows of the same numbers as a table, thinned where they are many."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    columns = ["epoch", *[c for c in columns if c not in ("epoch", "step", "images")]]
    step = max(1, -(-len(rows) // TABLE_ROWS))
    kept = [r for i, r in enumerate(rows) if i % step == 0 or i == len(rows) - 1]
    body = [
        [f"{row['epoch']:g}", *(format_number(row[c]) if c in row else "–" for c in columns[1:])]
        for row in kept
    ]
    every = "every epoch" if step == 1 else f"one epoch in {step}, all in metrics.csv"
    return f"The numbers of the curves: {every}.", columns, body
