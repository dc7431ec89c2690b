"""Run folders written by hand: what training and evaluation leave, without either."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_cli.store import run_folder

RULER = {"metric": "m", "version": 1, "n": 360, "reference_split_hash": "0363"}


def entry(
    value: float | None,
    half: float | None = None,
    *,
    ruler: dict[str, Any] | None = None,
    player: dict[str, Any] | None = None,
    floor: tuple[float, str] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """One number of an evaluation.json, with value ± half."""
    if value is None:
        return {"value": None, "low": None, "high": None, "n": 0, "reason": reason or "none"}
    low, high = (None, None) if half is None else (value - half, value + half)
    papers = {"ruler": RULER | (ruler or {}), "player": player or {}}
    out = {"value": value, "low": low, "high": high, "n": 360, "passport": papers}
    if floor is not None:
        out["floor"] = {"value": floor[0], "low": None, "high": None, "n": 360, "what": floor[1]}
    return out


class Outputs:
    """A root of hand-made runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def run(
        self,
        model: str = "vae",
        metrics: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        sweep: str | None = None,
        dataset: str = "digits",
        split: str = "0363799e",
        status: str = "finished",
        seed: int = 0,
        summary: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        seconds: float = 10.0,
        **keys: Any,
    ) -> Path:
        """A run, with an evaluation if ``metrics``; ``keys`` of its config, ``model__beta=4``."""
        suffix = name or f"r{self.count:03d}"
        day = self.root / "2026-11-23"
        if sweep:
            folder = day / f"12-00-00-sweep-{sweep}" / f"{self.count:03d}-{model}"
            folder.mkdir(parents=True)
            (folder.parent / run_folder.SWEEP).write_text("{}")
        else:
            folder = day / f"12-00-{self.count:02d}-{model}-{suffix}"
            folder.mkdir(parents=True)
        config: dict[str, Any] = {
            "dataset": {"name": dataset},
            "model": {"name": model, "beta": 1},
            "bottleneck": 16,
            "epochs": 5,
            "seed": seed,
            "outputs": "outputs",
            "name": None,
            "tags": [],
        }
        for key, value in keys.items():
            place, last = config, key.split("__")
            for part in last[:-1]:
                place = place.setdefault(part, {})
            place[last[-1]] = value
        (folder / run_folder.CONFIG).write_text(yaml.safe_dump(config))
        described = {
            "status": status,
            "parameters": 1000,
            "device": "cpu",
            "threads": 1,
            "precision": "fp32",
            "dataset": {"name": dataset, "split_hash": split},
            "started": f"2026-11-23T12:{self.count // 60:02d}:{self.count % 60:02d}.000+00:00",
            "finished": "2026-11-23T13:00:00.000+00:00",
        }
        (folder / run_folder.RUN).write_text(json.dumps(described))
        done = {"status": status, "seconds": seconds, "metrics": summary or {}}
        if status != "failed":
            (folder / run_folder.SUMMARY).write_text(json.dumps(done))
            (folder / run_folder.CHECKPOINTS).mkdir()
        self.count += 1
        if metrics is not None:
            self.evaluate(folder, metrics, settings=settings)
        return folder

    def evaluate(
        self,
        folder: Path,
        metrics: dict[str, Any],
        *,
        name: str = "reference-n360-0000",
        settings: dict[str, Any] | None = None,
        finished: str = "2026-11-23T14:00:00.000+00:00",
    ) -> None:
        place = folder / "evaluation" / name
        place.mkdir(parents=True, exist_ok=True)
        made = {"n": 360, "features": "reference", "only": None, "options": {}} | (settings or {})
        text = {"schema": 1, "settings": made, "metrics": metrics, "finished": finished}
        (place / "evaluation.json").write_text(json.dumps(text))


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "outputs")


@pytest.fixture
def made() -> Callable[..., dict[str, Any]]:
    return entry


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """What a script prints, in a process of its own."""

    def run(code: str) -> str:
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
