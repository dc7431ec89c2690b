"""Loss curves as inline SVG, from the rows of metrics.csv: sharp at any size, in either theme.

Colour is never alone: each line carries its name, and validation is dashed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from genai_cli.report.markup import Html, details, el, escaped, join, table
from genai_cli.report.sheet import SERIES
from genai_cli.system.text import short

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 112, 26, 40  # inside the frame: tick labels, names of the lines
COLUMNS = 250  # pixels a line has; a longer run is thinned to the extremes of each
MOST_TERMS = 6
LOG_FROM = 20  # largest over smallest value from which the axis is logarithmic
TABLE_ROWS = 40
HUGE = 1e200
NAMES = {"lr": "learning rate", "kl": "KL", "d_real": "D(x), real", "d_fake": "D(G(z)), generated"}

Point = tuple[float, float]


class Line(NamedTuple):
    """One curve."""

    label: str  # at its end
    side: str  # before its last value: "val." where the label alone does not say it
    colour: str  # of sheet.SERIES
    dashed: bool
    points: list[Point]  # (epoch, value), finite ones and nan for gaps


def loss_panels(
    rows: list[dict[str, float]], unit: str = "", best: float | None = None, prefix: str = "c"
) -> Html:
    """Panels of the loss and up to six further terms, and their numbers as a table.

    Args:
        rows: of metrics.csv.
        unit: of the loss, as words for its axis.
        best: the epoch whose weights were kept.
        prefix: of the ids, unique on the page.
    """
    found = _lines(rows)
    if not found:
        return Html("")
    terms = ["loss", *[t for t in found if t != "loss"][:MOST_TERMS]]
    lr = [(r["epoch"], r["lr"]) for r in rows if "lr" in r]
    if len({value for _, value in lr}) > 1:
        found["lr"] = [Line("", "", "three", False, lr)]
        terms.append("lr")
    panels = []
    for i, term in enumerate(t for t in terms if t in found):
        name = NAMES.get(term, term.replace("_", " "))
        if term == "loss" and unit:
            name = f"loss ({unit})"
        mark = best if term == "loss" else None
        panels.append(el("figure", chart(f"{prefix}{i}", name, found[term], mark), class_="chart"))
    return join(el("div", *panels, class_="charts"), _numbers(rows))


def chart(
    ident: str, title: str, lines: list[Line], best: float | None = None, right: int = RIGHT
) -> Html:
    """One panel: axes, curves, names at their ends, for which ``right`` is kept free.

    ``ident`` is unique on the page.
    """
    every = [p for line in lines for p in line.points if _finite(p[1])]
    if not every:
        return el("p", f"{title}: no finite value", class_="soft")
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
        return LEFT + (value - first) / (last - first) * (WIDTH - LEFT - right)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (scale(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [el("text", title + (", log axis" if log else ""), x=0, y=13)]
    for value in _log_ticks(low, high) if log else ticks(low, high, 5):
        y = round(y_of(value), 1)
        parts.append(el("line", x1=LEFT, x2=WIDTH - right, y1=y, y2=y, class_="grid"))
        label = {"x": LEFT - 6, "y": y + 4, "text_anchor": "end", "class_": "tick"}
        parts.append(el("text", _plain(value), **label))
    for value in sorted({round(v) for v in ticks(min(xs), max(xs), 4)}):
        if min(xs) <= value <= max(xs):
            label = {"x": round(x_of(value), 1), "y": HEIGHT - BOTTOM + 17, "class_": "tick"}
            parts.append(el("text", f"{value:,}", text_anchor="middle", **label))
    middle = {"x": (LEFT + WIDTH - right) / 2, "y": HEIGHT - 6, "text_anchor": "middle"}
    parts.append(el("text", "epoch", class_="tick", **middle))

    ends = []
    for line in lines:
        for piece in _pieces(line.points):
            thin = [(round(x_of(a), 1), round(y_of(b), 1)) for a, b in thinned(piece, first, last)]
            look = {"class_": f"curve s-{line.colour}"}
            if len(thin) == 1:  # no neighbour: a line would not be seen
                dot = {"cx": thin[0][0], "cy": thin[0][1], "r": 2.6}
                parts.append(el("circle", class_=f"f-{line.colour}", **dot))
                continue
            d = "M" + "L".join(f"{a},{b}" for a, b in thin)
            parts.append(el("path", d=d, stroke_dasharray="6 4" if line.dashed else None, **look))
        finite = [p for p in line.points if _finite(p[1])]
        if finite and line.label:
            ends.append((y_of(finite[-1][1]), line, finite[-1][1]))
    parts += _names(ends, WIDTH - right + 7, round((right - 7) / 7.7))
    if best is not None:
        parts += _best(lines, best, x_of, y_of)
    described = "; ".join(
        f"{line.label or title} {line.side} from {short(own[0])} to {short(own[-1])}, "
        f"lowest {short(min(own))}"
        for line in lines
        if (own := [v for _, v in line.points if _finite(v)])
    )
    told = f"{title} against the epoch. {described}."
    named = {"role": "img", "aria_labelledby": f"{ident}-t {ident}-d"}
    return el(
        "svg",
        el("title", title, id=f"{ident}-t"),
        el("desc", told, id=f"{ident}-d"),
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        **named,
    )


def _lines(rows: list[dict[str, float]]) -> dict[str, list[Line]]:
    """Term → its curves. One player: training and validation have a colour each. Several: the
    player has it, and validation is dashed."""
    split = [k.split("/") for k in dict.fromkeys(k for row in rows for k in row)]
    known = [s for s in split if s[0] in ("train", "val") and 2 <= len(s) <= 3]
    players = list(dict.fromkeys(s[1] for s in known if len(s) == 3))
    found: dict[str, list[Line]] = {}
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
        found.setdefault(term, []).append(
            Line(label, short_side, colour, words[0] == "val", points)
        )
    return found


def _value(value: float | None) -> float:
    return value if value is not None and abs(value) < HUGE else math.nan


def _finite(value: float) -> bool:
    return math.isfinite(value) and abs(value) < HUGE


def _pieces(points: list[Point]) -> list[list[Point]]:
    """Runs of finite points: a gap stays a gap."""
    pieces: list[list[Point]] = [[]]
    for point in points:
        if _finite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [p for p in pieces if p]


def thinned(points: list[Point], first: float, last: float) -> list[Point]:
    """The points a line of `COLUMNS` pixels can show: of each column the first, the lowest, the
    highest and the last, so that no spike is lost."""
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
    """Round numbers in [low, high]: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * (1 - 1e-9))
    start = math.ceil(low / step - 1e-9)
    stop = math.floor(high / step + 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(start, stop + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between 10^low and 10^high, with 2 and 5 where they are few."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    few = high - low < 3
    steps = [m * 10.0**p for p in powers for m in ((1, 2, 5) if few else (1,))]
    inside = [s for s in steps if low <= math.log10(s) <= high]
    return inside[:: -(-len(inside) // 7)] if inside else [10**low, 10**high]


def _plain(value: float) -> str:
    """A tick's label: no trailing zeros."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6 and len(f"{value:,.6f}".rstrip("0")) < 9:
        return f"{value:,.6f}".rstrip("0").rstrip(".").replace("-", "−")
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}".replace("-", "−")


def _ending(value: float) -> str:
    """A line's last value, short enough for the margin."""
    text = short(value)
    return _plain(value) if "e" in text or len(text) > 7 else text


def _names(ends: list[tuple[float, Line, float]], x: float, most: int) -> list[Html]:
    """The lines' names with their last values, pushed apart so that none covers another."""
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
        at = {"x": x}
        label = line.label if len(line.label) <= most else f"{line.label[: most - 1]}…"
        placed.append(el("text", label, y=round(y + 1, 1), class_=f"t-{line.colour}", **at))
        placed.append(
            el(
                "text",
                f"{line.side} {_ending(value)}".strip(),
                y=round(y + 15, 1),
                class_="tick",
                **at,
            )
        )
    return placed


def _best(lines: list[Line], best: float, x_of, y_of) -> list[Html]:  # type: ignore[no-untyped-def]
    """A ring at the epoch whose weights were kept."""
    line = next((x for x in lines if x.dashed), lines[0])
    value = next((v for e, v in line.points if e == best and _finite(v)), None)
    if value is None:
        return []
    x, y = round(x_of(best), 1), round(y_of(value), 1)
    end = x > (LEFT + WIDTH) / 2.3
    above = y - 10 > TOP + 12
    text = {"x": x + (4 if end else -4), "y": y - 10 if above else y + 22, "class_": "tick halo"}
    ring = el("circle", cx=x, cy=y, r=4.5, class_=f"curve s-{line.colour}")
    said = f"best: epoch {best:,.0f}"
    return [ring, el("text", said, text_anchor="end" if end else "start", **text)]


def _numbers(rows: list[dict[str, float]]) -> Html:
    """The same numbers as a table, thinned where they are many."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    columns = ["epoch", *[c for c in columns if c not in ("epoch", "step", "images")]]
    step = max(1, -(-len(rows) // TABLE_ROWS))
    shown = [r for i, r in enumerate(rows) if i % step == 0 or i == len(rows) - 1]
    body = [
        [f"{row['epoch']:g}", *(short(row[c]) if c in row else "–" for c in columns[1:])]
        for row in shown
    ]
    every = "every epoch" if step == 1 else f"one epoch in {step}, all in metrics.csv"
    heads = [escaped(c) for c in columns]
    shown_table = table(f"The numbers of the curves: {every}.", heads, body, left=())
    return details("The curves as a table", shown_table, class_="screen")
