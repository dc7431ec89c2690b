"""The doctor at the end of `genai train`: one to three lines, and a note in loss_curve.png."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genai_cli.doctor import read
from genai_cli.doctor.finding import Finding
from genai_cli.doctor.rules import examine
from genai_cli.doctor.say import lines, note

__all__ = ["at_the_end", "lines", "note"]


def at_the_end(
    folder: Path,
    metrics: Mapping[str, Any],
    evidence: Mapping[str, float],
    log: Callable[[str], None],
) -> list[Finding]:
    """Findings of a run whose summary is not written yet; what goes wrong here is written to its
    log and costs nobody a trained model."""
    try:
        reading = read.run(folder)
        reading.status = "finished"
        reading.numbers = read.numbers({"metrics": metrics, "evidence": evidence})
        return examine(reading)
    except Exception:
        log(f"the doctor failed:\n{traceback.format_exc().rstrip()}")
        return []
