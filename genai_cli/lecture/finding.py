"""What an item's runs show: the doctor's findings, and whether they are the lesson's."""

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
from genai_cli.lecture.folder import Part
from genai_cli.store import outputs, run_folder

MOST = 3  # phrases that a line says of a sweep


class Seen(NamedTuple):
    """What an item's folder holds."""

    singles: list[Path]  # runs
    sweeps: list[Path]
    found: dict[Path, list[Finding]]  # of each single run and each cell, as the doctor says


def seen(home: Path) -> Seen:
    """Runs and sweeps of an item, with the doctor's findings. A damaged run has none."""
    below = list(outputs.folders(home))
    singles, sweeps = (
        list(filter(run_folder.is_run, below)),
        list(filter(run_folder.is_sweep, below)),
    )
    found = {}
    for run in [*singles, *(cell for sweep in sweeps for cell in run_folder.cells(sweep))]:
        try:
            found[run] = examine(read.run(run))
        except UserError:
            found[run] = []
    return Seen(singles, sweeps, found)


def contradiction(name: str, what: Seen) -> str:
    """That no run of an item shows what it is named for; "" if one does, or none is named."""
    expected = SHOWS.get(name)
    phrases = {f.phrase for found in what.found.values() for f in found}
    if expected is None or not what.found or expected in phrases:
        return ""
    return f"not seen here: {expected}; the doctor says {' · '.join(sorted(phrases)) or 'nothing'}"


def in_a_word(home: Path, part: Part) -> str:
    """The end of a progress line."""
    if part.status == "failed":
        return f"failed: {why(home, part)}"
    if part.status != "finished":
        return part.status
    what = seen(home)
    other = contradiction(part.name, what)
    if other:
        return other
    cells = [found for run, found in what.found.items() if run not in what.singles]
    words = [_phrases(what.found[run]) for run in what.singles]
    if cells:
        counted = Counter(found[0].phrase for found in cells if found).most_common(MOST)
        seen_in = ", ".join(f"{n} {phrase}" for phrase, n in counted)
        words.insert(0, f"{len(cells)} runs: {seen_in}")
    return "; ".join(words)


def why(home: Path, part: Part) -> str:
    """Why an item failed, in a line."""
    last = next((c for c in reversed(part.commands) if c.code is not None), None)
    if last is not None and last.code == 0:
        return "it came to its end, and was to fail"
    return play.last_words(home)[:200] or "see its commands.log"


def _phrases(found: Sequence[Finding]) -> str:
    return " · ".join(f.phrase for f in found[:2])
