"""Put the cells of a sweep side by side, as `genai compare` does; comparison.html has the words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genai_cli.comparison import verdict, words
from genai_cli.comparison.table import compare
from genai_cli.report.private import without_paths
from genai_cli.store import run_folder
from genai_cli.store.labels import reference


def compare_cells(sweep: Path) -> dict[str, Any]:
    """Return the comparison of a sweep's cells: a section for each data set, notes, the legend.

    A section has ``words`` (its tables, reasons, commands and notes) and ``verdict`` (sentences).
    """

    def public(text: str) -> str:
        for name in (sweep.absolute(), sweep):
            text = text.replace(str(name), reference(sweep))
        return without_paths(text, sweep.parent, Path.home())

    result = compare(run_folder.cells(sweep))
    sections = [
        {"words": words.of_section(section, result), "verdict": verdict.sentences(section)}
        for section in result.sections
    ]
    return {
        "sections": sections,
        "notes": result.notes,
        "legend": words.LEGEND,
        "raised": words.superscript,
        "public": public,
    }
