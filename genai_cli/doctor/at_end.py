"""Diagnose at the end of `genai train`: one to three lines, and a note in loss_curve.png."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genai_cli.doctor import read
from genai_cli.doctor.finding import Finding
from genai_cli.doctor.rules import examine
from genai_cli.doctor.say import lines, note
from genai_cli.errors import UserError

__all__ = ["at_the_end", "lines", "note"]


def at_the_end(
    folder: Path,
    metrics: Mapping[str, Any],
    evidence: Mapping[str, float],
    log: Callable[[str], None],
) -> list[Finding]:
    """Return the findings of a run whose summary is not written yet.

    A damaged file in its folder costs these lines and nothing else; the rules take any numbers
    (tests/doctor/test_rules.py).
    """
    try:
        reading = read.run(folder)
        reading.status = "finished"
        reading.numbers = read.numbers({"metrics": metrics, "evidence": evidence})
        return examine(reading)
    except (OSError, UserError) as error:
        log(f"the doctor says nothing: {error}")
        return []
