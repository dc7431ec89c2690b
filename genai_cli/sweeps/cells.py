"""Name the folders of a sweep's cells."""

from __future__ import annotations

from genai_cli.config.compose import ComposedCell
from genai_cli.config.overrides import GROUPS
from genai_cli.store import run_folder


def cell_name(index: int, cell: ComposedCell) -> str:
    """Return a name like ``000-vae-bottleneck-8``: a group's choice, another key with its value."""
    parts = [v if k in GROUPS else f"{k}-{v}" for k, v in cell.swept.items()]
    return f"{index:03d}-{run_folder.slug('-'.join(parts), 80)}"
