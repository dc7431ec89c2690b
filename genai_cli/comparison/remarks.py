"""Notes on numbers that come from fewer seeds or another sampler than their row says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genai_cli.comparison import choose, rank
from genai_cli.comparison.rows import sampler_text

if TYPE_CHECKING:
    from genai_cli.comparison.rows import Row


def missing_seeds(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return notes on means that leave out some of a row's seeds."""
    notes = []
    for row in rows:
        by_count: dict[int, list[str]] = {}
        for name in columns:
            cell = row.cells.get(name)
            if cell is not None and cell.value is not None and cell.seeds < row.seeds:
                by_count.setdefault(cell.seeds, []).append(name)
        for count, names in by_count.items():
            notes.append(f"{row.label}: {count} of {row.seeds} seeds in {rank.join_names(names)}")
    return notes


def other_samplers(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Return notes on numbers whose samples were drawn by another sampler than the row says."""
    notes = []
    for row in rows:
        by_settings: dict[str, list[str]] = {}
        for name in columns:
            cell = row.cells.get(name)
            if cell is None or not cell.player or name.split("/")[0] not in choose.SAMPLED:
                continue
            if sampler_text(cell.player) != row.player:
                by_settings.setdefault(sampler_text(cell.player), []).append(name)
        for settings, names in by_settings.items():
            settings = settings or "other settings"
            notes.append(f"{row.label}: {rank.join_names(names)} of samples drawn with {settings}")
    return notes
