"""A run that dies without a word goes on from what it wrote, and a failed one keeps its best."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from genai_cli.runner.console import Reporter
from genai_cli.store import run_folder
from genai_cli.training import finite

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = (
    "train", "epochs=4", "dataset.limit=100", "batch_size=32", "trainer.ema=0.9",
    "schedule=cosine",
)  # fmt: skip


def steps(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def result(folder: Path) -> tuple[dict, dict, list]:
    """Weights, summary and rows without their seconds."""
    last = (folder / "checkpoints" / "last").read_text().strip()
    summary = json.loads((folder / "summary.json").read_text())
    with open(folder / "metrics.csv", newline="") as file:
        rows = [{k: v for k, v in r.items() if k != "seconds"} for r in csv.DictReader(file)]
    weights = load_file(folder / "checkpoints" / last / "weights.safetensors")
    return weights, {k: v for k, v in summary.items() if k != "seconds"}, rows


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave at once after a step, as the second Ctrl-C does: nothing more is written."""
    plain = Reporter.step

    def stopping(self: Reporter, now: object) -> None:
        plain(self, now)
        if now.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Reporter, "step", stopping)


@pytest.mark.parametrize("every", ["null", "1"])
def test_a_killed_run_computes_again_what_it_had_not_written(
    every: str, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*WORDS, f"trainer.save_every={every}")
    whole = genai(*words).folders[0]
    with monkeypatch.context() as patch:
        killed_at(10, patch)
        folder = next(f for f in genai(*words).folders if f != whole)
    here = steps(folder)
    if every == "null":
        assert here == ["step-000000"]  # a few epochs take less than ten seconds
    else:
        assert "step-000008" in here  # the last whole epoch
    assert genai("resume", folder.name[-4:]).code == 0
    weights, summary, rows = result(whole)
    other_weights, other_summary, other_rows = result(folder)
    assert all(weights[k].equal(other_weights[k]) for k in weights)
    assert (summary, rows) == (other_summary, other_rows)


def test_a_checkpoint_is_there_before_the_first_step(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(1, monkeypatch)
    done = genai(*WORDS)
    assert done.code == 130
    assert steps(done.folders[0]) == ["step-000000"]
    refused = genai("sample", "latest")
    assert refused.code == 2
    assert "there: step-000000" in refused.err


def test_a_failed_run_keeps_the_best_it_had(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = finite.check_finite

    def check(row: dict) -> None:
        plain(row | {"val/loss": float("nan")} if row["epoch"] == 3 else row)

    monkeypatch.setattr(finite, "check_finite", check)
    done = genai(*WORDS)
    assert done.code == 1
    assert "val/loss became nan in epoch 3" in done.err
    folder = done.folders[0]
    best = min(run_folder.read_metrics(folder), key=lambda row: row["val/loss"])
    name = (folder / "checkpoints" / "best").read_text().strip()
    assert name == f"step-{int(best['step']):06d}"
    assert genai("sample", "latest", "n=2").code == 0
