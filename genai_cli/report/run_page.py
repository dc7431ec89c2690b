"""Write the page of one run."""

from __future__ import annotations

from pathlib import Path

from genai_cli.report import numbers, parts
from genai_cli.report.facts import mapping, number, read
from genai_cli.report.render import render


def run_page(folder: Path) -> str:
    """Return the whole document about a run folder, in any state it may be in."""
    facts = read(folder)
    tags = facts.config.get("tags")
    monitor = mapping(facts.summary.get("monitor"))
    best, value = number(monitor.get("epoch")), number(monitor.get("value"))
    kept = None
    if best is not None and value is not None:
        name = monitor.get("name", "the monitor")
        kept = {"epoch": f"{best:,.0f}", "name": name, "value": value}
    return render(
        "run.html",
        run=parts.gather(facts),
        tags=", ".join(map(str, tags)) if isinstance(tags, list) else "",
        command=parts.training_command(facts),
        headlines=numbers.select_headlines(facts),
        unfinished=facts.unmeasured
        or facts.status in ("running", "waiting", "interrupted", "died"),
        kept=kept,
        loss=mapping(facts.config.get("loss")).get("name", "the loss"),
        environment=parts.describe_environment(facts),
        next_commands=parts.suggest_commands(facts),
    )
