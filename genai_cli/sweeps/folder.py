"""A sweep is a folder: what was asked, one run folder for each cell, one table kept current."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import yaml

from genai_cli import runs
from genai_cli.compose import GROUPS, Cell
from genai_cli.errors import UserError
from genai_cli.textual import plain_table, short


def cell_name(index: int, cell: Cell) -> str:
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
