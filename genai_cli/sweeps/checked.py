"""Validate every cell of a sweep, and build it on the meta device, before the first is launched."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genai_cli.config.compose import ComposedCell
from genai_cli.errors import UserError
from genai_cli.runner.prepare import Prepared, prepare

OnInvalid = Callable[[Mapping[str, str], UserError], None]  # (what is varied in the cell, why)


def refuse_sweep(swept: Mapping[str, str], error: UserError) -> None:
    """Refuse the whole sweep because of one invalid cell."""
    raise UserError(f"cell {describe_cell(swept)}: {error}; nothing was launched") from None


class SkipInvalid:
    """Leaves out an invalid cell and goes on with the others (``sweep.skip_invalid=true``)."""

    def __init__(self) -> None:
        self.cells: list[tuple[str, str]] = []  # what is varied, why

    def __call__(self, swept: Mapping[str, str], error: UserError) -> None:
        self.cells.append((describe_cell(swept), str(error)))
        print(f"left out: cell {describe_cell(swept)}: {error}", file=sys.stderr)


def validate_cells(
    cells: Sequence[ComposedCell], refuse: OnInvalid = refuse_sweep, gpus: int | None = None
) -> list[tuple[ComposedCell, Prepared]]:
    """Prepare every cell; cells that resolve to the same config become one run, with a note.

    Args:
        cells: as composed.
        refuse: is called for a cell that cannot be trained, which is then left out.
        gpus: as of `runner.prepare.prepare`.

    Raises:
        UserError: what ``refuse`` raises; no cell is left.
    """
    datasets: dict[str, Any] = {}  # one copy of a data set serves all its cells
    built: dict[str, dict[str, Any]] = {}  # what was built for one cell holds for those like it
    kept: list[tuple[ComposedCell, Prepared]] = []
    seen: set[str] = set()
    asked: dict[str, set[str]] = {}  # the values of every varied key
    for cell in cells:
        for key, value in cell.swept.items():
            asked.setdefault(key, set()).add(value)
    notes: dict[str, None] = {}
    for cell in cells:
        key = repr([cell.config.dataset, cell.config.split_seed])
        try:
            config, dropped = drop_absent_keys(cell)
            prepared = prepare(config, notes.setdefault, datasets.get(key), built, gpus)
        except UserError as error:
            refuse(cell.swept, error)
            continue
        datasets[key] = prepared.data
        same = repr(dataclasses.asdict(prepared.cfg))
        if same in seen:
            continue
        seen.add(same)
        swept = {k: v for k, v in cell.swept.items() if k not in dropped}
        given = [o for o in cell.overrides if o.partition("=")[0] not in dropped]
        kept.append((cell._replace(swept=swept, overrides=given), prepared))
        for absent in dropped:
            family = config.model["name"]
            notes.setdefault(f"{family} has no {absent}: 1 run, not {len(asked[absent])}")
    for note in notes:
        print(note, file=sys.stderr)
    if not kept:
        raise UserError("no cell of this sweep can be trained; nothing was launched")
    return kept


def drop_absent_keys(cell: ComposedCell) -> tuple[Any, list[str]]:
    """Return the config without a swept bottleneck that its family lacks, and the dropped keys."""
    from genai_cli.models.build import takes_bottleneck

    if "bottleneck" in cell.swept and not takes_bottleneck(cell.config.model.get("name")):
        return dataclasses.replace(cell.config, bottleneck=None), ["bottleneck"]
    return cell.config, []


def describe_cell(swept: Mapping[str, str]) -> str:
    """Format the varied keys of a cell as they were typed: ``model=vae bottleneck=8``."""
    return " ".join(f"{k}={v}" for k, v in swept.items())
