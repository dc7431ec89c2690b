"""Several processes: the same numbers, one killed worker costs one cell, no orphan goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import own_model
import pytest

from genai_cli import runs

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("model=autoencoder", "epochs=2", "dataset.limit=64")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.workers=2")

KILLS = '''
"""An autoencoder of one matrix; with 3 numbers it is killed, with 4 it waits."""
import os, signal, time
import torch
from torch import nn
from genai_cli.models.base import Model

class Fragile(Model):
    def __init__(self, data, bottleneck: int):
        super().__init__()
        self.bottleneck = bottleneck
        self.matrix = nn.Parameter(torch.full((64, bottleneck), 0.1))

    def reconstruct(self, x):
        return (x.flatten(1) @ self.matrix @ self.matrix.T).view(x.shape)

    def loss(self, batch, noise, player="model"):
        if torch.is_grad_enabled() and len(batch.x) > 1:  # a step: not a look before the launch
            if self.bottleneck == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.bottleneck == 4:
                time.sleep(0.05)
        return {"loss": (self.reconstruct(batch.x) - batch.x).square().flatten(1).mean(1)}
'''


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_PATH", own_model.write(tmp_path / "mine", "fragile", KILLS))


def _statuses(sweep: Path) -> list[str]:
    return [runs.read_json(cell / runs.RUN)["status"] for cell in runs.cells(sweep)]


def test_two_workers_give_the_numbers_of_one_process(genai: Callable) -> None:
    words = ("-m", "bottleneck=2,3,4", *QUICK)
    one = genai("train", *words).folders[0]
    done = genai("train", *words, *JOBLIB)
    assert done.code == 0, done.err
    two = next(f for f in done.folders if f != one)
    assert _statuses(two) == ["finished"] * 3
    for a, b in zip(runs.cells(one), runs.cells(two), strict=True):
        for name in ("last", "best"):
            step = (a / "checkpoints" / name).read_text().strip()
            weights = [f / "checkpoints" / step / "weights.safetensors" for f in (a, b)]
            assert weights[0].read_bytes() == weights[1].read_bytes()
        assert "epoch 2/2" in (b / runs.LOG).read_text()
    assert "epoch 2/2" not in done.out  # the cells speak in their logs
    assert "3/3" in done.out
    assert (two / runs.SWEEP_TABLE).read_text().count("finished") == 3


def test_a_killed_worker_fails_its_own_cell_alone(fragile: None, genai: Callable) -> None:
    done = genai("train", "-m", "model=fragile", "bottleneck=3,2,3,5,6", *QUICK[1:], *JOBLIB)
    assert done.code == 1
    sweep = done.folders[0]
    # the third cell is the first again: it collapsed
    assert _statuses(sweep) == ["failed", "finished", "finished", "finished"]
    assert "was killed by SIGKILL" in (runs.cells(sweep)[0] / runs.LOG).read_text()
    assert "killed by SIGKILL" in done.out


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_signal_stops_all_workers_saved(
    number: int, code: int, fragile: None, tmp_path: Path
) -> None:
    process = _start(tmp_path)
    sweep = _until_training(tmp_path, process)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code, out
    cells = runs.cells(sweep)
    assert _statuses(sweep) == ["interrupted"] * 3
    assert "runs not begun" in out
    begun = [cell for cell in cells if (cell / runs.LOG).exists()]
    assert len(begun) == 2
    for cell in begun:
        assert (cell / "checkpoints" / "last").is_file()
        assert not runs.held(cell)


@pytest.mark.slow
def test_workers_end_saved_when_their_parent_is_killed(fragile: None, tmp_path: Path) -> None:
    process = _start(tmp_path)
    sweep = _until_training(tmp_path, process)
    process.kill()
    process.communicate()
    begun = [cell for cell in runs.cells(sweep) if (cell / runs.LOG).exists()]
    deadline = time.monotonic() + 30
    while any(runs.held(cell) for cell in begun) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [runs.read_json(c / runs.RUN)["status"] for c in begun] == ["interrupted"] * 2
    assert not any(runs.held(cell) for cell in begun)
    assert len([c for c in runs.cells(sweep) if (c / runs.LOG).exists()]) == 2  # no next job


def _start(outputs: Path) -> subprocess.Popen[str]:
    """A sweep of three cells that last: seeds of the model that waits in every step."""
    words = ["-m", "model=fragile", "bottleneck=4", "seed=1,2,3", "epochs=100000", *QUICK[2:]]
    return subprocess.Popen(
        [sys.executable, "-m", "genai_cli", "train", *words, *JOBLIB, f"outputs={outputs}/out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"GENAI_CORES": ""},
    )


def _until_training(outputs: Path, process: subprocess.Popen[str]) -> Path:
    """The sweep's folder, as soon as two cells have taken steps."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(outputs.glob("out/*/*/*/metrics.csv"))) == 2:
            return next(outputs.glob("out/*/*"))
        time.sleep(0.1)
    process.kill()
    pytest.fail(process.communicate()[0])
