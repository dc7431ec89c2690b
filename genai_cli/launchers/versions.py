"""Compare the versions of the running code with those recorded in a cell's folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.training.machine import git_commit
from genai_cli.version import __version__


@cache
def current_versions() -> dict[str, str | None]:
    """Return the versions of the running code, and its commit if it is a checkout."""
    return {
        "genai_cli": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "git": git_commit(),
    }


def list_changes(described: Mapping[str, Any]) -> list[str]:
    """Return ``torch 2.14.0 → 2.15.0`` for each part that differs from a run.json."""
    before = dict(described.get("versions") or {}) | {"git": described.get("git")}
    return [
        f"{name} {before.get(name) or 'unknown'} → {value or 'unknown'}"
        for name, value in current_versions().items()
        if name in before and before[name] != value
    ]


def note_changes(cell: Path) -> None:
    """Report other code in the run's log and on the screen, and record it in run.json."""
    described = run_folder.read_json(cell / run_folder.RUN)
    changed = list_changes(described) if described else []
    if not changed:
        return
    message = f"note: the code has changed since this folder was written: {', '.join(changed)}"
    with open(cell / run_folder.LOG, "a", encoding="utf-8") as file:
        file.write(f"{message}\n")
    print(f"{cell.name}: {message}", flush=True)
    versions = described["versions"] | {k: v for k, v in current_versions().items() if k != "git"}
    atomic_write.write_json(
        cell / run_folder.RUN, described | {"versions": versions, "git": current_versions()["git"]}
    )
