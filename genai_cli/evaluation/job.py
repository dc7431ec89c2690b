"""The run being evaluated: it gives numbers their interval and passport."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.evaluation import passport
from genai_cli.evaluation.drawing import SampleSets
from genai_cli.evaluation.intervals import Interval, of_means
from genai_cli.evaluation.measures import missing_entry, value_entry
from genai_cli.evaluation.request import EvaluateRequest
from genai_cli.models.base import Model
from genai_cli.store import run_folder
from genai_cli.version import __version__


@dataclass
class Evaluation:
    """Collect the numbers, tables and files of one run's evaluation.

    Attributes:
        metrics: {"samples/frechet": entry}, see measures.py.
        tables: what is no single number: confusion, calibration, class shares.
        seconds: spent, by part.
    """

    folder: Path  # the run
    figure_folder: Path  # where figures go
    model: Model
    data: Dataset
    cfg: TrainConfig
    request: EvaluateRequest
    n: int
    averaged: bool
    checkpoint: str  # "step-001260"
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        """Return the number of test examples that are measured one by one."""
        return min(self.n, len(self.data.test))

    @property
    def title(self) -> str:
        return f"{self.cfg.model['name']} on {self.data.name}"

    @property
    def player(self) -> dict[str, Any]:
        return {"ema": self.averaged, "checkpoint": self.checkpoint}

    @property
    def sampling(self) -> dict[str, Any]:
        """Return the player of a number that depends on samples."""
        options = self.request.options
        if hasattr(self.model, "resolve_sampler"):  # what an option that is not given comes to
            resolved = self.model.resolve_sampler(**options)
            options = {key: getattr(resolved, key) for key in options}
        return self.player | options

    def drawing(self) -> SampleSets:
        return SampleSets(self.model, self.data, self.request.options, self.request.batch_size)

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        self.seconds[part] = round(self.seconds.get(part, 0.0) + spent, 3)

    def add(
        self,
        name: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
        *,
        n: int,
        player: dict[str, Any],
        metric: str | None = None,
        space: str | None = None,
        floor: dict[str, Any] | None = None,
        **ruler: Any,
    ) -> None:
        """Add a number under ``name``; by default the last word of it is the ruler's metric."""
        if not math.isfinite(value):
            self.metrics[name] = missing_entry(f"it is {value}: the model's numbers are not finite")
            return
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            low = high = None
        metric = metric or name.split("/")[1]
        measured = passport.ruler(metric, self.data, self.cfg, n, space, **ruler)
        papers = {"ruler": measured, "player": player}
        self.metrics[name] = value_entry(value, low, high, n=n, passport=papers, floor=floor)

    def add_missing(self, group: str, names: Iterable[str], reason: str) -> None:
        """Add entries without a number, with the reason."""
        self.metrics |= {f"{group}/{name}": missing_entry(reason) for name in names}

    def means(
        self,
        group: str,
        values: dict[str, Tensor],
        player: dict[str, Any],
        floors: dict[str, dict[str, Any]] | None = None,
        **ruler: Any,
    ) -> None:
        """Add means of per-example values (n,) with their intervals."""
        for name, (mean, low, high) in summarize(values).items():
            more = {"floor": (floors or {}).get(name), "player": player} | ruler
            self.add(f"{group}/{name}", mean, low, high, n=len(values[name]), **more)

    def settings(self, features: str | None) -> dict[str, Any]:
        return self.request.settings(self.n, features, self.averaged, self.checkpoint)

    def to_json(self, features: str | None) -> dict[str, Any]:
        """Return the content of evaluation.json."""
        return {
            "schema": run_folder.SCHEMA,
            "run": self.folder.name,
            "model": self.cfg.model["name"],
            "dataset": self.data.name,
            "version": __version__,
            "finished": run_folder.now(),
            "settings": self.settings(features),
            "metrics": self.metrics,
            "tables": self.tables,
            "files": self.files,
            "seconds": self.seconds,
        }


def summarize(values: dict[str, Tensor]) -> dict[str, Interval]:
    """Return (mean, low, high) of per-example values."""
    return of_means({name: column.double().numpy() for name, column in values.items()})
