"""Recommend a model for each use, in sentences with the numbers that decide it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from genai_cli.comparison.choose import TableCell, sampler_settings
from genai_cli.comparison.numbers import format_interval, format_value
from genai_cli.comparison.rank import EXACT, Ranking, alike, rankings
from genai_cli.comparison.rows import Row, Section
from genai_cli.evaluation.measures import BY_NAME

COPIED = 0.01  # p below which samples are called suspiciously close to training examples
LIKELIHOODS = ("likelihood/bits_per_dim", "likelihood/nats", "likelihood/elbo")
OTHERS = 3  # rows named beside the best


def sentences(section: Section) -> list[str]:
    """Yield one or two sentences for each measured use; of a single row a description."""
    rows = section.rows
    if len(rows) == 1:
        return [text] if (text := _description(rows[0], section)) else []
    out: list[str] = []
    for part in (
        _likelihood, _reconstruction, _samples, _diversity, _memorisation, _speed, _trade, _cost,
        _prediction,
    ):  # fmt: skip
        out += part(rows)
    return out


def _named(row: Row) -> str:
    return f"{row.label} ({row.seeds} seeds)" if row.seeds > 1 else row.label


def _value(name: str, cell: TableCell) -> str:
    """``1.88 bits/dim (1.86–1.91)``."""
    assert cell.value is not None
    number, space, interval = format_interval(cell.value, cell.low, cell.high).partition(" (")
    unit = "bits/dim" if name == "likelihood/bits_per_dim" else BY_NAME[name].unit
    return f"{number}{' ' + unit if unit else ''}{space}{interval}"


def _list(rows: Sequence[Row], ranking: Ranking) -> str:
    return _each(rows, ranking, _value)


def _ties(ranking: Ranking) -> str:
    """``; not distinguishable: a, b``, or the second where all can be told apart."""
    tied = ranking.tied
    top = ranking.cell(ranking.best)
    if len(ranking.rows) > 1 and top.low is None and ranking.name not in EXACT and not tied:
        return f" without an interval; then {_list(ranking.rows[1:2], ranking)}"
    if tied:
        return f"; not distinguishable: {_list(tied, ranking)}"
    if len(ranking.rows) > 1:
        return f"; next: {_list(ranking.rows[1:2], ranking)}"
    return ""


def _first(rows: Sequence[Row], name: str) -> Ranking | None:
    """The ranking of most rows, if it ranks anything."""
    made = rankings(rows, name)
    return made[0] if made and len(made[0].rows) > 1 else None


def _elsewhere(rows: Sequence[Row], name: str) -> str:
    made = rankings(rows, name)
    left = [_named(row) for other in made[1:] for row in other.rows]
    return f" (not compared, on another ruler: {', '.join(left)})" if left else ""


def _best(rows: Sequence[Row], name: str, title: str, more: str = "") -> Iterator[str]:
    ranking = _first(rows, name)
    if ranking is not None:
        value = _value(name, ranking.cell(ranking.best))
        yield (
            f"{title}: {_named(ranking.best)}, {value}{more}{_ties(ranking)}"
            f"{_elsewhere(rows, name)}."
        )


def _likelihood(rows: Sequence[Row]) -> Iterator[str]:
    counted = {n: sum(len(r.rows) for r in rankings(rows, n)[:1]) for n in LIKELIHOODS}
    name = max(LIKELIHOODS, key=lambda n: counted[n])  # of equals the first
    made = rankings(rows, name)
    if not made:
        return
    ranking = made[0]
    best, rest = ranking.best, ranking.rows[1:]
    cell = ranking.cell(best)
    if not rest and len(made) == 1:
        yield f"Likelihood: only {_named(best)} has one, {_bounded(name, cell)}."
        return
    if not rest:
        yield "Best likelihood: not decided; no two were measured on one ruler."
        return
    kinds = {ranking.cell(row).bound for row in ranking.rows}
    say = _bounded if len(kinds) > 1 or not cell.bound else _value  # "bound" once if all are
    title = "Best likelihood" if say is _bounded else "Best likelihood, by its bound"
    text = f"{title}: {_named(best)}, {'' if say is _bounded else 'at most '}{say(name, cell)}"
    tied = ranking.tied
    if tied:
        text += "; not distinguishable: " + _each(tied, ranking, say)
    others = [row for row in rest if row not in tied]
    if others:
        text += "; " + _each(others, ranking, say)
    if len(kinds) > 1 and cell.bound:
        text += "; the bound already lies below the exact values"
    elif True in kinds:
        text += "; of a bound, the true number may be lower"
    yield f"{text}{_elsewhere(rows, name)}."


def _bounded(name: str, cell: TableCell) -> str:
    kind = cell.player.get("likelihood")
    if kind == "bound":
        return f"at most {_value(name, cell)} (bound)"
    return f"{_value(name, cell)}{', exact' if kind == 'exact' else ''}"


def _each(rows: Sequence[Row], ranking: Ranking, say: Callable[[str, TableCell], str]) -> str:
    """``a 0.1, b 0.2, 3 more``."""
    parts = [f"{_named(r)} {say(ranking.name, ranking.cell(r))}" for r in rows[:OTHERS]]
    more = [f"{len(rows) - OTHERS} more"] if len(rows) > OTHERS else []
    return ", ".join(parts + more)


def _reconstruction(rows: Sequence[Row]) -> Iterator[str]:
    """The best at each bottleneck, beside PCA with as many numbers."""
    name = "reconstruction/mse"
    by_size: dict[str, list[Row]] = {}
    for row in rows:
        cell = row.cells.get(name)
        if cell is not None and cell.value is not None:
            by_size.setdefault(str(row.run.config.get("bottleneck")), []).append(row)
    for size, members in sorted(by_size.items(), key=lambda kv: (len(kv[0]), kv[0])):
        where = "" if size == "None" else f" at bottleneck {size}"
        for ranking in rankings(members, name)[:1]:
            cell = ranking.cell(ranking.best)
            if len(ranking.rows) == 1:
                title = f"Reconstruction{where}: only {_named(ranking.best)}"
            else:
                title = f"Best reconstruction{where}: {_named(ranking.best)}"
            value = f"MSE {_value(name, cell)}{_ties(ranking)}{_beside(cell)}"
            yield f"{title}, {value}{_elsewhere(members, name)}."


def _beside(cell: TableCell) -> str:
    """The floor behind a number: ``; PCA with 8 components is better, 0.0236``, or not."""
    if not cell.floor:
        return ""
    value, low, high = (cell.floor.get(key) for key in ("value", "low", "high"))
    what = cell.floor.get("what", "the floor")
    floor = TableCell(value, low, high, cell.n)
    if alike(cell, floor):
        return f"; {what} {format_value(value)}, not distinguishable"
    better = cell.value is not None and value < cell.value
    return f"; {what} {'is better' if better else 'is worse'}, {format_value(value)}"


def _samples(rows: Sequence[Row]) -> Iterator[str]:
    ranking = _first(rows, "samples/frechet")
    if ranking is None:
        return
    cell = ranking.cell(ranking.best)
    features = cell.ruler.get("extractor")
    more = f" in the features of '{features}'" if features else ""
    if cell.floor:
        what = cell.floor.get("what", "real data")
        more += f" ({what}: {format_value(cell.floor['value'])})"
    yield from _best(rows, "samples/frechet", "Best samples", f" Fréchet distance{more}")


def _diversity(rows: Sequence[Row]) -> Iterator[str]:
    for name, what in (("samples/recall", "recall"), ("samples/coverage", "coverage")):
        yield from _best(rows, name, f"Most diverse by {what}")
    name = "samples/classes"
    ranking = _first(rows, name)
    if ranking is not None:
        floor = ranking.cell(ranking.best).floor
        real = floor["value"] if floor else ranking.cell(ranking.best).value
        full = TableCell(real, None, None, 0)
        poor = [r for r in reversed(ranking.rows) if not alike(ranking.cell(r), full)]
        if poor:
            names = _list(poor, ranking)
            yield f"Classes missing in samples, of {format_value(real)} there are: {names}."


def _memorisation(rows: Sequence[Row]) -> Iterator[str]:
    name = "memorisation/p"
    known = [r for r in rows if name in r.cells and r.cells[name].value is not None]
    copied = [r for r in known if r.cells[name].value < COPIED]
    for row in copied:
        p = row.cells[name].value
        value = "< .001" if p < 0.001 else f"= {p:.3f}"
        yield (
            f"Warning: {_named(row)} may copy training examples, or draw what is smoother than any:"
            f" its samples lie closer to them than test examples do (p {value});"
            " look at closest_pairs.png."
        )
    if known and not copied:
        least = min(known, key=lambda r: r.cells[name].value)
        yield (
            f"No sign of copied training examples (smallest p = {least.cells[name].value:.2f},"
            f" {_named(least)})."
        )


def _speed(rows: Sequence[Row]) -> Iterator[str]:
    yield from _best(rows, "speed/many", "Most samples a second")


def _trade(rows: Sequence[Row]) -> Iterator[str]:
    """The fastest of those whose samples are not told apart from the best."""
    quality, speed = _first(rows, "samples/frechet"), _first(rows, "speed/many")
    if quality is None or speed is None:
        return
    able = [
        row
        for row in (quality.best, *quality.tied)
        if row in speed.rows
        and sampler_settings(quality.cell(row).player) == sampler_settings(speed.cell(row).player)
    ]
    if not able:
        return
    row = max(able, key=lambda r: speed.cell(r).value or 0.0)
    rate = _value(speed.name, speed.cell(row))
    if row is quality.best:
        remark = (
            "no faster one has samples as good" if row is not speed.best else "also the fastest"
        )
        apart = _elsewhere(rows, quality.name)
        yield f"Best trade-off: {_named(row)}, best samples at {rate}; {remark}{apart}."
    else:
        slow = quality.best
        beside = f" against {_value(speed.name, speed.cell(slow))}" if slow in able else ""
        yield (
            f"Best trade-off: {_named(row)}, Fréchet {_value(quality.name, quality.cell(row))} not"
            f" distinguishable from the best ({_named(slow)}), at {rate}{beside}"
            f"{_elsewhere(rows, quality.name)}."
        )


def _cost(rows: Sequence[Row]) -> Iterator[str]:
    for kind in (False, True):
        members = [row for row in rows if row.run.predicts is kind]
        yield from _best(members, "cost/seconds", "Least time of training")


def _prediction(rows: Sequence[Row]) -> Iterator[str]:
    yield from _best(rows, "prediction/accuracy", "Best accuracy")
    yield from _best(rows, "prediction/r2", "Best R²")
    if _first(rows, "prediction/r2") is None:
        yield from _best(rows, "prediction/mse", "Smallest error")


def _description(row: Row, section: Section) -> str:
    """One row alone: its numbers, nothing to compare them with."""
    parts = []
    for name in section.columns:
        cell = row.cells.get(name)
        if cell is None or cell.value is None or name.startswith(("cost/", "memorisation/")):
            continue
        label = BY_NAME[name].label
        if name.startswith("likelihood/"):
            value = _bounded(name, cell)
            parts.append(value if label == "bits/dim" else f"{label} {value}")
        else:
            floor = cell.floor
            beside = f" ({floor.get('what')}: {format_value(floor['value'])})" if floor else ""
            parts.append(f"{label} {_value(name, cell)}{beside}")
    if not parts:
        return ""
    return f"{_named(row)} on {section.dataset}: {'; '.join(parts)}. Nothing to compare it with."
