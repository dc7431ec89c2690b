"""Put metrics into words, with their intervals, floors and passports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from genai_cli.evaluation.measures import BY_NAME, GROUPS, Measure
from genai_cli.report.facts import Facts, mapping, number
from genai_cli.system.text import format_number

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
    """Return the entry of the table of measures, or one made for a term of a family."""
    if name in BY_NAME:
        return BY_NAME[name]
    *player, term = name.split("/")[1:] or [name]
    label = " ".join([*player, LABELS.get(term, term.replace("_", " "))])
    better: Any = {"accuracy": "higher", "r2": "higher"}.get(term)
    return Measure(name, label, "", better, MEANS.get(term, ""))


class Number(NamedTuple):
    """A measured number in words; texts that are not there are ""."""

    measure: Measure  # label, unit, meaning, which way is better
    kind: str  # title of its group
    value: str = ""
    interval: str = ""  # 95 %
    floor: str = ""
    floor_interval: str = ""
    floor_name: str = ""
    reason: str = ""  # why there is no value


class MeasureGroup(NamedTuple):
    """The numbers of one kind and how they were measured."""

    title: str
    numbers: list[Number]
    passports: list[tuple[str, list[tuple[str, str]]]]  # (title, fields and values)


def number_in_words(name: str, entry: Mapping[str, Any]) -> Number:
    """Return the entry of a measure in words; a bound on −log p is marked with ≤."""
    value, kind = number(entry.get("value")), group_title(name)
    if value is None:
        return Number(measure(name), kind, reason=str(entry.get("reason") or "not measured"))
    player = mapping(mapping(entry.get("passport")).get("player"))
    bound = "≤ " if player.get("likelihood") == "bound" else ""
    words = Number(measure(name), kind, f"{bound}{format_number(value)}", interval(entry))
    floor = mapping(entry.get("floor"))
    low = number(floor.get("value"))
    if low is None:
        return words
    title = str(floor.get("what") or "floor")
    return words._replace(
        floor=format_number(low), floor_interval=interval(floor), floor_name=title
    )


def interval(entry: Mapping[str, Any]) -> str:
    """Format the interval of an entry as ``2.614 – 4.069``; "" if it has none."""
    low, high = number(entry.get("low")), number(entry.get("high"))
    return "" if low is None or high is None else f"{format_number(low)} – {format_number(high)}"


def select_headlines(facts: Facts) -> list[Number]:
    """Return the numbers to read first, from the newest evaluation that has them."""
    newest = newest_entries(facts)
    measured = [n for n in HEADLINES if number(mapping(newest.get(n)).get("value")) is not None]
    terms = {n.split("/")[-1] for n in measured if not n.startswith("test/")}
    chosen = [n for n in measured if not n.startswith("test/") or n.split("/")[-1] not in terms]
    if any(not n.startswith("test/") for n in chosen):  # the loss says least of all
        chosen = [n for n in chosen if n != "test/loss"]
    return [number_in_words(n, newest[n]) for n in chosen[:TILES]]


def newest_entries(facts: Facts) -> dict[str, Any]:
    """Return name → entry, of summary.json and, over it, of the evaluations in their order."""
    entries = dict(mapping(facts.summary.get("metrics")))
    for _, evaluation in facts.evaluations:
        for name, entry in mapping(evaluation.get("metrics")).items():
            if number(mapping(entry).get("value")) is not None or name not in entries:
                entries[name] = entry
    return {n: e for n, e in entries.items() if isinstance(e, dict)}


def group_title(name: str) -> str:
    """Return the title of the group that a measure belongs to."""
    group = name.split("/")[0]
    return TITLES.get(group, group)


def group_metrics(metrics: Mapping[str, Any]) -> list[MeasureGroup]:
    """Return one group for each kind of measure that has an entry."""
    entries = {n: e for n, e in metrics.items() if isinstance(e, dict)}
    order = list(dict.fromkeys([*(n for n in BY_NAME if n in entries), *entries]))
    made = []
    for kind in dict.fromkeys([*GROUPS, *(n.split("/")[0] for n in order)]):
        members = {n: entries[n] for n in order if n.split("/")[0] == kind}
        if members:
            numbers = [number_in_words(*member) for member in members.items()]
            made.append(MeasureGroup(TITLES.get(kind, kind), numbers, passports(members)))
    return made


def passports(
    entries: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return how numbers were measured: the ruler, which must agree before two are ranked, and
    the player, which is shown beside. What all share comes once, then what each has of its own."""
    held = {n: fields for n, e in entries.items() if (fields := _fields(e))}
    if not held:
        return []
    first = next(iter(held.values()))
    shared = {
        field: value
        for field, value in first.items()
        if all(fields.get(field) == value for fields in held.values())
    }
    parts = [
        (title, [(key, value) for (p, key), value in shared.items() if p == part])
        for part, title in (("ruler", "Ruler"), ("player", "Player"))
    ]
    single = []
    for name, fields in held.items():
        words = [f"{field[1]} {v}" for field, v in fields.items() if field not in shared]
        if words and len(held) > 1:
            single.append((measure(name).label, "; ".join(words)))
    return [part for part in [*parts, ("Each one", single)] if part[1]]


def _fields(entry: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return (ruler or player, field in words) → value in words."""
    held = mapping(entry.get("passport"))
    return {
        (part, RULER.get(k, k.replace("_", " "))): _word(k, v)
        for part in ("ruler", "player")
        for k, v in mapping(held.get(part)).items()
        if v is not None
    }


def _word(key: str, value: Any) -> str:
    if key == "ema" and isinstance(value, bool):
        return "averaged (EMA)" if value else "raw"
    return format_value(value)


def format_value(value: Any) -> str:
    """Format a value of a config or passport as a reader writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} {format_value(v)}" for k, v in value.items()) or "none"
    return str(value)
