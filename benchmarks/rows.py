"""Rows of results: printed as aligned text, appended to CSV. Not a script."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli.errors import UserError


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal keys as aligned text, numbers right and shortened."""
    if not rows:
        return
    cells = [list(rows[0]), *([_short(v) for v in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        words = zip(line, widths, strict=True)
        print("  ".join(w.ljust(n) if i == 0 else w.rjust(n) for i, (w, n) in enumerate(words)))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def append(path: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows under one header; a file of other columns is refused, not mixed."""
    if path is None or not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    fresh = not path.exists() or not path.stat().st_size
    if not fresh:
        with path.open(newline="", encoding="utf-8") as file:
            found = next(csv.reader(file))
        if found != columns:
            raise UserError(f"--csv {path} has other columns ({', '.join(found)}); name a new file")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if fresh:
            writer.writeheader()
        writer.writerows(rows)
