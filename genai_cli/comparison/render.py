"""Render a comparison as text for a terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from genai_cli.comparison import verdict, words
from genai_cli.comparison.choose import TableCell
from genai_cli.comparison.rows import Comparison, Row, Section
from genai_cli.comparison.words import LEGEND, Table, superscript
from genai_cli.system.text import csv_cell

SCHEMA = 1
WIDTH = 110  # of a table, where the columns allow it
NARROW = 18  # a column of words is wrapped, but not below this


def render_text(comparison: Comparison) -> str:
    """Render a comparison as text for a terminal or a pipe."""
    blocks = [LEGEND]
    for section in comparison.sections:
        content = words.of_section(section, comparison)
        blocks.append(f"── {content.title} " + "─" * max(0, 60 - len(content.title)))
        blocks += [_text_table(part) for table in content.tables for part in _split(table)]
        below = [f"{superscript(i)} {reason}" for i, reason in enumerate(content.reasons, 1)]
        below += [f"note: {note}" for note in content.notes]
        below = [_wrapped(line, "  ") for line in below]
        for command in content.commands:  # whole, to be copied
            below += [_wrapped(f"– {content.gaps}; type:", "  "), f"    {command}"]
        if below:
            blocks.append("\n".join(below))
        sentences = verdict.sentences(section)
        if sentences:
            text = "\n".join(_wrapped(sentence, "  ") for sentence in sentences)
            blocks.append(f"verdict\n{text}")
    if comparison.notes:
        blocks.append("\n".join(_wrapped(f"note: {note}", "") for note in comparison.notes))
    return "\n\n".join(blocks)


def _wrapped(line: str, indent: str) -> str:
    return textwrap.fill(
        line,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _split(table: Table) -> Iterator[Table]:
    """Tables no wider than WIDTH, by whole columns; each keeps the column of names."""
    if len(table.left) > 1:
        yield table
        return
    sizes = [max(len(row[i]) for row in [table.head, *table.rows]) for i in range(len(table.head))]
    start = 1
    title = table.title
    while start < len(sizes):
        stop, total = start, 2 + sizes[0]
        while stop < len(sizes) and (stop == start or total + 2 + sizes[stop] <= WIDTH):
            total += 2 + sizes[stop]
            stop += 1
        rows = [[row[0], *row[start:stop]] for row in [table.head, *table.rows]]
        yield Table(title, rows[0], rows[1:])
        start, title = stop, f"{table.title}, continued"


def _text_table(table: Table) -> str:
    """Columns aligned; long words wrapped, never cut."""
    limits = _limits(table)
    wrapped = [[_lines(c, limits[i]) for i, c in enumerate(row)] for row in table.rows]
    head = [f"{h} " if i not in table.left else h for i, h in enumerate(table.head)]
    columns = range(len(head))
    sizes = [max(len(head[i]), *(len(x) for row in wrapped for x in row[i])) for i in columns]

    def line(parts: Sequence[str]) -> str:
        padded = [
            p.ljust(sizes[i]) if i in table.left else p.rjust(sizes[i]) for i, p in enumerate(parts)
        ]
        return ("  " + "  ".join(padded)).rstrip()

    out = [table.title, line(head), "  " + "  ".join("─" * size for size in sizes)]
    for row in wrapped:
        for k in range(max(map(len, row))):
            out.append(line([cell[k] if k < len(cell) else "" for cell in row]))
    return "\n".join(out)


def _limits(table: Table) -> list[int | None]:
    """Widths to which columns of words are wrapped so that the table fits; None: never wrapped."""
    sizes = [max(len(row[i]) for row in [table.head, *table.rows]) for i in range(len(table.head))]
    limits: list[int | None] = [size if i in table.left else None for i, size in enumerate(sizes)]
    while sum(sizes) + 2 * len(sizes) > WIDTH:
        widest = max(table.left, key=lambda i: sizes[i])
        if sizes[widest] <= NARROW:
            break
        sizes[widest] -= 1
        limits[widest] = sizes[widest]
    return limits


def _lines(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def markdown(comparison: Comparison) -> str:
    """Render a comparison as GitHub's tables, with everything below them in lists."""
    out = ["# Comparison", "", LEGEND.replace("*", r"\*").replace("   ", " · "), ""]
    for section in comparison.sections:
        content = words.of_section(section, comparison)
        out += [f"## {_escaped(content.title)}", ""]
        sentences = verdict.sentences(section)
        if sentences:
            out += ["**Verdict**", "", *(f"- {_escaped(s)}" for s in sentences), ""]
        for table in content.tables:
            out += [f"**{table.title}**", ""]
            rule = [":--" if i in table.left else "--:" for i in range(len(table.head))]
            cells = [[_escaped(c.strip()) for c in row] for row in [table.head, *table.rows]]
            rows = [cells[0], rule, *cells[1:]]
            out += ["| " + " | ".join(row) + " |" for row in rows] + [""]
        below = [
            f"{superscript(i)} {_escaped(reason)}" for i, reason in enumerate(content.reasons, 1)
        ]
        below += [f"– {content.gaps}: `{command}`" for command in content.commands]
        below += [_escaped(note) for note in content.notes]
        out += [f"- {line}" for line in below] + [""] * bool(below)
    out += [f"- {_escaped(note)}" for note in comparison.notes]
    return "\n".join(out).strip() + "\n"


def _escaped(text: str) -> str:
    """Escape what Markdown or HTML would interpret."""
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*_`\[\]~#])", r"\\\1", text)


def comma_separated(comparison: Comparison) -> str:
    """Render a CSV with one line for each row of the comparison.

    A number takes five columns: value, low and high of the interval, n, and a short hash of its
    ruler (rank only where it is the same). Of likelihoods a sixth says exact or bound.
    """
    settings = list(dict.fromkeys(k for section in comparison.sections for k in section.settings))
    measures = list(dict.fromkeys(n for section in comparison.sections for n in section.columns))
    head = ["label", "dataset", "run", "model", "status", "seeds", *settings, "drawn with"]
    head += [f"{name}{part}" for name in measures for part in _parts(name)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, head))
    for section in comparison.sections:
        for row in section.rows:
            named = [row.label, section.dataset, " ".join(r.reference for r in row.runs)]
            named += [row.run.model, row.status, str(row.seeds)]
            named += [row.settings.get(key, "") for key in settings] + [row.player]
            named = list(map(csv_cell, named))
            writer.writerow(named + [x for n in measures for x in _fields(n, row.cells.get(n))])
    return text.getvalue()


def _parts(name: str) -> list[str]:
    kind = [" kind"] if name.startswith("likelihood/") else []
    return ["", " low", " high", " n", " ruler", *kind]


def _fields(name: str, cell: TableCell | None) -> list[str]:
    if cell is None or cell.value is None:
        return [""] * len(_parts(name))
    numbers = ["" if x is None else repr(x) for x in (cell.value, cell.low, cell.high, cell.n)]
    ruler = hashlib.sha256(cell.key.encode()).hexdigest()[:8]
    # a letter first: eight digits would be read as a number
    fields = [*numbers, f"r{ruler}", str(cell.player.get("likelihood") or "")]
    return fields[: len(_parts(name))]


def json_text(comparison: Comparison) -> str:
    """Render everything as JSON, with rulers and players, for scripts."""
    value = {
        "schema": SCHEMA,
        "sections": [_section(section, comparison) for section in comparison.sections],
        "notes": comparison.notes,
    }
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _section(section: Section, comparison: Comparison) -> dict[str, Any]:
    content = words.of_section(section, comparison)
    return {
        "dataset": section.dataset,
        "settings": section.settings,
        "rows": [_row(row, section) for row in section.rows],
        "floors": section.floors,
        "notes": content.notes,
        "commands": content.commands,
        "verdict": verdict.sentences(section),
    }


def _row(row: Row, section: Section) -> dict[str, Any]:
    return {
        "label": row.label,
        "runs": [run.reference for run in row.runs],
        "paths": [str(run.path) for run in row.runs],
        "model": row.run.model,
        "status": row.status,
        "seeds": row.seeds,
        "settings": row.settings,
        "player": row.player,
        "metrics": {name: _entry(row.cells[name]) for name in section.columns if name in row.cells},
    }


def _entry(cell: TableCell) -> dict[str, Any]:
    if cell.value is None:
        return {"value": None, "reason": cell.reason}
    named = {"*": "best", "≈": "not distinguishable from the best"}
    return {
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "n": cell.n,
        "seeds": cell.seeds,
        "mark": named.get(cell.mark),
        "floor": cell.floor,
        "passport": {"ruler": cell.ruler, "player": cell.player},
    }
