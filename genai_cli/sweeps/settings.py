"""How a sweep is searched: the keys of ``configs/sweep/NAME.yaml``, and of an experiment's
``sweep:``, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sweep:
    """The YAML says what each key means; `sweeps.search.settings` checks those of a search."""

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
