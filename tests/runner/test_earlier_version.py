"""Runs that version 0.1 wrote, before its modules had rooms: they resume, are measured, compared,
sampled and reproduced.

tests/fixtures/version_0_1 is of commit 6bed584: an autoencoder of the wine table, once whole, once
told to stop in epoch 3 of 4, and a sweep whose second cell is lost. Numbers of another processor
differ in the last digits, hence the tolerance; on the machine that wrote them the resumed weights
were the same bytes.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

import genai_cli
from genai_cli.store import run_folder

EARLIER = Path(__file__).parents[1] / "fixtures" / "version_0_1"
LAST = "checkpoints/step-000008"


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """The folder that holds them, where commands look."""
    return Path(shutil.copytree(EARLIER, tmp_path / "outputs" / "2026-12-01"))


def rows(run: Path) -> list[dict[str, float]]:
    timed = ("seconds",)
    return [
        {k: v for k, v in row.items() if k not in timed} for row in run_folder.read_metrics(run)
    ]


def test_an_interrupted_run_ends_as_the_whole_one(genai: Callable, day: Path) -> None:
    cut, whole = day / "15-16-52-interrupted-a3wd", day / "15-15-46-finished-lc90"
    config = (cut / "config.yaml").read_bytes()
    done = genai("resume", "a3wd")
    assert done.code == 0, done.err
    for mine, theirs in zip(rows(cut), rows(whole), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    for name, value in load_file(whole / LAST / "weights.safetensors").items():
        assert_close(
            load_file(cut / LAST / "weights.safetensors")[name], value, rtol=1e-4, atol=1e-5
        )
    assert (cut / "config.yaml").read_bytes() == config
    assert genai("resume", "lc90").code == 0  # nothing left to do


def test_a_finished_run_is_measured_sampled_and_compared(genai: Callable, day: Path) -> None:
    whole = day / "15-15-46-finished-lc90"
    stored = json.loads((whole / "summary.json").read_text())["metrics"]["test/mse"]["value"]
    model, data, config = genai_cli.load(whole)
    x = data.test.x
    assert float((model.reconstruct(x) - x).square().mean()) == pytest.approx(stored, rel=1e-4)
    assert config.model["widths"] == [8]
    assert genai("sample", "lc90", "n=4").code == 0
    done = genai("compare", "lc90", "a3wd", "--no-figures", "--json")
    assert done.code == 0, done.err
    assert f"{stored:.4f}"[:5] in done.out


def test_it_is_reproduced(genai: Callable, day: Path) -> None:
    done = genai("reproduce", "lc90", "rtol=1e-4")
    assert done.code == 0, done.out + done.err


def test_a_sweep_makes_its_lost_cell_again(genai: Callable, day: Path) -> None:
    sweep = day / "15-18-01-sweep-akyf"
    with open(sweep / "sweep.csv", encoding="utf-8") as file:
        before = list(csv.DictReader(file))
    done = genai("sweep", "resume", "akyf")
    assert done.code == 0, done.err
    with open(sweep / "sweep.csv", encoding="utf-8") as file:
        after = list(csv.DictReader(file))
    assert [row["status"] for row in after] == ["finished", "finished"]
    for old, new in zip(before, after, strict=True):
        assert float(new["test/mse"]) == pytest.approx(float(old["test/mse"]), rel=1e-4)
