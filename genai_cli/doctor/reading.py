"""The input of the doctor: the curves and numbers of one run, or of one CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from genai_cli.doctor.curve import Curve


@dataclass
class Reading:
    """Hold one run as data; a CSV has only a name and columns."""

    name: str  # what to type for it
    columns: dict[str, np.ndarray]  # (rows,) of metrics.csv; nan where a cell is empty
    config: dict[str, Any] = field(default_factory=dict)  # dotted keys; {} of a CSV
    numbers: dict[str, float] = field(default_factory=dict)  # of summary.json
    status: str = "finished"
    failure: str = ""  # what train.log says of a failed run
    command: list[str] = field(default_factory=list)  # that started it, where it was one run's
    unmeasured: bool = False  # trained, and its test split not measured yet

    def column(self, name: str) -> np.ndarray | None:
        return self.columns.get(name)

    @cached_property
    def epochs(self) -> np.ndarray:
        return self.columns.get("epoch", np.zeros(0))

    def curve(self, name: str) -> Curve | None:
        """Return a column as a curve; None without a finite number in it.

        Epochs in which the objective itself still changes (KL warm-up) are left out.
        """
        values = self.columns.get(name)
        if values is None:
            return None
        steps, warmup = self.columns.get("step"), self.setting("model.kl_warmup") or 0
        kept = steps > warmup if warmup and steps is not None else np.ones(len(values), dtype=bool)
        if not np.isfinite(values[kept]).any():
            return None
        return Curve(self.epochs[kept], values[kept])

    @cached_property
    def train(self) -> Curve | None:
        return self.curve("train/loss")

    @cached_property
    def val(self) -> Curve | None:
        return self.curve("val/loss")

    @property
    def steps(self) -> float:
        """Return the optimizer steps taken; 0 where the file holds none."""
        steps = self.columns.get("step")
        return float(steps[-1]) if steps is not None and len(steps) else 0.0

    @property
    def family(self) -> str:
        """Return the name of the model, an empty string for a CSV."""
        return str(self.config.get("model.name", ""))

    def setting(self, key: str, default: Any = None) -> Any:
        return self.config.get(key, default)

    def number(self, name: str) -> float | None:
        """Return a number of the summary; None where it is missing or not finite."""
        value = self.numbers.get(name)
        return value if value is not None and np.isfinite(value) else None
