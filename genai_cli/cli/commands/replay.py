"""`genai replay RUN` repeats on the CPU the step at which a run diverged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genai_cli.cli.arguments import ReplayRequest, parse_arguments
from genai_cli.errors import UserError
from genai_cli.runner.console import show
from genai_cli.store import lookup, run_folder
from genai_cli.system.text import format_number, format_table

if TYPE_CHECKING:
    from genai_cli.training.divergence.ranges import LayerRanges, NonFinite, Range


def main(args: list[str]) -> int:
    """Replay one run's black box; 0 reproduced, 1 not reproduced here, 2 a mistake."""
    (name,), request, _ = parse_arguments(args, "replay", ReplayRequest)
    folder = lookup.find(name, request.outputs)

    from genai_cli.store import run_config
    from genai_cli.training import machine
    from genai_cli.training.divergence import blackbox

    box = folder / blackbox.BOX
    if not box.is_dir():
        raise UserError(
            f"{folder} has no black box; a run gets one when a loss or a gradient is not finite"
        )
    recorded = run_config.load_config(box)
    cfg = dataclasses.replace(recorded, precision=request.precision or recorded.precision)
    threads = run_folder.read_json(box / blackbox.REPORT).get("threads")
    with machine.numerics(cfg, threads if isinstance(threads, int) else None):
        step = blackbox.open_box(box, cfg)
        nonfinite, inspector = blackbox.take_step(step)
    report = step.report
    show(
        f"step {step.run.step + 1} of {folder.name}: epoch {step.run.epoch + 1}, rate "
        f"{format_number(step.run.lr())}, {cfg.precision} on the CPU, player {inspector.player}"
    )
    show(f"then   {describe(report)}")
    show(f"now    {describe(_report_of(nonfinite))}")
    show("")
    rows = [_row(layer, nonfinite) for layer in inspector.layers.values()]
    show(format_table("ranges", ("layer", "weights", "outputs", "gradients", ""), rows))
    show("")
    same = nonfinite is not None
    show("reproduced" if same else "not reproduced here")
    if nonfinite is None and cfg.precision == "fp64" != recorded.precision:
        show(f"note   in fp64 it is finite: its numbers leave the range of {recorded.precision}")
    return int(not same)


def describe(report: Mapping[str, Any]) -> str:
    """Describe the first non-finite number of a report and its layer."""
    if not report.get("reproduced"):
        return "every number of the step is finite"
    player, term, layer, value = (report.get(k) for k in ("player", "term", "layer", "value"))
    if term == "gradient":
        return f"a gradient of the {player} is {value}, first in {layer}"
    if term == "update":
        return f"{layer} is {value} after the update"
    return f"{player}/{term} is {value}, first at {layer}"


def _report_of(nonfinite: NonFinite | None) -> dict[str, Any]:
    if nonfinite is None:
        return {"reproduced": False}
    where = {"player": nonfinite.player, "term": nonfinite.term, "layer": nonfinite.layer}
    return {"reproduced": True, "value": str(nonfinite.value)} | where


def _row(layer: LayerRanges, nonfinite: NonFinite | None) -> tuple[str, ...]:
    first = nonfinite is not None and nonfinite.layer in (layer.name, f"{layer.name} (its weights)")
    cells = (_format_range(r) for r in (layer.weights, layer.outputs, layer.gradients))
    return (layer.name, *cells, "◀ first" if first else "")


def _format_range(values: Range | None) -> str:
    """A range in a cell: what is finite, and the share of what is not."""
    if values is None:
        return "–"
    inside = (
        f"{format_number(values.low)} … {format_number(values.high)}"
        if values.low is not None
        else ""
    )
    other = f"{100 * values.broken:.3g} % not finite" if values.broken else ""
    return ", ".join(part for part in (inside, other) if part) or "empty"
