"""The page of a sweep: its cells side by side, then each one folded."""

from __future__ import annotations

from pathlib import Path

import yaml

from genai_cli.config import schema
from genai_cli.report import comparison, curves, figures, numbers, parts, settings
from genai_cli.report.facts import Facts, mapping, number, read
from genai_cli.report.markup import Html, details, el, join, table
from genai_cli.report.page import Section, duration, page, when
from genai_cli.store import run_folder, safe_yaml
from genai_cli.system.text import short

FOLDER = "compare"  # in the sweep: what `genai compare` and `genai report` draw
OVERLAID = "losses"  # its figure that this page draws itself
BUDGET = 10_000_000  # bytes of the cells' own figures; a page much larger is no mail
DONE = ("finished", "stopped")
OF_A_CELL = ("samples", "reconstructions", "predictions")
MOST_CELLS = 100  # shown one by one, each for 10 kB; the table has all
MOST_LINES = 6  # curves in one panel
LABELS = 150  # pixels for their names


def sweep_page(folder: Path) -> str:
    """The whole document about a sweep, in any state its cells may be in."""
    cells = [read(f) for f in run_folder.cells(folder)]
    asked = _asked(folder)
    listed = asked.get("varied")
    varied = [str(key) for key in listed] if isinstance(listed, list) else []
    title = f"{_names(c.model for c in cells)} on {_names(c.dataset for c in cells)}"
    told = comparison.told(folder)
    shown = _shown(cells)
    drawn = [f for f in (folder / FOLDER).glob("*.png") if not f.stem.startswith(OVERLAID)]
    drawn.sort(key=figures.place)
    sections = [
        Section("verdict", "Verdict", told.verdict),
        Section("search", "Search", figures.figure(folder / "search.png", "the sweep")),
        Section("cells", "Cells", _cells(cells, varied, shown)),
        Section("comparison", "Comparison", told.tables),
        Section("figures", "Figures", *(figures.figure(f, "the sweep") for f in drawn)),
        Section("curves", "Losses", _losses(shown, varied)),
        Section("runs", "Each run", _folded(shown, len(cells) - len(shown))),
        Section("next", "How to go on", _next(folder)),
    ]
    return page(f"{title}: {len(cells)} runs", _lead(folder, cells, asked, shown), sections)


def _asked(folder: Path) -> dict[str, object]:
    try:
        return mapping(safe_yaml.load((folder / run_folder.SWEEP).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}


def _names(words: object) -> str:
    found = list(dict.fromkeys(words))  # type: ignore[call-overload]
    return ", ".join(found[:6]) + (" …" if len(found) > 6 else "") or "a sweep"


def _shown(cells: list[Facts]) -> list[Facts]:
    """The cells that the page shows one by one: those that are not done, then the first."""
    undone = [c.name for c in cells if c.status not in DONE]
    wanted = {*undone, *[c.name for c in cells][: max(0, MOST_CELLS - len(undone))]}
    return [c for c in cells if c.name in wanted][:MOST_CELLS]


def _lead(
    folder: Path, cells: list[Facts], asked: dict[str, object], shown: list[Facts]
) -> list[object]:
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell.status] = counts.get(cell.status, 0) + 1
    states = ", ".join(f"{n} {parts.WORDS.get(s, s)}" for s, n in counts.items())
    started = min((str(c.described.get("started") or "~") for c in cells), default="")
    items = [el("b", states), when(started), duration(sum(c.seconds or 0 for c in cells))]
    lines: list[object] = [
        el("ul", *(el("li", i) for i in items if i), class_="meta"),
        el("p", "Sweep ", el("code", folder.name), class_="soft"),
    ]
    command = parts.without_outputs(str(asked.get("command") or ""))
    if command:
        lines.append(join(el("p", "To make it again:"), el("pre", command)))
    bad = [c for c in cells if c.status not in DONE]
    if bad:
        links = [_link(c, c.name, shown) for c in bad]
        names = join(*(join(a, f" ({parts.WORDS.get(c.status, c.status)})")
                       for a, c in zip(links, bad, strict=True)), between=", ")  # fmt: skip
        lines.append(el("div", el("p", el("strong", "Not finished: "), names), class_="note warn"))
    return lines


def _anchor(cell: Facts) -> str:
    return f"run-{cell.name.split('-', 1)[0]}"


def _link(cell: Facts, word: str, shown: list[Facts]) -> object:
    """The word, leading to the cell's own part where the page has one."""
    return el("a", word, href=f"#{_anchor(cell)}") if any(c is cell for c in shown) else word


def _cells(cells: list[Facts], varied: list[str], shown: list[Facts]) -> Html:
    """One row a cell: what was varied, how it ended, its numbers on the test split."""
    flat = [schema.flat(c.config) for c in cells]
    columns = list(dict.fromkeys(n for c in cells for n in mapping(c.summary.get("metrics"))))
    rows = []
    for cell, config in zip(cells, flat, strict=True):
        chosen = [config.get(key, config.get(f"{key}.name")) for key in varied]
        entries = mapping(cell.summary.get("metrics"))
        values = [mapping(entries.get(n)) for n in columns]
        rows.append([
            _link(cell, cell.name.split("-", 1)[0], shown),
            *(cell.public(numbers.plain(v)) if v is not None else "–" for v in chosen),
            parts.state(cell),
            duration(cell.seconds),
            *(short(v) if (v := number(e.get("value"))) is not None else "–" for e in values),
        ])  # fmt: skip
    heads = ["cell", *varied, "state", "time", *(numbers.measure(n).label for n in columns)]
    left = tuple(range(len(varied) + 2))
    said = "All cells: what was varied, and the numbers on the test split at the end of training"
    return table(said, heads, rows, left=left)


def _losses(cells: list[Facts], varied: list[str]) -> Html:
    """Validation losses overlaid, one panel an objective: others do not compare."""
    panels: dict[str, list[tuple[Facts, list[curves.Point]]]] = {}
    for cell in cells:
        key = "val/loss" if any("val/loss" in r for r in cell.rows) else "train/loss"
        points = [(r["epoch"], r.get(key, float("nan"))) for r in cell.rows]
        objective = f"{mapping(cell.config.get('loss')).get('name', '?')} on {cell.dataset}"
        if any(key in r for r in cell.rows):
            panels.setdefault(f"{key.replace('val/', 'validation ').replace('train/', 'training ')}"
                              f", {objective}", []).append((cell, points))  # fmt: skip
    drawn = []
    for i, (name, members) in enumerate(panels.items()):
        for j in range(0, len(members), MOST_LINES):
            lines = [
                curves.Line(_label(cell, varied), "", curves.SERIES[k], k % 2 == 1, points)
                for k, (cell, points) in enumerate(members[j : j + MOST_LINES])
            ]
            drawn.append(
                el("figure", curves.chart(f"l{i}-{j}", name, lines, right=LABELS), class_="chart")
            )
    return el("div", *drawn, class_="charts") if drawn else Html("")


def _label(cell: Facts, varied: list[str]) -> str:
    """``001 vae 8``: the cell's number and what was varied."""
    flat = schema.flat(cell.config)
    values = [flat.get(key, flat.get(f"{key}.name")) for key in varied]
    words = [cell.name.partition("-")[0], *(numbers.plain(v) for v in values if v is not None)]
    return " ".join(words)


def _short_name(cell: Facts) -> str:
    index, _, rest = cell.name.partition("-")
    return f"{index} {rest}"


def _folded(cells: list[Facts], more: int) -> Html:
    """Each cell behind its name; figures until the budget is spent.

    Args:
        cells: those that are shown.
        more: how many are not.
    """
    spent, left_out, shown = 0, 0, []
    for i, cell in enumerate(cells):
        pictures = parts.pictures(cell, OF_A_CELL)
        if spent + len(pictures) > BUDGET:
            left_out += 1
            pictures = Html("")
        spent += len(pictures)
        measured = mapping(cell.summary.get("metrics"))
        inner = join(
            parts.meta(cell),
            parts.warnings(cell),
            numbers.tables(measured, "h4"),
            curves.loss_panels(cell.rows, prefix=f"r{i}-"),
            pictures,
            details("Evaluations", parts.evaluations(cell)) if cell.evaluations else "",
            details("Settings", settings.part(cell, printed=False)),
        )
        title = join(el("h3", _short_name(cell)), " ", parts.state(cell))
        shown.append(details(title, inner, id=_anchor(cell), class_="box"))
    if more:
        said = f"{more:,} more runs stand in the table alone; genai report makes their pages."
        shown.insert(0, el("p", said))
    if left_out:
        said = f"To keep this file small, the figures of {left_out} runs stand in their folders."
        shown.insert(0, el("p", said))
    return join(*shown)


def _next(folder: Path) -> Html:
    from genai_cli.cli.command_table import VERBS

    ref = folder.name.rsplit("-", 1)[-1]
    lines = []
    if "compare" in VERBS:
        lines.append((f"genai compare {ref} --evaluate", "measures every cell with one ruler"))
    lines.append((f"genai report {ref}/000", "the same page for one cell"))
    rows = [[el("code", c), m] for c, m in lines]
    return table("To go on", ["command", "what it does"], rows, left=(0, 1))
