"""Several processes: the same numbers, one killed worker costs one cell, no orphan goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import own_model
import pytest
from command_server import Server, Started

from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=40", "dataset.limit=64")
JOBLIB = ("hydra/launcher=processes", "hydra.launcher.workers=2")

KILLS = '''
"""An autoencoder of one matrix; with 3 numbers it is killed, with more than 8 it takes its time."""
import os, signal, time
from pathlib import Path
import torch
from torch import nn
from genai_cli.models.base import Model

STOPPING = Path(__file__).with_name("stopping")

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
            if self.bottleneck > 8:
                waits = time.monotonic() + 2.5
                time.sleep(0.25)
                while time.monotonic() < waits and not STOPPING.exists():
                    time.sleep(0.05)
        return {"loss": (self.reconstruct(batch.x) - batch.x).square().flatten(1).mean(1)}
'''


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_PATH", own_model.write(tmp_path / "mine", "fragile", KILLS))


def _statuses(sweep: Path) -> list[str]:
    return [
        run_folder.read_json(cell / run_folder.RUN)["status"] for cell in run_folder.cells(sweep)
    ]


def test_a_killed_worker_costs_one_cell(fragile: None, genai: Callable) -> None:
    words = ("-m", "model=fragile", "bottleneck=3,2", "epochs=2", "dataset.limit=64", *JOBLIB)
    done = genai("train", *words)
    assert done.code == 1
    (sweep,) = done.folders
    assert _statuses(sweep) == ["failed", "finished"]
    assert "was killed by SIGKILL" in (run_folder.cells(sweep)[0] / run_folder.LOG).read_text()
    assert "killed by SIGKILL" in done.out
    assert "epoch 2/2" not in done.out  # the cells speak in their logs
    assert "2/2" in done.out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_workers_give_the_numbers_of_one_process_and_a_signal_saves_what_goes_on(
    number: int, code: int, fragile: None, genai: Callable, server: Server, tmp_path: Path
) -> None:
    one = genai("train", "-m", "model=fragile", *QUICK, "bottleneck=2,5", "name=one").folders[0]
    process = _start(server, tmp_path, "bottleneck=3,2,3,5,9,10,11")  # 3 twice: it collapses
    sweep = _until_training(process, 4)
    process.send_signal(number)
    (tmp_path / "mine" / "models" / "stopping").touch()
    assert process.wait() == code, process.said
    assert _statuses(sweep) == ["failed", *["finished"] * 2, *["interrupted"] * 3]
    dead, *ended, ninth, tenth, last = run_folder.cells(sweep)
    assert "was killed by SIGKILL" in (dead / run_folder.LOG).read_text()
    assert "killed by SIGKILL" in process.said
    assert "epoch 2/40" not in process.said  # the cells speak in their logs
    assert "1 runs not begun" in process.said
    for a, b in zip(run_folder.cells(one), ended, strict=True):
        for name in ("last", "best"):
            step = (a / "checkpoints" / name).read_text().strip()
            weights = [f / "checkpoints" / step / "weights.safetensors" for f in (a, b)]
            assert weights[0].read_bytes() == weights[1].read_bytes()
        assert "epoch 40/40" in (b / run_folder.LOG).read_text()
    assert (sweep / run_folder.SWEEP_TABLE).read_text().count("finished") == 2
    for cell in (ninth, tenth):
        assert (cell / "checkpoints" / "last").is_file()
        assert not run_folder.is_training(cell)
    assert not (last / run_folder.LOG).exists()


@pytest.mark.slow
def test_workers_end_saved_when_their_parent_is_killed(
    fragile: None, server: Server, tmp_path: Path
) -> None:
    process = _start(server, tmp_path, "bottleneck=9,10,11")
    sweep = _until_training(process, 2)
    process.kill()
    begun = [cell for cell in run_folder.cells(sweep) if (cell / run_folder.LOG).exists()]
    deadline = time.monotonic() + 30
    while any(run_folder.is_training(cell) for cell in begun) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [run_folder.read_json(c / run_folder.RUN)["status"] for c in begun] == [
        "interrupted"
    ] * 2
    assert not any(run_folder.is_training(cell) for cell in begun)
    assert (
        len([c for c in run_folder.cells(sweep) if (c / run_folder.LOG).exists()]) == 2
    )  # no next job


def _start(server: Server, place: Path, cells: str) -> Started:
    env = {"GENAI_CORES": "", "GENAI_PATH": os.environ["GENAI_PATH"]}
    words = ("-m", "model=fragile", cells, *QUICK, *JOBLIB, "name=two")
    return server.start(place, "train", *words, env=env)


def _until_training(process: Started, cells: int) -> Path:
    """The sweep's folder, as soon as so many cells have ended an epoch."""
    outputs = process.out.parent / "outputs"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(outputs.glob("*/*-two-*/*/metrics.csv"))) == cells:
            return next(outputs.glob("*/*-two-*"))
        time.sleep(0.05)
    process.kill()
    pytest.fail(process.said)
