"""Metrics with their intervals, floors and passports, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_cli.evaluation.measures import BY_NAME, GROUPS, Measure
from genai_cli.report.facts import Facts, mapping, number
from genai_cli.report.markup import Html, details, el, join, table
from genai_cli.system.text import short

HEADLINES = (  # what stands in large type, if it was measured: the first six
    "prediction/accuracy",
    "prediction/r2",
    "prediction/mse",
    "reconstruction/mse",
    "likelihood/bits_per_dim",
    "likelihood/nats",
    "samples/frechet",
    "samples/energy",
    "samples/recall",
    "samples/coverage",
    "speed/many",
    "test/accuracy",
    "test/bits_per_dim",
    "test/mse",
    "test/loss",
)
TILES = 6
TITLES = {
    "reconstruction": "Reconstruction",
    "likelihood": "Likelihood",
    "samples": "Samples",
    "memorisation": "Memorisation",
    "prediction": "Prediction",
    "speed": "Speed",
    "cost": "Cost",
    "test": "At the end of training",
}
MEANS = {  # of the numbers in summary.json, which bear the names of the families' own terms
    "loss": "the training objective, on the test split",
    "mse": "squared error an element",
    "mae": "absolute error",
    "bits_per_dim": "−log₂ P an element",
    "kl": "nats the code carries",
    "reconstruction": "the reconstruction term of the loss",
    "active_units": "numbers of the code that vary with the input",
    "accuracy": "share of right classes",
    "nll": "−log p",
    "d_real": "belief that real examples are real",
    "d_fake": "belief that samples are real",
    "r1": "gradient penalty on real examples",
}
LABELS = {
    "bits_per_dim": "bits/dim",
    "mse": "MSE",
    "mae": "MAE",
    "kl": "KL",
    "nll": "NLL",
    "r1": "R1",
    "d_real": "D(x)",
    "d_fake": "D(G(z))",
}
RULER = {  # fields of a passport in words
    "metric": "metric",
    "version": "version of its definition",
    "n": "examples",
    "reference_split_hash": "split of the data",
    "reference_n": "reference examples",
    "extractor": "features",
    "extractor_hash": "features' hash",
    "extractor_accuracy": "features' accuracy",
    "preprocessing": "preprocessing",
    "data_space": "data space",
    "sets": "fresh sample sets",
    "k": "neighbours",
    "ema": "weights",
    "checkpoint": "checkpoint",
    "seed": "seed",
    "draws": "draws of the noise",
    "batch": "batch size",
}


def measure(name: str) -> Measure:
    """The entry of the table of measures, or one made up for a family's own term."""
    if name in BY_NAME:
        return BY_NAME[name]
    *player, term = name.split("/")[1:] or [name]
    label = " ".join([*player, LABELS.get(term, term.replace("_", " "))])
    better: Any = {"accuracy": "higher", "r2": "higher"}.get(term)
    return Measure(name, label, "", better, MEANS.get(term, ""))


def value_text(name: str, entry: Mapping[str, Any]) -> str:
    """``≤ 3.259 bits``: a bound on −log p says that it is one."""
    value = number(entry.get("value"))
    if value is None:
        return "–"
    unit = measure(name).unit
    return f"{bound(entry)}{short(value)}{f' {unit}' if unit else ''}"


def bound(entry: Mapping[str, Any]) -> str:
    player = mapping(mapping(entry.get("passport")).get("player"))
    return "≤ " if player.get("likelihood") == "bound" else ""


def interval(entry: Mapping[str, Any]) -> str:
    """``2.614 – 4.069`` or nothing."""
    low, high = number(entry.get("low")), number(entry.get("high"))
    return "" if low is None or high is None else f"{short(low)} – {short(high)}"


def tiles(facts: Facts) -> Html:
    """The numbers to read first, from the newest evaluation that has them."""
    newest = newest_entries(facts)
    found = [n for n in HEADLINES if number(mapping(newest.get(n)).get("value")) is not None]
    measured = {n.split("/")[-1] for n in found if not n.startswith("test/")}
    chosen = [n for n in found if not n.startswith("test/") or n.split("/")[-1] not in measured]
    if any(not n.startswith("test/") for n in chosen):  # the loss says least of all
        chosen = [n for n in chosen if n != "test/loss"]
    return el("ul", *(_tile(n, newest[n]) for n in chosen[:TILES]), class_="tiles")


def newest_entries(facts: Facts) -> dict[str, Any]:
    """Name → entry, of summary.json and, over it, of the evaluations in their order."""
    entries = dict(mapping(facts.summary.get("metrics")))
    for _, evaluation in facts.evaluations:
        for name, entry in mapping(evaluation.get("metrics")).items():
            if number(mapping(entry).get("value")) is not None or name not in entries:
                entries[name] = entry
    return {n: e for n, e in entries.items() if isinstance(e, dict)}


def _tile(name: str, entry: Mapping[str, Any]) -> Html:
    m = measure(name)
    direction = {"lower": "lower is better", "higher": "higher is better"}.get(m.better or "", "")
    low_high = interval(entry)
    floor = mapping(entry.get("floor"))
    lines = [
        el("span", el("span", m.label), class_="what"),
        el(
            "span",
            f"{bound(entry)}{short(float(entry['value']))}",
            el("small", f" {m.unit}") if m.unit else "",
            class_="value",
        ),
        el("span", f"95 %: {low_high}", class_="small") if low_high else "",
    ]
    if number(floor.get("value")) is not None:
        said = f"{floor.get('what', 'floor')}: {short(float(floor['value']))}"
        lines.append(el("span", said, class_="small"))
    told = "; ".join(filter(None, [group_title(name).lower(), m.means, direction]))
    lines.append(el("span", told, class_="small soft"))
    return el("li", *lines, class_="tile")


def group_title(name: str) -> str:
    group = name.split("/")[0]
    return TITLES.get(group, group)


def tables(metrics: Mapping[str, Any], level: str = "h4") -> Html:
    """One table for each group of measures that has an entry, and below it how its numbers were
    measured."""
    entries = {n: e for n, e in metrics.items() if isinstance(e, dict)}
    order = [m.name for m in BY_NAME.values() if m.name in entries]
    order = list(dict.fromkeys([*order, *entries]))
    parts = []
    for group in dict.fromkeys([*GROUPS, *(n.split("/")[0] for n in order)]):
        own = [n for n in order if n.split("/")[0] == group]
        if not own:
            continue
        title = TITLES.get(group, group)
        rows = [_row(n, entries[n]) for n in own]
        heads = ("measure", "value", "95 % interval", "to hold it against", "why not")
        used = [i for i in range(len(heads)) if i < 2 or any(row[i] for row in rows)]
        head: list[object] = [heads[i] for i in used]
        body = [[row[i] for i in used] for row in rows]
        left = tuple(j for j, i in enumerate(used) if i in (0, 3, 4))
        parts += [
            el(level, title),
            table(f"{title}: values with intervals", head, body, left=left, hidden_caption=True),
            passports({n: entries[n] for n in own}),
        ]
    return join(*parts)


def _row(name: str, entry: Mapping[str, Any]) -> list[object]:
    """Measure, value, interval, floor, and why there is no value."""
    m = measure(name)
    arrow = {"lower": "↓", "higher": "↑"}.get(m.better or "")
    mark = join(
        Html(" "),
        el("span", arrow, aria_hidden="true"),
        el("span", f"({m.better} is better)", class_="away"),
    )
    told = join(el("br"), el("span", m.means, class_="small soft")) if m.means else ""
    what = join(m.label, mark if arrow else "", told)
    if number(entry.get("value")) is None:
        return [what, "–", "", "", str(entry.get("reason") or "not measured")]
    return [what, value_text(name, entry), interval(entry), _floor(entry), ""]


def _floor(entry: Mapping[str, Any]) -> object:
    floor = mapping(entry.get("floor"))
    if number(floor.get("value")) is None:
        return ""
    low_high = interval(floor)
    beside = [f"{low_high}, " if low_high else "", floor.get("what", "floor")]
    return join(short(float(floor["value"])), el("br"), el("span", *beside, class_="small soft"))


def passports(entries: Mapping[str, Mapping[str, Any]]) -> Html:
    """How numbers were measured: the ruler, which must agree before two are ranked, and the
    player, which is shown beside. What all share is said once, then what each has of its own."""
    held = {n: _fields(e) for n, e in entries.items()}
    held = {n: fields for n, fields in held.items() if fields}
    if not held:
        return Html("")
    first = next(iter(held.values()))
    shared = [
        (part, key, value)
        for (part, key), value in first.items()
        if all(fields.get((part, key)) == value for fields in held.values())
    ]
    parts: list[object] = []
    for part, title in (("ruler", "Ruler"), ("player", "Player")):
        pairs: list[tuple[object, object]] = [(k, v) for p, k, v in shared if p == part]
        if pairs:
            parts += [el("p", el("b", title), class_="tight"), pairs_list(pairs)]
    alone = []
    for name, fields in held.items():
        known = {(part, key) for part, key, _ in shared}
        words = [f"{field[1]} {v}" for field, v in fields.items() if field not in known]
        if words and len(held) > 1:
            alone.append((measure(name).label, "; ".join(words)))
    if alone:
        parts += [el("p", el("b", "Each one"), class_="tight"), pairs_list([*alone])]
    return details("How these were measured", *parts)


def _fields(entry: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """(ruler or player, field in words) → value in words."""
    held = mapping(entry.get("passport"))
    return {
        (part, RULER.get(k, k.replace("_", " "))): _word(k, v)
        for part in ("ruler", "player")
        for k, v in mapping(held.get(part)).items()
        if v is not None
    }


def pairs_list(pairs: list[tuple[object, object]]) -> Html:
    """Names and values as a description list."""
    items = [join(el("dt", k), el("dd", v)) for k, v in pairs]
    return el("dl", *items, class_="pairs")


def _word(key: str, value: Any) -> str:
    if key == "ema" and isinstance(value, bool):
        return "averaged (EMA)" if value else "raw"
    return plain(value)


def plain(value: Any) -> str:
    """A value of a config or passport as a reader writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items()) or "none"
    return str(value)
