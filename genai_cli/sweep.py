"""A sweep is a folder: what was asked, one run folder for each cell, one table kept current."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from genai_cli import runs
from genai_cli.compose import GROUPS, Cell
from genai_cli.errors import UserError
from genai_cli.outcome import set_status
from genai_cli.textual import plain_table, short
from genai_cli.training.preempt import Signals
from genai_cli.verbs.train import Prepared, prepare, run, start


def launch(cells: Sequence[Cell], command: str) -> int:
    """Check every cell, claim one folder for all, run them one after the other (or stacked).

    Returns:
        0 if all are done, 1 if any failed, 130 or 143 if the sweep was interrupted.

    Raises:
        UserError: a mistake in any cell, which is named; nothing is launched then.
    """
    kept = _checked(cells)
    units = _units([prepared for _, prepared in kept])
    config = kept[0][1].cfg
    folder = runs.claim(runs.outputs_root(config.outputs), config.name or "sweep")
    varied = list(dict.fromkeys(key for cell, _ in kept for key in cell.swept))
    names = [_folder_name(i, cell) for i, (cell, _) in enumerate(kept)]
    asked = {
        "schema": runs.SCHEMA,
        "command": command,
        "varied": varied,
        "cells": [
            {"folder": name, "overrides": cell.overrides}
            for name, (cell, _) in zip(names, kept, strict=True)
        ],
    }
    with Signals() as signals:
        for name, (_, prepared) in zip(names, kept, strict=True):
            (folder / name).mkdir()
            start(prepared, command, folder / name)
        runs.write_text(folder / runs.SWEEP, yaml.safe_dump(asked, sort_keys=False))
        write_table(folder)
        print(f"sweep  {folder}: {len(kept)} runs", flush=True)
        try:
            for unit in units:
                of, data = [names[i] for i in unit], kept[unit[0]][1].data
                first = f"{unit[0] + 1}/{len(kept)}  {of[0]}"
                title = first if len(of) == 1 else f"{first} and {len(of) - 1} more in one stack"
                print(f"\n── {title} " + "─" * max(0, 64 - len(title)), flush=True)
                if len(of) == 1:
                    run(folder / of[0], data, signals=signals)
                    write_table(folder)
                else:
                    from genai_cli import packed

                    packed.train(
                        [folder / name for name in of], data, signals, lambda: write_table(folder)
                    )
                if signals.code:
                    break
        finally:  # a second Ctrl-C comes through here, too
            waiting = [name for name in names if not (folder / name / runs.LOG).exists()]
            for name in waiting:
                set_status(folder / name, "interrupted")
            write_table(folder)
    if signals.code:
        print(
            f"sweep interrupted, {len(waiting)} runs not begun; go on with one: genai resume CELL"
        )
    print(f"\n{summary(folder)}")
    failed = sum(row["status"] == "failed" for row in rows(folder))
    if failed:
        print(f"genai train: {failed} of {len(kept)} runs failed", file=sys.stderr)
    print(f"sweep  {folder}")
    return signals.code or int(failed > 0)


def _checked(cells: Sequence[Cell]) -> list[tuple[Cell, Prepared]]:
    """Prepare every cell; those that come out as the same run collapse to one, and it is told."""
    datasets: dict[str, Any] = {}  # one copy of a data set serves all its cells
    kept: list[tuple[Cell, Prepared]] = []
    seen: dict[str, int] = {}
    notes: dict[str, None] = {}
    for cell in cells:
        described = " ".join(f"{k}={v}" for k, v in cell.swept.items())
        config, dropped = without_absent_keys(cell)
        key = yaml.safe_dump([config.dataset, config.split_seed])
        try:
            prepared = prepare(config, lambda text: notes.setdefault(text), datasets.get(key))
        except UserError as error:
            raise UserError(f"cell {described}: {error}; nothing was launched") from None
        datasets[key] = prepared.data
        same = yaml.safe_dump(dataclasses.asdict(prepared.cfg))
        if same in seen:
            continue
        seen[same] = len(kept)
        swept = {k: v for k, v in cell.swept.items() if k not in dropped}
        given = [o for o in cell.overrides if o.partition("=")[0] not in dropped]
        kept.append((cell._replace(swept=swept, overrides=given), prepared))
        for absent in dropped:
            asked = len({c.swept[absent] for c in cells if absent in c.swept})
            family = config.model["name"]
            notes.setdefault(f"{family} has no {absent}: 1 run, not {asked}")
    for note in notes:
        print(note, file=sys.stderr)
    return kept


def _units(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Which cells train together: each alone, unless trainer.pack says otherwise."""
    if all(cell.cfg.trainer.pack == "none" for cell in prepared):
        return [[i] for i in range(len(prepared))]
    from genai_cli.training import pack_plan

    configs, data = [cell.cfg for cell in prepared], [cell.data for cell in prepared]
    return pack_plan.units(configs, data, lambda text: print(text, file=sys.stderr))


def without_absent_keys(cell: Cell) -> tuple[Any, list[str]]:
    """The cell's config without a swept bottleneck that its family lacks, and what was left out."""
    from genai_cli.build import takes_bottleneck

    if "bottleneck" in cell.swept and not takes_bottleneck(cell.config.model.get("name")):
        return dataclasses.replace(cell.config, bottleneck=None), ["bottleneck"]
    return cell.config, []


def _folder_name(index: int, cell: Cell) -> str:
    """``000-vae-bottleneck-8``: a group's choice by its name alone, another key with its value."""
    parts = [v if k in GROUPS else f"{k}-{v}" for k, v in cell.swept.items()]
    return f"{index:03d}-{runs.slug('-'.join(parts), 80)}"


def rows(folder: Path) -> list[dict[str, str]]:
    """One row for each cell: what was varied, how it stands, its numbers so far."""
    try:
        asked = yaml.safe_load((folder / runs.SWEEP).read_text(encoding="utf-8"))
        cells = [(c["folder"], c["overrides"]) for c in asked["cells"]]
        varied = list(asked["varied"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(f"{folder / runs.SWEEP} is damaged") from None
    out = []
    for name, overrides in cells:
        values = dict(o.split("=", 1) for o in overrides)
        described = runs.read_json(folder / name / runs.RUN)
        done = runs.read_json(folder / name / runs.SUMMARY)
        row = {"cell": name} | {key: values.get(key, "") for key in varied}
        begun = (folder / name / runs.LOG).exists() or described.get("status") != "running"
        row["status"] = described.get("status", "") if begun else ""
        row["parameters"] = str(described.get("parameters", ""))
        row["epoch"] = str(done.get("epoch", ""))
        row["seconds"] = str(done.get("seconds", ""))
        row |= {k: repr(entry["value"]) for k, entry in done.get("metrics", {}).items()}
        out.append(row)
    return out


def write_table(folder: Path) -> None:
    """sweep.csv."""
    table = rows(folder)
    columns = list(dict.fromkeys(column for row in table for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    runs.write_text(folder / runs.SWEEP_TABLE, text.getvalue())


def summary(folder: Path) -> str:
    """The table of a finished sweep as text: – where a family has no such number."""
    table = rows(folder)
    every = list(dict.fromkeys(column for row in table for column in row))
    # a term of one family in a sweep of several says nothing beside the others
    half = {c for c in every if 2 * sum(bool(row.get(c)) for row in table) >= len(table)}
    columns = [c for c in every if c in half or not c.startswith("test/")]
    body = []
    for row in table:
        cells = [row.get(c) or "–" for c in columns]
        for i, column in enumerate(columns):
            if column.startswith("test/") and cells[i] != "–":
                cells[i] = short(float(cells[i]))
        body.append(cells)
    left = len(every) - len(columns)
    more = f"\n  and {left} more columns in {folder / runs.SWEEP_TABLE}" if left else ""
    return plain_table("cells", columns, body) + more
