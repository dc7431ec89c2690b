"""How a sweep is searched: the keys of ``configs/sweep/NAME.yaml``, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sweep:
    """The YAML says what each key means."""

    over: dict[str, Any] = field(default_factory=dict)
    search: str = "grid"
    skip_invalid: bool = False
