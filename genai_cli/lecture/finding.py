"""Examine the runs of a lecture item with the doctor and compare with its lesson."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from genai_cli.doctor import read
from genai_cli.doctor.finding import Finding
from genai_cli.doctor.rules import examine
from genai_cli.errors import UserError
from genai_cli.lecture import play
from genai_cli.lecture.chapters import SHOWS
from genai_cli.lecture.folder import ItemState
from genai_cli.store import outputs, run_folder

MAX_PHRASES = 3  # phrases that a line says of a sweep


class ItemRuns(NamedTuple):
    """Runs, sweeps and doctor's findings of an item's folder."""

    singles: list[Path]  # runs
    sweeps: list[Path]
    findings: dict[Path, list[Finding]]  # of each single run and each cell, as the doctor says


def examine_runs(home: Path) -> ItemRuns:
    """Collect an item's runs and sweeps and examine them. A damaged run has no findings."""
    below = list(outputs.folders(home))
    singles, sweeps = (
        list(filter(run_folder.is_run, below)),
        list(filter(run_folder.is_sweep, below)),
    )
    findings = {}
    for run in [*singles, *(cell for sweep in sweeps for cell in run_folder.cells(sweep))]:
        try:
            findings[run] = examine(read.run(run))
        except UserError:
            findings[run] = []
    return ItemRuns(singles, sweeps, findings)


def find_contradiction(name: str, what: ItemRuns) -> str:
    """Return a message if no run shows the expected symptom, else ""."""
    expected = SHOWS.get(name)
    phrases = {f.phrase for findings in what.findings.values() for f in findings}
    if expected is None or not what.findings or expected in phrases:
        return ""
    return f"not seen here: {expected}; the doctor says {' · '.join(sorted(phrases)) or 'nothing'}"


def summarize(home: Path, part: ItemState) -> str:
    """Summarize an item for the end of its progress line."""
    if part.status == "failed":
        return f"failed: {failure_reason(home, part)}"
    if part.status != "finished":
        return part.status
    what = examine_runs(home)
    other = find_contradiction(part.name, what)
    if other:
        return other
    cells = [findings for run, findings in what.findings.items() if run not in what.singles]
    words = [_join_phrases(what.findings[run]) for run in what.singles]
    if cells:
        counted = Counter(findings[0].phrase for findings in cells if findings).most_common(
            MAX_PHRASES
        )
        seen_in = ", ".join(f"{n} {phrase}" for phrase, n in counted)
        words.insert(0, f"{len(cells)} runs: {seen_in}")
    return "; ".join(words)


def failure_reason(home: Path, part: ItemState) -> str:
    """Return the reason why an item failed, in one line."""
    last = next((c for c in reversed(part.commands) if c.code is not None), None)
    if last is not None and last.code == 0:
        return "it came to its end, and was to fail"
    return play.last_output_line(home)[:200] or "see its commands.log"


def _join_phrases(findings: Sequence[Finding]) -> str:
    return " · ".join(f.phrase for f in findings[:2])
