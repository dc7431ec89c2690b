"""How the numbers of a row were drawn, and what of a row is not as the row says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genai_cli.comparison import choose, rank
from genai_cli.comparison.rows import played

if TYPE_CHECKING:
    from genai_cli.comparison.rows import Row


def partly(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Rows of several seeds of which not all have a number that counts to the mean shown."""
    notes = []
    for row in rows:
        by_count: dict[int, list[str]] = {}
        for name in columns:
            cell = row.cells.get(name)
            if cell is not None and cell.value is not None and cell.seeds < row.seeds:
                by_count.setdefault(cell.seeds, []).append(name)
        for count, names in by_count.items():
            notes.append(f"{row.label}: {count} of {row.seeds} seeds in {rank.listed(names)}")
    return notes


def otherwise(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Numbers that were drawn in another way than the row says."""
    notes = []
    for row in rows:
        by_settings: dict[str, list[str]] = {}
        for name in columns:
            cell = row.cells.get(name)
            if cell is None or not cell.player or name.split("/")[0] not in choose.SAMPLED:
                continue
            if played(cell.player) != row.player:
                by_settings.setdefault(played(cell.player), []).append(name)
        for settings, names in by_settings.items():
            settings = settings or "other settings"
            notes.append(f"{row.label}: {rank.listed(names)} of samples drawn with {settings}")
    return notes
