"""Format an audit as data, as a table, and as a verdict of a line or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genai_cli.audit.measure import Audit, Outcomes
from genai_cli.audit.shares import LEVEL, ShareInterval, of_counts
from genai_cli.audit.world import DOUBT, UNCLEAR
from genai_cli.system.text import format_number, format_table

MARKS = {1: "over", -1: "under", 0: ""}
NAMED = 3  # classes that a line of the verdict names
FEW = 100  # clear samples below which shares of classes are not judged
COLUMNS = (
    *("class", "population", "training", "drawn", "expected", "samples", "samples_low"),
    *("samples_high", "ratio", "mark", "error", "error_low", "error_high", "error_ratio"),
    *(
        "kept",
        "kept_low",
        "kept_high",
        "kept_real",
        "unclear",
        "unclear_real",
        "into",
        "into_share",
        "into_low",
    ),
    *("into_high", "into_real", "asked", "asked_low", "asked_high"),
)


def rows(result: Audit) -> list[dict[str, Any]]:
    """Return a row with `COLUMNS` for each class; None where there is no number."""
    names = [str(name) for name in result.population.classes]
    none: list[Any] = [None] * len(names)
    table: dict[str, Sequence[Any]] = dict.fromkeys(COLUMNS, none)
    table |= {
        "class": names,
        "population": result.population.shares.tolist(),
        "training": result.training.shares.tolist(),
        "drawn": result.training.drawn.tolist(),
    }
    if result.samples is not None:
        s = result.samples
        expected = s.expected.value.tolist()
        table |= _share("samples", s.share) | {"expected": expected}
        pairs = zip(s.share.value.tolist(), expected, strict=True)
        table["ratio"] = [a / b if b > 0 and a == a else None for a, b in pairs]
        table["mark"] = [MARKS[int(m)] or "as expected" for m in s.marks]
    if result.outcomes is not None and result.outcomes.error is not None:
        table |= _share("error", result.outcomes.error)
        table["error_ratio"] = _numbers(error_ratios(result.outcomes.error))
    if result.outcomes is not None and result.outcomes.reads is not None:
        top, share, real = result.outcomes.into()
        table |= _share("kept", result.outcomes.kept()) | _share("into", share, "into_share")
        table["into"] = [names[j] for j in top]
        if result.outcomes.real is not None:
            table["kept_real"] = _numbers(of_counts(result.outcomes.real).value.diagonal())
            table["into_real"] = _numbers(real)
            ours, theirs = result.outcomes.unclear()
            table |= {"unclear": _numbers(ours), "unclear_real": _numbers(theirs)}
    if result.asked is not None:
        table |= _share(
            "asked", ShareInterval(*(part.diagonal() for part in of_counts(result.asked)))
        )
    return [{key: table[key][i] for key in COLUMNS} for i in range(len(names))]


def error_ratios(error: ShareInterval) -> np.ndarray:
    """Return the errors (K,) over their mean; nan where there is no error."""
    if not np.isfinite(error.value).any() or not np.nanmean(error.value):
        return np.full_like(error.value, np.nan)
    return error.value / np.nanmean(error.value)


def _share(
    name: str, share: ShareInterval, value: str | None = None
) -> dict[str, list[float | None]]:
    parts = zip((value or name, f"{name}_low", f"{name}_high"), share, strict=True)
    return {key: _numbers(part) for key, part in parts}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


# ---- words


def verdict(result: Audit) -> list[str]:
    """Return the findings beyond chance as sentences."""
    lines = [*_sample_lines(result), *_outcome_lines(result)]
    return lines or ["nothing of this family can be counted by class"]


def _sample_lines(result: Audit) -> list[str]:
    s = result.samples
    if s is None:
        return []
    names, ratio = result.population.classes, s.share.value / np.maximum(s.expected.value, 1e-12)
    tests = f"{len(names)} tests at {LEVEL / len(names):.1%} each"
    out = []
    for sign, word in ((-1, "under"), (1, "over")):
        marked = [int(i) for i in np.flatnonzero(s.marks == sign)]
        marked.sort(key=lambda i: sign * (s.expected.value[i] - s.share.value[i]))
        parts = [f"{names[i]} {_times(ratio[i])}" for i in marked[:NAMED]]
        if len(marked) > NAMED:
            parts.append(f"{len(marked) - NAMED} more")
        if parts:
            out.append(f"{word}-represented in samples, beyond chance: {', '.join(parts)}")
    clear = int(s.counts[:-1].sum())
    if out:
        out[-1] += f" ({tests})"
    elif clear < FEW:
        out = [f"{clear:,} samples of a clear class are too few to tell their shares"]
    else:
        out = [f"no class is drawn more or less often than in training, beyond chance ({tests})"]
    value, low, high = s.unclear
    if low > s.unclear_expected + DOUBT:
        out.append(
            f"{_percent(value)} of the samples ({100 * low:.1f} – {100 * high:.1f}) are of no "
            f"clear class, of images {_percent(s.unclear_expected)}: the shares are of the others"
        )
    rare = result.training.rare
    if rare is not None:
        out.append(
            f"{names[rare]}: {_percent(result.population.shares[rare])} of the population, "
            f"{_percent(result.training.shares[rare])} of training"
            + (f" ({_percent(result.training.drawn[rare])} as drawn)" if _redrawn(result) else "")
            + f", {_interval(s.share, rare)} of clear samples ({_percent(s.expected.value[rare])} "
            "would be read off images drawn as in training)"
        )
    return out


def _redrawn(result: Audit) -> bool:
    return bool((result.training.drawn != result.training.shares).any())


def _outcome_lines(result: Audit) -> list[str]:
    outcomes = result.outcomes
    if outcomes is None:
        return []
    names, out = result.population.classes, []
    again = "is predicted to be" if result.predicts else "comes back as"
    if outcomes.reads is not None:
        kept, (top, share, real) = outcomes.kept(), outcomes.into()
        lost = np.flatnonzero(outcomes.lost())
        worst = [int(i) for i in sorted(lost, key=lambda i: kept.value[i])]
        rare = result.training.rare
        if rare is not None and rare not in worst[:1]:
            worst = [rare, *(i for i in worst if i != rare)]
        if outcomes.real is None and not worst and np.isfinite(kept.value).any():
            worst = [int(np.nanargmin(kept.value))]
        for i in worst[:1]:
            beside = "" if outcomes.real is None else f", originals {_percent(real[i])}"
            out.append(
                f"{names[i]} {again} {names[i]} in {_interval(kept, i)} of {outcomes.n[i]:,} "
                f"cases, as {names[top[i]]} in {_interval(share, i)}{beside}{_doubt(outcomes, i)}"
            )
        others = [names[i] for i in worst[1:] if i in lost]
        if others:
            more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
            out.append(f"lost beyond chance, too: {', '.join(others[:NAMED])}{more}")
        if not worst:
            out.append("no class comes back as itself less often than its originals, beyond chance")
    ratio = np.array([np.nan]) if outcomes.error is None else error_ratios(outcomes.error)
    if np.isfinite(ratio).any():
        i = result.training.rare
        i = int(np.nanargmax(ratio)) if i is None else i
        out.append(
            f"reconstruction error of {names[i]}: {_times(ratio[i])} the mean of the classes"
        )
    return out


def _doubt(outcomes: Outcomes, i: int) -> str:
    """Return how often outputs of class ``i`` have no clear class."""
    if outcomes.real is None:
        return ""
    ours, real = (share[i] for share in outcomes.unclear())
    return f"; {UNCLEAR} in {_percent(ours)}, originals {_percent(real)}"


# ---- a table for eyes


def table(result: Audit) -> str:
    """Format shares and outcomes by class as text, with reasons for parts without numbers."""
    data = rows(result)
    head, columns = ["class", "population", "training"], ["class", "population", "training"]
    if _redrawn(result):
        head, columns = [*head, "drawn"], [*columns, "drawn"]
    cells = [[_cell(row[c]) for c in columns] for row in data]
    left = [0]

    def add(title: str, texts: Sequence[str], at_left: bool = False) -> None:
        if at_left:
            left.append(len(head))
        head.append(title)
        for row, text in zip(cells, texts, strict=True):
            row.append(text)

    if result.samples is not None:
        add("expected", [_cell(r["expected"]) for r in data])
        add("samples", [_cell(r["samples"]) for r in data])
        add("95 % interval", [_range(r["samples_low"], r["samples_high"]) for r in data])
        add("ratio", ["–" if r["ratio"] is None else f"{r['ratio']:.2f}" for r in data])
        add("", [r["mark"] if r["mark"] != "as expected" else "" for r in data], True)
    if result.asked is not None:
        add("obeys", [_cell(r["asked"]) for r in data])
    if result.outcomes is not None:
        if result.outcomes.error is not None:
            add("error", ["–" if r["error"] is None else format_number(r["error"]) for r in data])
            add("×mean", [_or(r["error_ratio"], "{:.2f}") for r in data])
        if result.outcomes.reads is not None:
            add("kept", [_cell(r["kept"]) for r in data])
            if result.outcomes.real is not None:
                add("(real)", [_cell(r["kept_real"]) for r in data])
                add(UNCLEAR, [_cell(r["unclear"]) for r in data])
            add("else", [f"{r['into']} {_cell(r['into_share'])}" for r in data], True)
    n = ""
    if result.samples is not None:
        s = result.samples
        n = " ".join(filter(None, [f"{int(s.counts.sum()):,} samples", s.labelling]))
    text = format_table(n, head, cells, left)
    return "\n".join([*([text] if n else text.splitlines()[1:]), *_reasons(result)])


def _reasons(result: Audit) -> list[str]:
    """Explain the columns, and why others are missing."""
    out, population = [], result.population
    if population.classifier is not None:
        classifier = population.classifier.reference
        out += [
            f"  read by the reference classifier {classifier.hash}, right on "
            f"{classifier.accuracy:.1%} of {len(population.truth):,} test images; {UNCLEAR}: it is "
            f"less than {population.classifier.least:.0%} sure, as of {DOUBT:.0%} of the test "
            "images"
        ]
    if result.samples is not None:
        value, low, high = result.samples.unclear
        out.append(
            f"  samples: of the clear ones; {_percent(value)} ({100 * low:.1f} – {100 * high:.1f}) "
            f"are not, of images {_percent(result.samples.unclear_expected)}"
        )
        out.append(
            "  expected: what it would read off images drawn as in training; ratio: samples over it"
        )
    return out + [f"  no {part}: {why}" for part, why in result.reasons.items()]


def _or(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "–" if value is None else _percent(value)


def _range(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{100 * low:.1f} – {100 * high:.1f} %"


def _interval(share: ShareInterval, i: int) -> str:
    if not np.isfinite(share.value[i]):
        return "none"
    low, high = 100 * share.low[i], 100 * share.high[i]
    return f"{_percent(share.value[i])} ({low:.1f} – {high:.1f})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×"
