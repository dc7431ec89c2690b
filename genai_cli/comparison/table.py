"""Build the table: runs as rows, measures as columns, one section for each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli.comparison import choose, rank
from genai_cli.comparison.choose import TableCell
from genai_cli.comparison.read import DONE, Run, read
from genai_cli.comparison.remarks import missing_seeds, other_samplers
from genai_cli.comparison.rows import Comparison, Row, Section
from genai_cli.comparison.seeds import mean_interval
from genai_cli.evaluation.measures import MEASURES
from genai_cli.evaluation.passport import VALIDATED_ON_TEST
from genai_cli.store.labels import UNINTERESTING, differing_keys, format_value, labels

HEADLINES = (  # shown for samplers even where nobody has measured them
    "reconstruction/mse",
    "likelihood/bits_per_dim",
    "samples/frechet",
    "memorisation/p",
    "speed/many",
)
PREDICTIONS = ("prediction/accuracy",)  # for runs that predict


def compare(
    folders: Sequence[Path], apart: bool = False, wanted: Mapping[str, Any] | None = None
) -> Comparison:
    """Read runs and compare them side by side.

    Args:
        folders: of runs; one named twice counts once.
        apart: every seed in a row of its own.
        wanted: settings of the evaluations to look at; all if empty.
    """
    unique: dict[Path, Path] = {}
    for folder in folders:
        unique.setdefault(folder.resolve(), folder)
    runs = [read(folder) for folder in unique.values()]
    by_data: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by_data.setdefault((run.dataset, run.split), []).append(run)
    names = [dataset for dataset, _ in by_data]
    sections = [
        _section(
            dataset if names.count(dataset) == 1 else f"{dataset} (split {split[:8] or '?'})",
            members,
            apart,
            wanted,
        )
        for (dataset, split), members in by_data.items()
    ]
    notes = [note for run in runs for note in run.notes]
    if len(sections) > 1:
        data_sets = ", ".join(section.dataset for section in sections)
        notes.insert(0, f"{data_sets}: other splits, so not ranked together")
    seen = [run.reference for run in runs if run.validation == "test"]
    if seen:
        who = "these runs" if len(seen) == len(runs) else ", ".join(seen)
        notes.append(f"{who}: {VALIDATED_ON_TEST} (dataset.validation=test)")
    return Comparison(runs, sections, notes)


def _section(
    dataset: str, runs: list[Run], apart: bool, wanted: Mapping[str, Any] | None
) -> Section:
    names = [measure.name for measure in MEASURES]
    chosen = choose.cells(runs, names, wanted)
    groups, notes = _groups(runs, apart)
    configs = [_row_config(runs[group[0]], seed=len(group) == 1) for group in groups]
    models = [runs[group[0]].model for group in groups]
    differ = differing_keys(configs)
    rows = [
        Row("", [runs[i] for i in group], {}, {
            k: format_value(config[k]) for k in differ if config.get(k) is not None
        })
        for group, config in zip(groups, configs, strict=True)
    ]  # fmt: skip
    for row, label in zip(
        rows, labels(models, configs, [row.references for row in rows]), strict=True
    ):
        row.label = label
        for run in row.runs:
            run.label = label if row.seeds == 1 else f"{label} seed={run.seed}"
    for row, group in zip(rows, groups, strict=True):
        for name in names:
            offered = [chosen[i][name] for i in group if name in chosen[i]]
            if offered:
                row.cells[name] = _joined(name, offered)
    columns = [name for name in names if _is_column(name, rows)]
    notes += (
        rank.mark_cells(rows, columns)
        + missing_seeds(rows, columns)
        + other_samplers(rows, columns)
    )
    return Section(dataset, rows, columns, differ, _floors(rows, columns), notes)


def _is_column(name: str, rows: Sequence[Row]) -> bool:
    if any(name in row.cells for row in rows):
        return True
    samplers = any(not row.run.predicts for row in rows)
    predictors = any(row.run.predicts for row in rows)
    return (samplers and name in HEADLINES) or (predictors and name in PREDICTIONS)


def _row_config(run: Run, seed: bool) -> dict[str, Any]:
    """The config that tells a row apart; the seed where it is one run's."""
    left_out = UNINTERESTING if seed else (*UNINTERESTING, "seed")
    return {k: v for k, v in run.config.items() if k not in left_out}


def _groups(runs: Sequence[Run], apart: bool) -> tuple[list[list[int]], list[str]]:
    """Indices of the runs of each row: alike in all but the seed, and all done."""
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        config = _row_config(run, seed=False)
        single = apart or run.status not in DONE or not config
        key = f"{i}" if single else repr(sorted(config.items(), key=lambda kv: kv[0]))
        groups.setdefault(key, []).append(i)
    out, notes = [], []
    for group in groups.values():
        seeds = [str(runs[i].seed) for i in group]
        if len(set(seeds)) < len(seeds):
            twice = ", ".join(runs[i].reference for i in group)
            notes.append(f"{twice}: the same settings and seed more than once, so shown apart")
            out += [[i] for i in group]
        else:
            out.append(sorted(group, key=lambda i: str(runs[i].reference)))
    return sorted(out, key=lambda group: group[0]), notes


def _joined(name: str, cells: Sequence[TableCell]) -> TableCell:
    """One cell of several seeds: the mean of those that most of them measured alike.

    Numbers on another ruler, or of another sampler, other weights or other draws of a bound, are
    no repetition. Of p-values, which have no mean worth showing, the smallest times their number
    (Bonferroni).
    """
    if len(cells) == 1:
        return cells[0]
    numbers = [cell for cell in cells if cell.value is not None]
    if not numbers:
        return cells[0]
    keys = [(cell.key, choose.ruler_key(_repeated(name, cell.player))) for cell in numbers]
    key = max(dict.fromkeys(keys), key=keys.count)
    same = [cell for cell, cell_key in zip(numbers, keys, strict=True) if cell_key == key]
    if len(same) == 1:
        return same[0]
    first = same[0]
    values = [cell.value for cell in same if cell.value is not None]
    if name == "memorisation/p":
        value, low, high = min(1.0, len(values) * min(values)), None, None
    else:
        value, low, high = mean_interval(values)
        if name.startswith("cost/"):  # what was spent: no estimate of anything
            low = high = None
    player = {k: v for k, v in first.player.items() if all(c.player.get(k) == v for c in same)}
    floor = first.floor if all(cell.floor == first.floor for cell in same) else None
    return TableCell(value, low, high, first.n, None, first.ruler, player, floor, len(same))


def _repeated(name: str, player: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a player that must agree for numbers to be averaged over seeds."""
    left_out = ["seed", "checkpoint"]
    if not name.startswith("likelihood/"):
        left_out.append("draws")  # of a speed: how many were timed
    return {k: v for k, v in player.items() if k not in left_out}


def _floors(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Floors that hold for every row that has one of that name, of the ruler most rows share."""
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for name in columns:
        by_name: dict[str, list[dict[str, Any]]] = {}
        for ranking in rank.rankings(rows, name)[:1]:
            for row in ranking.rows:
                floor = ranking.cell(row).floor
                if floor is not None:
                    by_name.setdefault(str(floor.get("what") or "floor"), []).append(floor)
        for what, floors in by_name.items():
            if all(floor["value"] == floors[0]["value"] for floor in floors):
                out.setdefault(what, {})[name] = floors[0]
    return out
