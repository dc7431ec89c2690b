"""Figures of a comparison that read only the runs' text files and load no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genai_cli.comparison.read import Run
from genai_cli.comparison.seeds import mean_interval
from genai_cli.figures import frontier, generator, rate_distortion
from genai_cli.figures.axes import column
from genai_cli.figures.curves import CurvePanel, LossCurve, overlay
from genai_cli.figures.families import Look
from genai_cli.figures.style import number
from genai_cli.models.families import family
from genai_cli.store.labels import UNINTERESTING, differing_keys, format_value

QUALITIES = {"samples/frechet": "Fréchet distance", "samples/energy": "energy distance"}
MOST_PANELS = 4  # rulers in one figure
LEFT_OUT = 4  # points named that no panel shows
FEWEST = 3  # bottlenecks that make a curve
AVERAGED = ("seed", "bottleneck", *UNINTERESTING)  # keys that runs of one curve may differ in
WEIGHTS = {  # keys of a model that change what its loss means, and where they do not
    "model.beta": 1,
    "model.free_bits": 0,
    "model.kl_warmup": 0,
    "model.denoise": 0,
}


def quality_speed(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """Draw quality_speed.png: quality of samples against sampling speed.

    Each pair of rulers (quality, speed) that two points share gets a panel, or the only one
    there is.
    """
    panels: dict[str, list[tuple[Run, dict[str, Any], dict, dict, str]]] = {}
    for run in runs:
        newest: dict[str, tuple] = {}
        for evaluation in run.evaluations:
            metrics = evaluation["metrics"]
            name = next((q for q in QUALITIES if _known(metrics, q)), None)
            if name is None or not _known(metrics, "speed/many"):
                continue
            quality, speed = metrics[name], metrics["speed/many"]
            key = f"{name} {_ruler(quality)} {_ruler(speed)}"
            # evaluations come oldest first: the newest of the same player stays
            setting = json.dumps(_options(evaluation, quality), sort_keys=True, default=str)
            newest[key + setting] = (key, (run, evaluation, quality, speed, name))
        for key, point in newest.values():
            panels.setdefault(key, []).append(point)
    if not panels:
        return []
    ranked = sorted(panels.values(), key=len, reverse=True)
    selected = [p for p in ranked if len(p) > 1][:MOST_PANELS] or ranked[:1]
    left_out = [run.label for panel in ranked if panel not in selected for run, *_ in panel]
    detail = "one point for each run and evaluation; vertical lines are 95 % intervals"
    if len(selected) > 1:
        detail += "; what different rulers measured stands in panels of its own"
    if left_out:
        names = ", ".join(dict.fromkeys(left_out[:LEFT_OUT]))
        names += f" and {len(left_out) - LEFT_OUT} more" if len(left_out) > LEFT_OUT else ""
        detail += f" · left out, no other on their ruler: {names}"
    path = folder / "quality_speed.png"
    drawn = [_quality_panel(panel) for panel in selected]
    frontier.frontier(path, drawn, title="Quality against speed of sampling", detail=detail)
    return [path]


def _quality_panel(
    measured: list[tuple[Run, dict[str, Any], dict, dict, str]],
) -> frontier.FrontierPanel:
    settings = [_setting(*each[1:3]) for each in measured]
    runs = [run for run, *_ in measured]
    points = []
    for (run, _, quality, speed, _), setting in zip(measured, settings, strict=True):
        of_same_run = [i for i, other in enumerate(runs) if other is run]
        label = run.label.removeprefix(f"{run.model} ")  # the marker tells the family
        if len(of_same_run) > 1 and setting:
            label = setting if runs.index(run) != len(points) else f"{run.label}, {setting}"
        points.append(
            frontier.Point(
                label,
                _look(run.model),
                1 / speed["value"],
                quality["value"],
                quality.get("low"),
                quality.get("high"),
                str(run.path),
            )
        )
    run, _, quality, speed, name = measured[0]
    ruler, clock = quality["passport"]["ruler"], speed["passport"].get("ruler", {})
    by = ruler.get("extractor") or ruler.get("features")
    title = f"{run.dataset}, {ruler.get('n', quality['n'])} samples"
    title += f", {by} features" if by and name == "samples/frechet" else ""
    hardware = ", ".join(
        f"{clock[k]} {word}".strip()
        for k, word in (("device", ""), ("threads", "threads"), ("precision", ""))
        if clock.get(k) is not None
    )
    floors = [q["floor"]["value"] for _, _, q, *_ in measured if q.get("floor")]
    return frontier.FrontierPanel(
        title + (f"\nspeed: {hardware.replace('1 threads', '1 thread')}" if hardware else ""),
        points,
        float(np.mean(floors)) if floors else None,
        QUALITIES[name],
    )


def _look(model: str) -> Look:
    return Look(*family(model)[:3])


def _known(metrics: dict[str, Any], name: str) -> bool:
    value = metrics.get(name, {}).get("value")
    return value is not None and (value > 0 or name != "speed/many")


def _options(evaluation: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Sampling options as they were: a default that was not asked for stands in the passport."""
    asked = (evaluation.get("settings") or {}).get("options") or {}
    player = entry["passport"].get("player", {})
    used = {key: player.get(key, value) for key, value in asked.items()}
    return used | {key: player.get(key) for key in ("ema", "checkpoint")}


def _setting(evaluation: dict[str, Any], entry: dict[str, Any]) -> str:
    """Sampler and steps in words, and other options that were asked for: "ddim, 50 steps"."""
    asked = (evaluation.get("settings") or {}).get("options") or {}
    used = _options(evaluation, entry)
    parts = [str(used["sampler"])] if used.get("sampler") else []
    parts += [f"{used['steps']} steps"] if used.get("steps") else []
    more = {k: v for k, v in asked.items() if v is not None and k not in ("sampler", "steps")}
    return ", ".join(parts + [f"{key} {format_value(value)}" for key, value in more.items()])


def _ruler(entry: dict[str, Any]) -> str:
    return json.dumps(entry["passport"].get("ruler", {}), sort_keys=True)


def bottlenecks(
    folder: Path, runs: Sequence[Run], floor: dict[int, float] | None = None
) -> list[Path]:
    """rate_distortion.png, where one family has reconstructions at three bottlenecks or more.

    ``floor``: MSE of PCA at each bottleneck, for runs whose entries hold none.
    """
    by_ruler: dict[str, dict[int, tuple[Run, dict[str, Any]]]] = {}
    for i, run in enumerate(runs):
        for measured in run.numbers("reconstruction/mse"):
            whole = isinstance(run.config.get("bottleneck"), int)
            if whole and measured.entry["value"] is not None and measured.entry["value"] > 0:
                by_ruler.setdefault(_ruler(measured.entry), {})[i] = (run, measured.entry)
    best: tuple[list[rate_distortion.RateCurve], list[tuple[Run, dict[str, Any]]]] = ([], [])
    for entries in by_ruler.values():
        curves = _curves(list(entries.values()))
        if len(curves) > len(best[0]):
            best = curves, list(entries.values())
    curves, used = best
    if not curves:
        return []
    floors = [(r.config["bottleneck"], e["floor"]) for r, e in used if e.get("floor")]
    known = {k: entry["value"] for k, entry in floors if entry["what"].startswith("PCA")}
    known = (floor or {}) | known
    lowest = sorted((k, v) for k, v in known.items() if v > 0)
    seeds = max(len({r.seed for r, _ in used}), 1)
    detail = f"test split of {used[0][0].dataset}, {used[0][1]['n']:,} examples"
    detail += f" · means over {seeds} seeds with 95 % intervals" if seeds > 1 else ""
    detail += " · ring: the knee, from which more numbers buy less"
    space = str(used[0][1]["passport"]["ruler"].get("data_space", ""))
    path = folder / "rate_distortion.png"
    rate_distortion.rate_distortion(
        path,
        curves,
        tuple(np.array(column, dtype=float) for column in zip(*lowest, strict=True))
        if len(lowest) > 1
        else None,
        psnr="[0, 1]" in space,
        title="What a code of K numbers keeps",
        detail=detail,
    )
    return [path]


def _curves(measured: list[tuple[Run, dict[str, Any]]]) -> list[rate_distortion.RateCurve]:
    """Runs that differ in bottleneck and seed alone, as curves, seeds averaged."""
    groups: dict[tuple[str, str], dict[int, list[tuple[Run, dict[str, Any]]]]] = {}
    for run, entry in measured:
        rest = {k: v for k, v in run.config.items() if k not in AVERAGED}
        key = run.model, json.dumps(rest, sort_keys=True, default=str)
        cells = groups.setdefault(key, {}).setdefault(run.config["bottleneck"], [])
        cells[:] = [c for c in cells if c[0].seed != run.seed] + [(run, entry)]
    groups = {key: cells for key, cells in groups.items() if len(cells) >= FEWEST}
    configs = {key: next(iter(cells.values()))[0][0].config for key, cells in groups.items()}
    curves = []
    for key, cells in groups.items():
        model = key[0]
        same = [c for other, c in configs.items() if other[0] == model]
        differ = [k for k in differing_keys(same) if k not in AVERAGED]
        words = [f"{k.rpartition('.')[2]}={format_value(configs[key].get(k))}" for k in differ]
        points = []
        for k in sorted(cells):
            entries = [entry for _, entry in cells[k]]
            mean, low, high = mean_interval([e["value"] for e in entries])
            if len(entries) == 1:
                low, high = entries[0].get("low"), entries[0].get("high")
            points.append([k, mean, *(np.nan if v is None else v for v in (low, high))])
        label = " ".join([family(model).label, *words])
        columns = np.array(points, dtype=float).T
        curves.append(rate_distortion.RateCurve(label, _look(model), *columns))
    return curves


def overlay_losses(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """losses.png: the validation loss of all runs, a row of panels for each objective."""
    groups: dict[str, tuple[str, str, dict[str, Any], list[LossCurve]]] = {}
    for run in runs:
        rows = run.metrics
        columns = dict.fromkeys(name for row in rows for name in row)
        for name in columns:
            split, *player = name.removesuffix("/loss").split("/")
            if split != "val" or not name.endswith("/loss") or len(player) > 1:
                continue
            loss_settings = {k: v for k, v in run.config.items() if k.startswith("loss.")}
            loss_settings |= {
                k: run.config[k] for k, v in WEIGHTS.items() if run.config.get(k, v) != v
            }
            who = player[0] if player else ""
            key = json.dumps(
                [run.dataset, run.split, who, loss_settings], sort_keys=True, default=str
            )
            title = f"{loss_settings.get('loss.name', '')} loss on {run.dataset}"
            title = f"{who}, {title}" if who else title
            group = groups.setdefault(key, (title, who, loss_settings, []))
            epochs, seconds, values = (column(rows, c) for c in ("epoch", "seconds", name))
            more = {"seconds": seconds, "label": run.label, "look": _look(run.model)}
            group[3].append(LossCurve(epochs, values, **more))
    if not groups:
        return []
    objectives = []
    for title, who, loss_settings, lines in groups.values():
        alike = [other for t, _, other, _ in groups.values() if t == title]
        differ = {k: v for k, v in loss_settings.items() if any(o.get(k) != v for o in alike)}
        more = ", ".join(f"{k.rpartition('.')[2]}={_short(v)}" for k, v in differ.items())
        objectives.append(CurvePanel(f"{title} ({more})" if more else title, lines, not who))
    objectives.sort(key=lambda objective: -len(objective.curves))
    path = folder / "losses.png"
    detail = "losses of different objectives do not compare: each has a row of its own · "
    detail += "behind a name its lowest value, if lower is better"
    overlay(path, objectives, title="Validation losses", detail=detail)
    return [path]


def generators(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """generator.png: how hard the loss pulls at the generators of the GANs among the runs."""
    pulls = [
        generator.pull_from_rows(run.label, str(run.config.get("loss.name")), run.metrics)
        for run in runs
        if any("train/generator/gradient" in row for row in run.metrics)
    ]
    if not pulls:
        return []
    path = folder / "generator.png"
    detail = "where D is sure of its samples, minimax leaves the generator hardly any gradient"
    generator.generator(path, pulls, title="What the generators learn from", detail=detail)
    return [path]


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else format_value(value)
