"""Write metrics.csv, which `genai_cli.store.run_folder.read_metrics` reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.store.run_folder import METRICS, read_metrics
from genai_cli.system.atomic_write import append, write_text

TAIL = 1 << 14  # characters from the end in which the last row is looked for


class MetricsWriter:
    """Writes metrics.csv, one row an epoch: appended, or all rows where a column is new.

    A row counts once its line has ended (`read_metrics`), so that none is ever seen torn. Memory
    holds the last one alone: a run may have a million.
    """

    FIXED = ("epoch", "step", "images", "seconds", "lr", "train/loss", "val/loss")

    def __init__(self, folder: Path, up_to_step: int = 0, steps_per_epoch: int = 1) -> None:
        """Keep the rows of whole epochs up to a step: a resumed run writes the later ones again."""
        self.path = folder / METRICS
        self.kept = [
            row
            for row in read_metrics(folder)
            if row["step"] <= up_to_step and row["step"] % steps_per_epoch == 0
        ]
        self.last: dict[str, float] = self.kept[-1] if self.kept else {}
        self.columns: list[str] = []  # empty until the first row is written

    def add(self, row: Mapping[str, float]) -> None:
        """Write the row of an epoch."""
        self.last = dict(row)
        if self.columns and row.keys() <= set(self.columns):
            append(self.path, self._line(row) + "\n")
        else:
            before = read_metrics(self.path.parent) if self.columns else self.kept
            self._write([*before, self.last])
            self.kept = []

    def sync(self) -> None:
        """Make the rows so far durable."""
        if self.columns:
            with open(self.path, "ab") as file:
                os.fsync(file.fileno())

    def _line(self, row: Mapping[str, float]) -> str:
        return ",".join(_number(row[n]) if n in row else "" for n in self.columns)

    def _write(self, rows: Sequence[Mapping[str, float]]) -> None:
        names = dict.fromkeys(name for r in rows for name in r)
        fixed = [n for n in self.FIXED if n in names]
        terms = [n for n in names if n not in fixed]
        self.columns = fixed + [n for n in terms if n.startswith("train/")]
        self.columns += [n for n in terms if not n.startswith("train/")]
        lines = [",".join(self.columns), *map(self._line, rows)]
        write_text(self.path, "\n".join(lines) + "\n")


def last_row(folder: Path) -> dict[str, float]:
    """Return the newest row of a run without reading those before it; {} if there is none."""
    try:
        with open(folder / METRICS, encoding="utf-8", newline="") as file:
            head = file.readline().rstrip("\n")
            start = file.tell()
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - TAIL))
            lines = (
                file.read().rpartition("\n")[0].splitlines()
            )  # a row that is being written has no end yet
    except (OSError, UnicodeDecodeError):
        return {}
    for line in lines[-1:]:
        values = dict(zip(head.split(","), line.split(","), strict=False))
        try:
            return {name: float(value) for name, value in values.items() if value}
        except ValueError:
            return {}
    return {}


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)
