"""Every cell of a sweep is checked, and built on the meta device, before the first is launched."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from genai_cli.compose import Cell
from genai_cli.errors import UserError
from genai_cli.verbs.train import Prepared, prepare


def checked(cells: Sequence[Cell]) -> list[tuple[Cell, Prepared]]:
    """Prepare every cell; those that come out as the same run collapse to one, and it is told."""
    datasets: dict[str, Any] = {}  # one copy of a data set serves all its cells
    kept: list[tuple[Cell, Prepared]] = []
    seen: dict[str, int] = {}
    notes: dict[str, None] = {}
    for cell in cells:
        described = " ".join(f"{k}={v}" for k, v in cell.swept.items())
        config, dropped = without_absent_keys(cell)
        key = yaml.safe_dump([config.dataset, config.split_seed])
        try:
            prepared = prepare(config, lambda text: notes.setdefault(text), datasets.get(key))
        except UserError as error:
            raise UserError(f"cell {described}: {error}; nothing was launched") from None
        datasets[key] = prepared.data
        same = yaml.safe_dump(dataclasses.asdict(prepared.cfg))
        if same in seen:
            continue
        seen[same] = len(kept)
        swept = {k: v for k, v in cell.swept.items() if k not in dropped}
        given = [o for o in cell.overrides if o.partition("=")[0] not in dropped]
        kept.append((cell._replace(swept=swept, overrides=given), prepared))
        for absent in dropped:
            asked = len({c.swept[absent] for c in cells if absent in c.swept})
            family = config.model["name"]
            notes.setdefault(f"{family} has no {absent}: 1 run, not {asked}")
    for note in notes:
        print(note, file=sys.stderr)
    return kept


def without_absent_keys(cell: Cell) -> tuple[Any, list[str]]:
    """The cell's config without a swept bottleneck that its family lacks, and what was left out."""
    from genai_cli.build import takes_bottleneck

    if "bottleneck" in cell.swept and not takes_bottleneck(cell.config.model.get("name")):
        return dataclasses.replace(cell.config, bottleneck=None), ["bottleneck"]
    return cell.config, []
