"""Several runs beside each other: what becomes of one class in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genai_cli.audit.measure import Audit
from genai_cli.audit.say import error_ratios
from genai_cli.audit.shares import Share, of_counts
from genai_cli.config import schema
from genai_cli.store import run_folder
from genai_cli.store.labels import labels as short_labels
from genai_cli.store.labels import reference
from genai_cli.system.text import format_table


class Row(NamedTuple):
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
    fates: np.ndarray | None  # (R,) shares of what its test examples come back as
    kept: tuple[float, float, float] | None
    why_no_samples: str
    why_no_fates: str
    real: np.ndarray | None  # (R,) shares of what its originals are read as


def labels(folders: Sequence[Path], found: Sequence[Audit]) -> list[str]:
    """A short name for each: the model, the task, and what was done to the classes; where that is
    not enough, the settings that differ."""
    configs = [schema.flatten(run_folder.read_config(folder)) for folder in folders]
    models = [str(config.get("model.name")) for config in configs]
    names = []
    for model, config, one in zip(models, configs, found, strict=True):
        rare, pair = one.biased.rare, config.get("dataset.pair")
        share = "" if rare is None else f"{100 * one.biased.shares[rare]:.2g} %"
        balanced = "balanced" if config.get("dataset.balance") else ""
        names.append(" ".join(filter(None, [model, pair, share, balanced])))
    if len({*names}) == len(names):
        return names
    return short_labels(models, configs, [reference(f) for f in folders])


def focus(found: Sequence[Audit]) -> int:
    """The class that most runs made rare; if none did, the first run's."""
    rare = Counter(one.biased.rare for one in found if one.biased.rare is not None)
    return rare.most_common(1)[0][0] if rare else found[0].focus


def row(name: str, found: Audit, label: int) -> Row:
    """The class ``label`` in one run."""
    s, fates = found.samples, found.fates
    error = None if fates is None or fates.error is None else fates.error
    why = found.reasons.get("samples", "no sample is of a clear class")
    counted = fates is not None and fates.reads is not None
    real = found.world.confusion
    return Row(
        name,
        float(found.world.population[label]),
        float(found.biased.shares[label]),
        float(found.biased.drawn[label]),
        None if s is None else _at(s.share, label),
        None if s is None else float(s.expected.value[label]),
        0 if s is None else int(s.marks[label]),
        None if s is None else s.unclear[0],
        None if error is None else _at(error, label),
        None if error is None else float(error_ratios(error)[label]),
        of_counts(fates.reads[label]).value if counted else None,
        _at(fates.kept(), label) if counted else None,
        why,
        found.reasons.get("reconstruction", found.reasons.get("fates", "")),
        None if real is None else of_counts(real[label]).value,
    )


def _at(share: Share, label: int) -> tuple[float, float, float] | None:
    found = float(share.value[label]), float(share.low[label]), float(share.high[label])
    return found if found[0] == found[0] else None  # nan: of no clear sample, or no test example


def table(rows: Sequence[Row], name: str) -> str:
    """One class in every run, in plain text."""
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
            reasons.setdefault(f"no reconstructions: {r.why_no_fates}", []).append(r.name)
        error = "–" if r.error_ratio is None else f"{r.error_ratio:.2f}"
        drawn = "" if r.drawn == r.training else f" (drawn {100 * r.drawn:.1f} %)"
        cells.append((r.name, f"{100 * r.training:.1f} %{drawn}", *share, kept, error))
    title = f"{name} in {len(rows)} runs, {100 * rows[0].population:.1f} % of the population"
    lines = [format_table(title, head, cells, left=(0, 1, 5))]
    lines += [f"  {why}: {', '.join(dict.fromkeys(names))}" for why, names in reasons.items()]
    return "\n".join(lines)
