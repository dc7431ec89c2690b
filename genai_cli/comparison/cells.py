"""Figures of a whole sweep: the loss curves of its cells, and their test metric as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from genai_cli.comparison.read import DONE, Run
from genai_cli.comparison.seeds import mean_interval
from genai_cli.config.overrides import GROUPS
from genai_cli.errors import UserError
from genai_cli.evaluation.measures import BY_NAME
from genai_cli.figures import cross_table
from genai_cli.figures.axes import column
from genai_cli.figures.curves import CurvePanel, LossCurve, cell_curves
from genai_cli.figures.style import VALIDATION, number
from genai_cli.store import run_folder as folders

MOST = 12  # panels, rows, columns
SILENT = ("seed", "split_seed", "force_loss")  # keys that say nothing of what a cell is
METRICS = ("prediction/accuracy", "prediction/r2", "reconstruction/mse")  # the first that is known


class Setting(NamedTuple):
    """The cells of a sweep that differ only in their seed."""

    values: Mapping[str, str]  # of the varied keys, as they were typed
    runs: Sequence[Run]


def draw_sweep(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """curves.png and, of a sweep over a group and more, table.png; nothing for other runs.

    Args:
        folder: for the files.
        runs: labelled.
    """
    settings = _settings(runs)
    if len(settings) < 2:
        return []
    return [*_curves(folder / "curves.png", settings), *_table(folder / "table.png", settings)]


def _settings(runs: Sequence[Run]) -> list[Setting]:
    """The cells of a sweep by what was varied; none where these are other runs."""
    from genai_cli.store.sweep_table import read

    sweeps = {run.path.resolve().parent for run in runs}
    if len(sweeps) != 1 or not folders.is_sweep(sweep := sweeps.pop()):
        return []
    try:
        content = read(sweep)
    except UserError:  # damaged: the runs are compared without it
        return []
    words = {
        cell["folder"]: dict(word.partition("=")[::2] for word in cell["overrides"])
        for cell in content["cells"]
    }
    keys = [key for key in content["varied"] if key not in SILENT]
    members_of: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        given = words.get(run.path.name, {})
        members_of.setdefault(tuple((k, given[k]) for k in keys if k in given), []).append(run)
    out = [Setting(dict(values), members) for values, members in members_of.items()]
    first = keys[0] if keys else ""
    if len({s.values[first] for s in out if first in s.values}) == len(out):  # it tells all apart
        out = [s._replace(values={first: s.values[first]}) for s in out]
    return out


def _curves(path: Path, settings: Sequence[Setting]) -> list[Path]:
    drawn = [s for s in settings if _has_loss(s.runs[0])]
    if len(drawn) < 2:
        return []
    detail = "one scale for all panels of an objective"
    key = None
    if len(drawn) > MOST:
        key = _facet(drawn)
        if key is None:
            detail += f" · {len(drawn) - MOST} more cells are not drawn"
            drawn = drawn[:MOST]
    if len(drawn[0].runs) > 1:
        detail += f" · of {len(drawn[0].runs)} seeds the first"
    panels = _faceted(drawn, key) if key else [_panel(setting) for setting in drawn]
    order = list(dict.fromkeys(panel.objective for panel in panels))
    panels.sort(key=lambda panel: order.index(panel.objective))
    cell_curves(path, panels, title=f"Loss curves by {_varied(drawn)}", detail=detail)
    return [path]


def _has_loss(run: Run) -> bool:
    return any("val/loss" in row for row in run.metrics)


def _varied(settings: Sequence[Setting]) -> str:
    keys = dict.fromkeys(key for setting in settings for key in setting.values)
    return ", ".join(_last(key).replace("_", " ") for key in keys)


def _facet(settings: Sequence[Setting]) -> str | None:
    """The key that has a panel for each value: the first with few enough of them."""
    keys = dict.fromkeys(key for setting in settings for key in setting.values)
    counts = {key: len({s.values.get(key, "") for s in settings}) for key in keys}
    return next((key for key, count in counts.items() if 1 < count <= MOST), None)


def _curve(run: Run, label: str = "", colour: str = VALIDATION) -> LossCurve:
    columns = (column(run.metrics, name) for name in ("epoch", "val/loss", "train/loss"))
    return LossCurve(*columns, label=label, colour=colour)


def _panel(setting: Setting) -> CurvePanel:
    run = setting.runs[0]
    curve = _curve(run)
    more = {"note": _note(run, curve), "objective": _objective(run)}
    return CurvePanel(_words(setting.values), [curve], **more)


def _faceted(settings: Sequence[Setting], key: str) -> list[CurvePanel]:
    """A panel for each value of a key, a line for each combination of the others."""
    rest = [{k: v for k, v in s.values.items() if k != key} for s in settings]
    named = list(dict.fromkeys(_words(values) for values in rest))
    hues = [to_hex(colormaps["viridis"](t)) for t in np.linspace(0.9, 0, len(named))]
    colour = dict(zip(named, hues, strict=True))
    panels: dict[tuple[str, str], list[tuple[Run, str]]] = {}
    for setting, values in zip(settings, rest, strict=True):
        run = setting.runs[0]
        facet = _words({key: setting.values.get(key, "–")}), _objective(run)
        panels.setdefault(facet, []).append((run, _words(values)))
    titles = [title for title, _ in panels]
    out = []
    for (title, objective), members in panels.items():
        suffix = f": {members[0][0].config.get('loss.name')}" if titles.count(title) > 1 else ""
        curves = [_curve(run, name, colour[name]) for run, name in members]
        out.append(CurvePanel(f"{title}{suffix}", curves, objective=objective))
    return out


def _objective(run: Run) -> str:
    loss = {k: v for k, v in run.config.items() if k.startswith("loss.")}
    return repr((run.dataset, run.split, run.model, sorted(loss.items(), key=str)))


def _note(run: Run, curve: LossCurve) -> str:
    """Its numbers in two lines; of a run that came to no end, how it stands."""
    parts = [] if run.status in DONE else [run.status]
    name, entry = _metric(run)
    if entry is not None:
        parts.append(f"test {BY_NAME[name].label} {_format(entry['value'], name)}")
    seconds = run.summary.get("cost/seconds")
    if seconds is not None:
        took = seconds["value"]
        parts.append(f"{took:,.0f} s" if took >= 10 else f"{number(took, 2)} s")
    known = np.isfinite(curve.validation)
    if not known.any():
        return " · ".join(parts)
    best = int(np.nanargmin(curve.validation))
    lowest = f"lowest {number(curve.validation[best])} in epoch {curve.epochs[best]:.0f}"
    ends = f"last {number(curve.validation[known][-1])}"
    if np.isfinite(curve.train[known][-1]):
        ends += f", training {number(curve.train[known][-1])}"
    return f"{' · '.join(parts)}\n{lowest}\n{ends}"


def _metric(run: Run) -> tuple[str, dict | None]:
    """The first of the headlines that a run has, measured last."""
    for name in METRICS:
        entries = [m.entry for m in run.numbers(name) if m.entry["value"] is not None]
        if entries:
            return name, entries[-1]
    return "", None


def _table(path: Path, settings: Sequence[Setting]) -> list[Path]:
    keys = list(dict.fromkeys(key for setting in settings for key in setting.values))
    key = "dataset" if "dataset" in keys else keys[0]
    if key not in GROUPS or len(keys) < 2:
        return []
    rest = [_words({k: v for k, v in s.values.items() if k != key}) or "–" for s in settings]
    columns = list(dict.fromkeys(rest))
    names = list(dict.fromkeys(s.values.get(key, "–") for s in settings))
    across = [sum(s.values.get(key, "–") == name for s in settings) for name in names]
    lonely = sum(number == 1 for number in across)  # a row of one says nothing
    if not (1 < len(columns) <= MOST and 1 < len(names) <= MOST and 2 * lonely < len(names)):
        return []
    lines = []
    for name in names:
        placed = {c: s for c, s in zip(rest, settings, strict=True) if s.values.get(key) == name}
        lines.append(_line(name, [placed.get(column) for column in columns]))
    if not any(entry for line in lines for entry in line.entries):
        return []
    seeds = max(len(setting.runs) for setting in settings)
    interval = f"over {seeds} seeds" if seeds > 1 else "of one run's test examples"
    detail = (
        f"on the test split, with 95 % intervals {interval}; every row has its own scale of blue · "
        "framed: the best of a row, and what its interval does not tell apart from it"
    )
    title = f"{_last(key).capitalize()} against {_varied(settings).replace(f'{key}, ', '', 1)}"
    cross_table.cross_table(path, columns, lines, title=title, detail=detail)
    return [path]


def _line(name: str, row: Sequence[Setting | None]) -> cross_table.TableRow:
    """One row, by the first metric that any of its runs has."""
    metrics = [_metric(run)[0] for setting in row if setting for run in setting.runs]
    metric = next(filter(None, metrics), METRICS[0])
    results = [_measured(setting, metric) if setting else None for setting in row]
    rising = BY_NAME[metric].better == "higher"
    known = [f for f in results if f is not None]
    best = (max if rising else min)(known, key=lambda f: f[0], default=None)
    entries = []
    for one in results:
        if one is None or best is None:
            entries.append(None)
            continue
        value, low, high = one
        below = (
            f"{_format(low, metric)} – {_format(high, metric)}" if None not in (low, high) else ""
        )
        near = one is best or (
            None not in (low, high, *best[1:]) and low <= best[2] and high >= best[1]
        )
        entries.append(cross_table.TableEntry(value, _format(value, metric), below, near))
    label = f"{BY_NAME[metric].label} {'↑' if rising else '↓'}"
    return cross_table.TableRow(name, label, entries, rising)


def _measured(setting: Setting, metric: str) -> tuple[float, float | None, float | None] | None:
    """(value, low, high): over seeds, or of the one run's test examples."""
    newest = [[m.entry for m in run.numbers(metric)][-1:] for run in setting.runs]
    entries = [e for group in newest for e in group if e["value"] is not None]
    if not entries:
        return None
    if len(entries) > 1:
        return mean_interval([entry["value"] for entry in entries])
    return entries[0]["value"], entries[0].get("low"), entries[0].get("high")


def _words(values: Mapping[str, str]) -> str:
    """A choice of a group, or another word, alone; a number with its key."""
    literals = ("true", "false", "null")
    parts = []
    for key, value in values.items():
        without_key = key in GROUPS or (value.isidentifier() and value not in literals)
        parts.append(value if without_key else f"{_last(key)}={_repeated(value)}")
    return " ".join(parts)


def _repeated(value: str) -> str:
    """``[32,32,32]`` as 3×32: a deep network's widths would be wider than its panel."""
    inner = value.strip("[]").split(",")
    same = value.startswith("[") and len(inner) > 2 and len(set(inner)) == 1
    return f"{len(inner)}×{inner[0]}" if same else value


def _format(value: float, metric: str) -> str:
    """A share of 1 with three places, so that numbers below each other compare."""
    share = metric.startswith("prediction/")
    return f"{value:.3f}".replace("-", "−") if share else number(value)


def _last(key: str) -> str:
    return key.rpartition(".")[2]
