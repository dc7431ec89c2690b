"""The page of one run."""

from __future__ import annotations

from pathlib import Path

from genai_cli.report import curves, numbers, parts, settings
from genai_cli.report.facts import Facts, mapping, number, read
from genai_cli.report.markup import Html, el, join
from genai_cli.report.page import Section, page


def run_page(folder: Path) -> str:
    """The whole document about a run folder, in any state it may be in."""
    facts = read(folder)
    monitor = mapping(facts.summary.get("monitor"))
    charts = curves.loss_panels(facts.rows, best=number(monitor.get("epoch")))
    sections = [
        Section("numbers", "Key numbers", _numbers(facts)),
        Section("curves", "Training", _training(facts, charts, monitor)),
        Section("figures", "Figures", parts.pictures(facts)),
        Section("evaluations", "Evaluation", parts.evaluations(facts)),
        Section("settings", "Settings", settings.part(facts)),
        Section("environment", "Environment", parts.environment(facts)),
        Section("next", "How to go on", parts.next_commands(facts)),
    ]
    return page(facts.title, lead(facts), sections)


def lead(facts: Facts) -> list[object]:
    """State, tags, the command, and what must be known first."""
    tags = facts.config.get("tags")
    words = ", ".join(map(str, tags)) if isinstance(tags, list) else ""
    command = parts.command(facts)
    return [
        parts.meta(facts),
        el("p", "Run ", el("code", facts.name), f", tags: {words}" if words else "", class_="soft"),
        join(el("p", "To make it again:"), el("pre", command)) if command else "",
        parts.warnings(facts),
    ]


def _numbers(facts: Facts) -> Html:
    measured = mapping(facts.summary.get("metrics"))
    if not measured and not facts.evaluations:
        going = facts.status in ("running", "waiting", "interrupted", "died") or facts.unmeasured
        return el("p", "Nothing was measured yet: a run is measured at its end."
                  if going else "Nothing was measured.")  # fmt: skip
    return join(numbers.tiles(facts), numbers.tables(measured, "h3") if measured else "")


def _training(facts: Facts, charts: Html, monitor: dict[str, object]) -> Html:
    if not charts:
        return el("p", "No epoch is complete yet.")
    best, value = number(monitor.get("epoch")), number(monitor.get("value"))
    name = monitor.get("name", "the monitor")
    said = ""
    if best is not None and value is not None:
        said = f"The weights of epoch {best:,.0f} were kept: {name} was {numbers.short(value)}, "
        said += "its best. "
    said += f"The objective is {mapping(facts.config.get('loss')).get('name', 'the loss')}."
    return join(el("p", said), charts)
