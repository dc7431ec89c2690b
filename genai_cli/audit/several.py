"""Compare the audits of several runs for one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genai_cli.audit.measure import Audit
from genai_cli.audit.say import error_ratios
from genai_cli.audit.shares import ShareInterval, of_counts
from genai_cli.config import schema
from genai_cli.store import run_folder
from genai_cli.store.labels import labels as short_labels
from genai_cli.store.labels import reference
from genai_cli.system.text import format_table


class ClassRow(NamedTuple):
    """One class in one run; None where the family has no such number, with the reason."""

    name: str
    population: float
    training: float
    drawn: float
    share: tuple[float, float, float] | None  # of samples: value, low, high
    expected: float | None
    mark: int
    unclear: float | None  # share of samples of no clear class
    error: tuple[float, float, float] | None  # of its reconstructions
    error_ratio: float | None  # to the mean class
    outcomes: np.ndarray | None  # (R,) shares of what its test examples come back as
    kept: tuple[float, float, float] | None
    why_no_samples: str
    why_no_outcomes: str
    real: np.ndarray | None  # (R,) shares of what its originals are read as


def labels(folders: Sequence[Path], audits: Sequence[Audit]) -> list[str]:
    """Return a short label for each run: the model, the task, and the change to its classes.

    Where these are not enough, the settings that differ are added.
    """
    configs = [schema.flatten(run_folder.read_config(folder)) for folder in folders]
    models = [str(config.get("model.name")) for config in configs]
    names = []
    for model, config, one in zip(models, configs, audits, strict=True):
        rare, pair = one.training.rare, config.get("dataset.pair")
        share = "" if rare is None else f"{100 * one.training.shares[rare]:.2g} %"
        balanced = "balanced" if config.get("dataset.balance") else ""
        names.append(" ".join(filter(None, [model, pair, share, balanced])))
    if len({*names}) == len(names):
        return names
    return short_labels(models, configs, [reference(f) for f in folders])


def focus(audits: Sequence[Audit]) -> int:
    """Return the class that most runs made rare; if none did, the first run's focus."""
    rare = Counter(one.training.rare for one in audits if one.training.rare is not None)
    return rare.most_common(1)[0][0] if rare else audits[0].focus


def row(name: str, result: Audit, label: int) -> ClassRow:
    """Return the row of class ``label`` in one run."""
    s, outcomes = result.samples, result.outcomes
    error = None if outcomes is None or outcomes.error is None else outcomes.error
    why = result.reasons.get("samples", "no sample is of a clear class")
    counted = outcomes is not None and outcomes.reads is not None
    real = result.population.confusion
    return ClassRow(
        name,
        float(result.population.shares[label]),
        float(result.training.shares[label]),
        float(result.training.drawn[label]),
        None if s is None else _at(s.share, label),
        None if s is None else float(s.expected.value[label]),
        0 if s is None else int(s.marks[label]),
        None if s is None else s.unclear[0],
        None if error is None else _at(error, label),
        None if error is None else float(error_ratios(error)[label]),
        of_counts(outcomes.reads[label]).value if counted else None,
        _at(outcomes.kept(), label) if counted else None,
        why,
        result.reasons.get("reconstruction", result.reasons.get("fates", "")),
        None if real is None else of_counts(real[label]).value,
    )


def _at(share: ShareInterval, label: int) -> tuple[float, float, float] | None:
    values = float(share.value[label]), float(share.low[label]), float(share.high[label])
    return values if values[0] == values[0] else None  # nan: of no clear sample, or no test example


def table(rows: Sequence[ClassRow], name: str) -> str:
    """Format one class in every run as a text table."""
    head = ("run", "training", "samples", "95 % interval", "ratio", "", "unclear", "comes back",
            "error ×mean")  # fmt: skip
    marks = {1: "over", -1: "under", 0: ""}
    cells, reasons = [], {}
    for r in rows:
        share = ("–", "–", "–", "", "–")
        if r.share is not None:
            value, low, high = (100 * v for v in r.share)
            ratio = "–" if not r.expected else f"{r.share[0] / r.expected:.2f}"
            share = (f"{value:.1f} %", f"{low:.1f} – {high:.1f} %", ratio, marks[r.mark])
            share = (*share, f"{100 * (r.unclear or 0):.0f} %")
        else:
            reasons.setdefault(f"no samples: {r.why_no_samples}", []).append(r.name)
        kept = "–" if r.kept is None else f"{100 * r.kept[0]:.1f} %"
        if r.kept is None:
            reasons.setdefault(f"no reconstructions: {r.why_no_outcomes}", []).append(r.name)
        error = "–" if r.error_ratio is None else f"{r.error_ratio:.2f}"
        drawn = "" if r.drawn == r.training else f" (drawn {100 * r.drawn:.1f} %)"
        cells.append((r.name, f"{100 * r.training:.1f} %{drawn}", *share, kept, error))
    title = f"{name} in {len(rows)} runs, {100 * rows[0].population:.1f} % of the population"
    lines = [format_table(title, head, cells, left=(0, 1, 5))]
    lines += [f"  {why}: {', '.join(dict.fromkeys(names))}" for why, names in reasons.items()]
    return "\n".join(lines)
