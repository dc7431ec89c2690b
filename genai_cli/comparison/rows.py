"""The rows of a comparison: a run each, or the runs that differ only in their seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from genai_cli.comparison import choose
from genai_cli.comparison.choose import TableCell
from genai_cli.comparison.read import DONE, Run
from genai_cli.store.run_folder import cells, is_sweep

NEUTRAL = {"temperature": 1, "guidance": 1, "eta": 0}  # options that change nothing so


def sampler_text(player: Mapping[str, Any]) -> str:
    """Return the sampling settings as text: ``ddim, 50 steps, averaged weights``."""
    words = [str(player["sampler"])] if player.get("sampler") else []
    if player.get("steps"):
        words.append(f"{player['steps']} steps")
    known = ("sampler", "steps", "ema", *choose.BESIDE)
    more = {k: v for k, v in player.items() if k not in known and v is not None}
    words += [f"{k}={v}" for k, v in more.items() if NEUTRAL.get(k) != v]
    if player.get("ema"):
        words.append("averaged weights")
    return ", ".join(words)


@dataclass(eq=False)  # a row is itself: comparing all its numbers would take long in a large sweep
class Row:
    """One row: a run, or the runs that differ only in their seed."""

    label: str
    runs: list[Run]
    cells: dict[str, TableCell]
    settings: dict[str, str]  # keys that differ within the section, as text

    @property
    def run(self) -> Run:
        return self.runs[0]

    @property
    def status(self) -> str:
        return self.run.status

    @property
    def seeds(self) -> int:
        return len(self.runs)

    @property
    def references(self) -> str:
        """Return the row's run references: k3f9/000, or k3f9/000 … 002 for several."""
        names = [run.reference for run in self.runs]
        if len(names) == 1:
            return names[0]
        first, last = names[0], names[-1]
        stem = first.rpartition("/")[0]
        if stem and all(name.rpartition("/")[0] == stem for name in names):
            return f"{first}…{last.rpartition('/')[2]}"
        return ", ".join(names) if len(names) <= 2 else f"{first} +{len(names) - 1}"

    def applies(self, name: str) -> bool:
        """Return True if a missing number could be measured: '–', not 'n/a'."""
        if name in self.cells:
            return True
        group = name.split("/")[0]
        if group == "cost":
            return self.status not in DONE
        if (group == "prediction") != self.run.predicts:
            return False
        return not all(run.complete for run in self.runs)

    def missing(self, name: str) -> bool:
        return self.applies(name) and name not in self.cells

    @property
    def player(self) -> str:
        """Return the row's sampling settings in words."""
        for name in (choose.FIRST, "speed/many", *self.cells):
            if name in self.cells and self.cells[name].player:
                return sampler_text(self.cells[name].player)
        return ""


@dataclass
class Section:
    """The rows of one data set."""

    dataset: str
    rows: list[Row]
    columns: list[str]  # names of measures
    settings: list[str]  # keys that differ
    floors: dict[str, dict[str, dict[str, Any]]]  # what → measure → floor
    notes: list[str] = field(default_factory=list)


@dataclass
class Comparison:
    """The sections and notes that `genai compare` prints."""

    runs: list[Run]
    sections: list[Section]
    notes: list[str]

    @property
    def rows(self) -> list[Row]:
        return [row for section in self.sections for row in section.rows]

    @cached_property
    def sweep(self) -> Path | None:
        """Return the sweep whose cells are exactly these runs, if there is one."""
        paths = {run.path.resolve() for run in self.runs}
        parents = {path.parent for path in paths}
        if len(parents) != 1:
            return None
        (sweep,) = parents
        return sweep if is_sweep(sweep) and paths == set(cells(sweep)) else None
