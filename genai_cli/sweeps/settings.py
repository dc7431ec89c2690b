"""Settings of a sweep: the keys of ``configs/sweep/NAME.yaml``, and of an experiment's
``sweep:``, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sweep:
    """Settings of a sweep; the YAML documents each key and `sweeps.search.settings` checks them."""

    over: dict[str, Any] = field(default_factory=dict)
    cells: list[Any] = field(default_factory=list)
    search: str = "grid"
    skip_invalid: bool = False
    trials: int = 20
    parallel: int | None = None
    seed: int = 0
    startup: int = 5
    prune: str = "none"
    prune_after: int = 5
    rungs: list[int] = field(default_factory=list)
    keep: float = 0.33
