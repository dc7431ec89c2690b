"""Read what a run folder holds as plain data; a damaged file is a blank, never a crash."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_cli.errors import UserError
from genai_cli.report.private import without_paths
from genai_cli.store import run_folder
from genai_cli.store.labels import reference

LOG_BYTES = 64_000  # of the end of train.log


@dataclass
class Facts:
    """What the folder of one run holds."""

    path: Path
    reference: str  # what to type for it: k3f9, or k3f9/000
    status: str  # runs.STATUSES, died, waiting or damaged
    config: dict[str, Any]
    described: dict[str, Any]  # run.json
    summary: dict[str, Any]
    rows: list[dict[str, float]]  # metrics.csv
    evaluations: list[tuple[str, dict[str, Any]]]  # (folder's name, evaluation.json), newest last
    log: list[str] = field(default_factory=list)  # last lines of train.log

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def model(self) -> str:
        return str(mapping(self.config.get("model")).get("name", "?"))

    @property
    def dataset(self) -> str:
        return str(mapping(self.config.get("dataset")).get("name", "?"))

    @property
    def title(self) -> str:
        return f"{self.model} on {self.dataset}"

    @property
    def seconds(self) -> float | None:
        return number(self.summary.get("seconds")) or (
            self.rows[-1].get("seconds") if self.rows else None
        )

    @property
    def unmeasured(self) -> bool:
        """Whether the run is trained and its test split is not measured yet."""
        return self.status in ("finished", "stopped") and run_folder.unmeasured(self.summary)

    def public(self, value: object) -> str:
        """Return ``value`` as text without the machine's paths."""
        return without_paths(value, self.path, self.path.parent, Path.home())


def read(folder: Path) -> Facts:
    """Read the facts of a run, whatever is missing."""
    try:
        config = run_folder.read_config(folder)
    except UserError:
        config = {}
    described = run_folder.read_json(folder / run_folder.RUN)
    evaluations = []
    for file in (folder / "evaluation").glob("*/evaluation.json"):
        content = run_folder.read_json(file)
        if isinstance(content.get("metrics"), dict):
            evaluations.append((file.parent.name, content))
    evaluations.sort(key=lambda e: str(e[1].get("finished") or ""))
    try:
        rows = run_folder.read_metrics(folder)
    except (OSError, UserError):
        rows = []
    return Facts(
        path=folder,
        reference=reference(folder),
        status=status(folder, described, config),
        config=config,
        described=described,
        summary=run_folder.read_json(folder / run_folder.SUMMARY),
        rows=[row for row in rows if math.isfinite(row.get("epoch", math.nan))],
        evaluations=evaluations,
        log=_tail(folder / run_folder.LOG),
    )


def status(folder: Path, described: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the status of a run, as `run_folder.status` does, or ``damaged``."""
    if not config or not described:
        return "damaged"
    return run_folder.status(folder, described)


def mapping(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is a mapping, else {}."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _tail(log: Path) -> list[str]:
    """Read the last lines of a text file."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return []
