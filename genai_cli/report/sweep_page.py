"""Write the page of a sweep: its cells side by side, then each one folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from genai_cli.config import schema
from genai_cli.report import curves, numbers, parts
from genai_cli.report.comparison import compare_cells
from genai_cli.report.facts import Facts, mapping, number, read
from genai_cli.report.figures import caption_order, load_figures
from genai_cli.report.render import render
from genai_cli.store import run_folder, safe_yaml
from genai_cli.system.text import format_number

FOLDER = "compare"  # in the sweep: what `genai compare` and `genai report` draw
OVERLAID = "losses"  # its figure that this page draws itself
BUDGET = 10_000_000  # characters of the cells' own figures; a page much larger is no mail
DONE = ("finished", "stopped")
OF_A_CELL = ("samples", "reconstructions", "predictions")
MOST_CELLS = 100  # shown one by one, each for 10 kB; the table has all
MOST_LINES = 6  # curves in one panel
LABELS = 150  # pixels for their names


def sweep_page(folder: Path) -> str:
    """Return the whole document about a sweep, in any state its cells may be in."""
    cells = [read(f) for f in run_folder.cells(folder)]
    manifest = _manifest(folder)
    keys = manifest.get("varied")
    varied = [str(key) for key in keys] if isinstance(keys, list) else []
    listed = _select_cells(cells)
    drawn = [f for f in (folder / FOLDER).glob("*.png") if not f.stem.startswith(OVERLAID)]
    measures = list(dict.fromkeys(n for c in cells for n in mapping(c.summary.get("metrics"))))
    models, datasets = (_names(getattr(c, k) for c in cells) for k in ("model", "dataset"))
    reference = folder.name.rsplit("-", 1)[-1]
    return render(
        "sweep.html",
        title=f"{models} on {datasets}: {len(cells)} runs",
        name=folder.name,
        statuses=Counter(cell.status for cell in cells),
        started=min((str(c.described.get("started") or "~") for c in cells), default=""),
        seconds=sum(c.seconds or 0 for c in cells),
        command=parts.without_outputs(str(manifest.get("command") or "")),
        undone=[c for c in cells if c.status not in DONE],
        anchors={c.name: f"run-{c.name.split('-', 1)[0]}" for c in listed},
        comparison=compare_cells(folder),
        search=load_figures([folder / "search.png"], "the sweep"),
        varied=varied,
        measures=[numbers.measure(name).label for name in measures],
        rows=[(cell, _varied(cell, varied), _values(cell, measures)) for cell in cells],
        figures_of_all=load_figures(sorted(drawn, key=caption_order), "the sweep"),
        losses=_losses(listed, varied),
        **_gather_cells(listed),
        more=len(cells) - len(listed),
        next_commands=[
            (f"genai compare {reference} --evaluate", "measures every cell with one ruler"),
            (f"genai report {reference}/000", "the same page for one cell"),
        ],
    )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return mapping(safe_yaml.load((folder / run_folder.SWEEP).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}


def _names(words: Iterable[str]) -> str:
    names = list(dict.fromkeys(words))
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "") or "a sweep"


def _select_cells(cells: list[Facts]) -> list[Facts]:
    """Return the cells that the page has one by one: those that are not done, then the first."""
    undone = [c.name for c in cells if c.status not in DONE]
    wanted = {*undone, *[c.name for c in cells][: max(0, MOST_CELLS - len(undone))]}
    return [c for c in cells if c.name in wanted][:MOST_CELLS]


def _varied(cell: Facts, keys: list[str]) -> list[str]:
    """Return what was varied, in words; "" where the cell lacks the key."""
    flat = schema.flatten(cell.config)
    values = [flat.get(key, flat.get(f"{key}.name")) for key in keys]
    return ["" if v is None else cell.public(numbers.format_value(v)) for v in values]


def _values(cell: Facts, measures: list[str]) -> list[str]:
    """Return the numbers on the test split at the end of training; "" where there is none."""
    entries = mapping(cell.summary.get("metrics"))
    values = [number(mapping(entries.get(name)).get("value")) for name in measures]
    return ["" if v is None else format_number(v) for v in values]


def _losses(cells: list[Facts], varied: list[str]) -> list[curves.CurvePanel]:
    """Return validation losses overlaid, one panel an objective: others do not compare."""
    members: dict[str, list[tuple[str, list[curves.Point]]]] = {}
    for cell in cells:
        side = "val" if any("val/loss" in r for r in cell.rows) else "train"
        key = f"{side}/loss"
        if not any(key in r for r in cell.rows):
            continue
        title = f"{'validation' if side == 'val' else 'training'} loss, "
        title += f"{mapping(cell.config.get('loss')).get('name', '?')} on {cell.dataset}"
        label = " ".join([cell.name.partition("-")[0], *filter(None, _varied(cell, varied))])
        points = [(r["epoch"], r.get(key, float("nan"))) for r in cell.rows]
        members.setdefault(title, []).append((label, points))
    return [
        curves.lay_out_panel(
            f"l{i}-{j}",
            title,
            [
                curves.CurveLine(label, "", curves.SERIES[k], k % 2 == 1, points)
                for k, (label, points) in enumerate(lines[j : j + MOST_LINES])
            ],
            margin=LABELS,
        )
        for i, (title, lines) in enumerate(members.items())
        for j in range(0, len(lines), MOST_LINES)
    ]


def _gather_cells(cells: list[Facts]) -> dict[str, Any]:
    """Return what each cell's own part has, with figures until the budget is spent, and how many
    cells go without."""
    spent, without, gathered = 0, 0, []
    for i, cell in enumerate(cells):
        values = parts.gather(cell, OF_A_CELL, prefix=f"r{i}-")
        size = sum(len(figure.base64) for figure in values["figures"])
        if spent + size > BUDGET:
            without, size, values["figures"] = without + 1, 0, []
        spent += size
        gathered.append(values)
    return {"cells": gathered, "without_figures": without}
