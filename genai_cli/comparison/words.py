"""Turn a comparison into tables of text, from which every form of output is made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_cli.comparison.choose import TableCell
from genai_cli.comparison.numbers import format_plus_minus
from genai_cli.comparison.read import DONE, settings_of
from genai_cli.comparison.rows import Comparison, Row, Section
from genai_cli.evaluation.measures import BY_NAME, Measure
from genai_cli.store import run_folder
from genai_cli.store.labels import format_value, reference

TITLES = {  # tables, and the groups of measures in each
    "reconstruction": ("reconstruction",),
    "likelihood": ("likelihood",),
    "samples": ("samples",),
    "memorisation": ("memorisation",),
    "prediction": ("prediction",),
    "speed and cost": ("speed", "cost"),
}
LEGEND = "* best   ≈ not distinguishable from it   ↓ less is better   ↑ more is better"
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
LONGEST_FLOOR = 28  # characters
NOTHING, ABSENT = "–", "n/a"
ONE_SEED = (
    "± is the 95 % interval of measuring these trained models; trained from other seeds, numbers"
    " may differ by more (genai train -m seed=0,1,2 …)"
)
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass
class Table:
    """A small table; the first column names the row."""

    title: str
    head: list[str]
    rows: list[list[str]]
    left: tuple[int, ...] = (0,)  # columns of words


@dataclass
class SectionText:
    """One section as text: tables, reasons below them, and commands that fill the gaps."""

    title: str
    tables: list[Table]
    reasons: list[str] = field(default_factory=list)  # the first is ¹
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)  # tables with a gap, or not begun

    @property
    def gaps(self) -> str:
        """Return the note on gaps: ``not measured yet (samples, speed and cost)``."""
        what = f" ({', '.join(self.unmeasured)})" if self.unmeasured else ""
        return f"not measured yet{what}"


def of_section(section: Section, comparison: Comparison) -> SectionText:
    """Return all tables of a data set, footnotes numbered across them."""
    reasons: list[str] = []
    tables = [_runs(section)]
    unmeasured = []
    for title, groups in TITLES.items():
        names = [n for n in section.columns if n.split("/")[0] in groups]
        rows = [row for row in section.rows if any(row.applies(n) for n in names)]
        measured = [n for n in names if any(n in row.cells for row in rows)]
        gaps = [n for n in names if any(row.missing(n) for row in rows)]
        if measured and rows:
            tables.append(_group(title, measured, rows, section, reasons))
        if gaps:
            unmeasured.append(title)
    bounded = any(
        cell.bound and cell.value is not None and name.startswith("likelihood/")
        for row in section.rows
        for name, cell in row.cells.items()
    )
    notes = ["≤ is a bound: the true number may be lower"] if bounded else []
    count = sum(row.seeds for row in section.rows)
    plural = "run" if count == 1 else "runs"
    if any(row.seeds > 1 for row in section.rows):
        notes.append("of several seeds: their mean ± Student's 95 % interval")
    known = [row for row in section.rows if any(c.low is not None for c in row.cells.values())]
    if len(known) > 1 and all(row.seeds == 1 for row in section.rows):
        notes.append(ONE_SEED)
    notes += [f"{floor_name(what)}: {what}" for what in section.floors if floor_name(what) != what]
    return SectionText(
        f"{section.dataset}: {count} {plural}",
        tables,
        reasons,
        commands(section, comparison),
        notes + section.notes,
        unmeasured,
    )


def _runs(section: Section) -> Table:
    """Return the table of runs: status, seeds, settings that differ, sampler."""
    head = ["", "run", "status"]
    seeds = any(row.seeds > 1 for row in section.rows)
    settings = any(row.settings for row in section.rows)
    players = any(row.player for row in section.rows)
    rows = []
    for row in section.rows:
        words = [row.label, row.references, row.status]
        words += [str(row.seeds)] if seeds else []
        words += [_settings(row)] if settings else []
        words += [row.player] if players else []
        rows.append(words)
    head += ["seeds"] * seeds + ["settings that differ"] * settings + ["drawn with"] * players
    numbers = {3} if seeds else set()
    left = tuple(i for i in range(len(head)) if i not in numbers)
    return Table("runs", head, rows, left)


def _settings(row: Row) -> str:
    """``loss=nll epochs=60``; what follows from the loss is left out."""
    settings = {k: v for k, v in row.settings.items() if k != "monitor"}
    return " ".join(f"{k.removesuffix('.name')}={v}" for k, v in settings.items())


def _group(
    title: str, names: Sequence[str], rows: Sequence[Row], section: Section, reasons: list[str]
) -> Table:
    """One group of measures, with the floors that hold for it below."""
    head = ["", *(heading(BY_NAME[name]) for name in names)]
    body = [[row.label, *(_cell(row, name, reasons) for name in names)] for row in rows]
    for what, floors in section.floors.items():
        if any(name in floors for name in names):
            cells = [f"{_value(name, floors[name])} " if name in floors else "" for name in names]
            body.append([floor_name(what), *cells])
    examples = [n for n in names if not n.startswith(("speed/", "cost/"))]
    cells = [row.cells[n] for row in rows for n in examples if n in row.cells]
    return Table(f"{title}{_measured_on([cell.ruler for cell in cells if cell.ruler])}", head, body)


def _measured_on(rulers: Sequence[Mapping[str, Any]]) -> str:
    """`` (n 360, reference features)``, where that holds for the whole table; else notes tell."""
    parts = []
    for key, form in (("n", "n {}"), ("extractor", "{} features")):
        values = {str(ruler[key]) for ruler in rulers if ruler.get(key) is not None}
        parts += [form.format(*values)] if len(values) == 1 else []
    return f" ({format_value(', '.join(parts))})" if parts else ""


def floor_name(what: str) -> str:
    """Return the name of a floor's row, shortened where it is long."""
    return what if len(what) <= LONGEST_FLOOR else ("real data" if "real" in what else "floor")


def heading(measure: Measure) -> str:
    """Return the column heading of a measure: ``NLL nats ↓``."""
    unit = f" {measure.unit}" if measure.unit and measure.unit not in measure.label else ""
    return f"{measure.label}{'' if measure.label == 'bits/dim' else unit}{ARROWS[measure.better]}"


def _cell(row: Row, name: str, reasons: list[str]) -> str:
    """A number with its mark, ``–``, or ``n/a`` with a footnote; one place is kept for the mark."""
    cell = row.cells.get(name)
    if cell is None:
        return f"{NOTHING} " if row.applies(name) else f"{ABSENT} "
    if cell.value is None:
        reason = format_value(cell.reason)
        if reason not in reasons:
            reasons.append(reason)
        return f"{ABSENT}{superscript(reasons.index(reason) + 1)}"
    return f"{number(name, cell)}{cell.mark or ' '}"


def superscript(i: int) -> str:
    return str(i).translate(_RAISED)


def number(name: str, cell: TableCell) -> str:
    assert cell.value is not None
    if name == "memorisation/p":
        text = "<.001" if cell.value < 0.001 else f"{cell.value:.3f}"
    else:
        text = format_plus_minus(cell.value, cell.low, cell.high)
    return f"≤ {text}" if cell.bound and name.startswith("likelihood/") else text


def _value(name: str, floor: dict[str, object]) -> str:
    return number(name, TableCell(floor["value"], floor.get("low"), floor.get("high"), 0))  # type: ignore[arg-type]


def commands(section: Section, comparison: Comparison) -> list[str]:
    """Return the commands that measure every missing number (``–``)."""
    lacking = [
        run for row in section.rows for run in row.runs if run.status in DONE and not run.complete
    ]
    if not lacking:
        return []
    keys = common_keys(comparison)
    if len(lacking) == 1:
        return [" ".join(["genai evaluate", shortest_reference(lacking[0].path), *keys])]
    if comparison.sweep is not None:
        names = [shortest_reference(comparison.runs[0].path.parent)]
    else:
        names = [shortest_reference(run.path) for run in lacking]
    return [" ".join(["genai compare", *names, *keys, "--evaluate"])]


def shortest_reference(path: Path) -> str:
    """Return the shortest reference to a run or sweep that works here: its suffix or its path."""
    if path.resolve().is_relative_to(run_folder.outputs_root().resolve()):
        return reference(path)
    return shlex.quote(str(path))


def common_keys(comparison: Comparison) -> list[str]:
    """Return n and features of the most frequent evaluation, so that a new one shares its ruler."""
    seen: dict[tuple[str, ...], int] = {}
    for run in comparison.runs:
        for evaluation in run.evaluations:
            settings = settings_of(evaluation)
            keys = tuple(f"{k}={settings[k]}" for k in ("n", "features") if settings.get(k))
            seen[keys] = seen.get(keys, 0) + 1
    return list(max(seen, key=lambda k: seen[k])) if seen else []
