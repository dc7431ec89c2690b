"""Gather what the page of a run and a cell of a sweep show: run_parts.html has the words."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from genai_cli.config.resumable import resume_command
from genai_cli.models.families import family
from genai_cli.report import curves, numbers, settings
from genai_cli.report.facts import Facts, mapping, number
from genai_cli.report.figures import OF_A_RUN, Figure, caption_order, load_figures
from genai_cli.report.numbers import format_value
from genai_cli.report.private import without_paths
from genai_cli.report.render import format_date, format_duration
from genai_cli.store import run_folder

SAFE = re.compile(r"[\w@%+=:,./-]+")
LOG_LINES = 25
SHEETS = 3  # of `genai sample`, the newest
RARE = 0.01  # a p-value below which a set of samples counts as copied


def gather(facts: Facts, names: tuple[str, ...] = OF_A_RUN, prefix: str = "c") -> dict[str, Any]:
    """Return the values that the macros of run_parts.html show.

    Args:
        facts: of the run.
        names: stems of the figures of the end of a run that are shown.
        prefix: of the ids of the charts, unique on the page.
    """
    monitor = mapping(facts.summary.get("monitor"))
    p = number(mapping(numbers.newest_entries(facts).get("memorisation/p")).get("value"))
    return {
        "facts": facts,
        "meta": _meta(facts),
        "error": facts.public(_last_line(facts.log)),
        "log": facts.public("\n".join(facts.log[-LOG_LINES:])),
        "copied": p if p is not None and p < RARE else None,
        "groups": numbers.group_metrics(mapping(facts.summary.get("metrics"))),
        "curves": curves.loss_panels(facts.rows, number(monitor.get("epoch")), prefix),
        "figures": _figures(facts, names),
        "evaluations": [_evaluation(facts, *each) for each in reversed(facts.evaluations)],
        "settings": settings.list_settings(facts),
    }


def _meta(facts: Facts) -> list[str]:
    """Return date, epochs, time, size and device, each in a few words."""
    parameters = number(facts.described.get("parameters"))
    epoch = number(facts.summary.get("epoch")) or (facts.rows[-1]["epoch"] if facts.rows else None)
    epochs = number(facts.config.get("epochs"))
    return [
        format_date(facts.described.get("started")),
        f"{epoch:,.0f} of {epochs:,.0f} epochs" if epoch and epochs else "",
        format_duration(facts.seconds),
        f"{parameters:,.0f} parameters" if parameters else "",
        str(facts.described.get("device") or ""),
    ]


def training_command(facts: Facts) -> str:
    """Return the command that makes this run again elsewhere, without the folder for results."""
    overrides = _overrides(facts)
    text = shlex.join(overrides) if overrides else str(facts.described.get("command") or "")
    return without_outputs(text)


def without_outputs(command: str) -> str:
    """Return a command line without ``outputs=`` and without paths of the machine."""
    try:
        words = [w for w in shlex.split(command) if not w.startswith("outputs=")]
        # quoted as a reader would: brackets and globs, not every = and comma
        command = " ".join(w if SAFE.fullmatch(w) else shlex.quote(w) for w in words)
    except ValueError:  # a quote without its end
        pass
    return without_paths(command, Path.home())


def _overrides(facts: Facts) -> list[str]:
    """Return ``genai train`` and the settings of a cell; [] where the run is no cell of a sweep."""
    try:
        sweep = yaml.safe_load((facts.path.parent / run_folder.SWEEP).read_text(encoding="utf-8"))
        cells = {c["folder"]: c["overrides"] for c in sweep["cells"]}
        return ["genai", "train", *map(str, cells[facts.name])]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def _last_line(log: list[str]) -> str:
    """Return the last line of a log that is not empty; our own exceptions without their class."""
    line = next((x for x in reversed(log) if x.strip()), "")
    return re.sub(r"^genai_cli[\w.]*: ", "", line)


def _figures(facts: Facts, names: tuple[str, ...]) -> list[Figure]:
    """Return the figures of the end of a run, then the newest sheets of `genai sample`."""
    drawn = load_figures((facts.path / f"{name}.png" for name in names), facts.title)
    sheets = sorted((facts.path / "samples").glob("*/grid.png"), reverse=True)[:SHEETS]
    return drawn + [
        f for file in sheets for f in load_figures([file], facts.title, file.parent.name)
    ]


def _evaluation(facts: Facts, name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return one evaluation: its settings, numbers, tables and figures."""
    given = {k: v for k, v in mapping(content.get("settings")).items() if v is not None}
    tables = mapping(content.get("tables"))
    columns = [mapping(tables.get("classes")).get(k) for k in ("names", "samples", "real")]
    classes = zip(*columns, strict=False) if all(isinstance(c, list) for c in columns) else ()
    matrix = tables.get("confusion")
    if not isinstance(matrix, list) or not all(isinstance(row, list) for row in matrix):
        matrix = []
    labels = columns[0] if isinstance(columns[0], list) else [*range(len(matrix))]
    files = (facts.path / "evaluation" / name).glob("*.png")
    return {
        "name": name,
        "settings": [
            ("measured", format_date(content.get("finished"))),
            *((k.replace("_", " "), format_value(v)) for k, v in given.items()),
        ],
        "groups": numbers.group_metrics(mapping(content.get("metrics"))),
        "figures": load_figures(sorted(files, key=caption_order), facts.title),
        "classes": [[n, _percent(drawn), _percent(real)] for n, drawn, real in classes],
        "labels": labels,
        "confusion": [
            [label, *map(format_value, row)] for label, row in zip(labels, matrix, strict=False)
        ],
    }


def _percent(value: object) -> str:
    share = number(value)
    return "–" if share is None else f"{100 * share:.1f} %"


def describe_environment(facts: Facts) -> list[tuple[str, str]]:
    """Return what the run ran on and with, and the hashes of its data, as names and values."""
    d, data = facts.described, mapping(facts.described.get("dataset"))
    pairs = [
        ("device", d.get("device")),
        ("threads", d.get("threads")),
        ("precision", d.get("precision")),
        ("step", d.get("step_kind")),
        *((k.replace("_", "-"), v) for k, v in mapping(d.get("versions")).items()),
        ("git", d.get("git")),
        ("seed", d.get("seed")),
        ("data", data.get("name")),
        ("data hash", data.get("hash")),
        ("split hash", data.get("split_hash")),
        ("validation", data.get("validation")),
        ("shape", " × ".join(map(format_value, data.get("event_shape") or []))),
        ("examples", format_value(mapping(data.get("n"))) if data.get("n") else None),
        ("started", format_date(d.get("started"))),
        ("ended", format_date(d.get("finished"))),
        ("folder", facts.name),
    ]
    return [(k, facts.public(format_value(v))) for k, v in pairs if v not in (None, "")]


def suggest_commands(facts: Facts) -> list[tuple[str, str]]:
    """Return commands to type next, each with what it does."""
    ref, epochs = facts.reference, number(facts.config.get("epochs")) or 0
    lines = []
    if facts.status in ("interrupted", "died"):
        lines.append((f"genai resume {ref}", "continues from the last checkpoint"))
    elif facts.unmeasured:
        lines.append((f"genai resume {ref}", "measures its test split"))
    elif facts.status in ("finished", "stopped") and epochs:
        horizon = number(mapping(facts.config.get("schedule")).get("horizon"))
        lines.append((resume_command(ref, int(2 * epochs), horizon), "trains it for longer"))
    if facts.status in ("finished", "stopped", "interrupted", "died"):
        if not facts.evaluations:
            lines.append((f"genai evaluate {ref}", "measures it with one ruler for all families"))
        if not family(facts.model).predicts:
            lines.append((f"genai sample {ref} n=100", "draws from it"))
    return [*lines, (f"genai compare {ref} OTHER", "puts it beside another run")]
