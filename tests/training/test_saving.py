"""When a run is saved, and that its rows are appended whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genai_cli.models.base import Player
from genai_cli.store import run_folder
from genai_cli.store.metrics_csv import MetricsWriter
from genai_cli.training import saving
from genai_cli.training.saving import GAP, SHARE, Saver
from genai_cli.training.schedule import LRSchedule
from genai_cli.training.state import Training

STEPS = 10  # in an epoch


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(saving, "time", clock)
    return clock


@pytest.fixture
def run() -> Training:
    model = torch.nn.Linear(2, 1)
    players = [Player("model", model)]
    optimizers = {"model": torch.optim.Adam(model.parameters())}
    schedule = LRSchedule({"name": "constant", "warmup": 0})
    return Training(model, players, optimizers, schedule, None, STEPS, monitor="val/loss")


@pytest.fixture
def saver(tmp_path: Path) -> Callable[..., Saver]:
    def make(every: int | None = None, keep: int = 2, first: Callable = lambda: None) -> Saver:
        return Saver(tmp_path, every, keep, first)

    return make


def epoch(saver: Saver, run: Training, best: bool = False) -> None:
    """Ten steps, after which every weight is the number of the epoch."""
    run.step += STEPS
    for p in run.model.parameters():
        p.data.fill_(run.epoch)
    saver.epoch(run, best)


def steps(folder: Path) -> list[int]:
    return sorted(int(p.name[5:]) for p in folder.glob("step-*"))


def told(folder: Path, pointer: str) -> str | None:
    path = folder / pointer
    return path.read_text().strip() if path.exists() else None


def test_before_step_1_without_a_pointer(saver, run, tmp_path, clock) -> None:
    saver().begin(run)
    assert steps(tmp_path) == [0]
    assert told(tmp_path, "last") is told(tmp_path, "best") is None


def test_a_resumed_run_is_not_saved_at_its_start(saver, run, tmp_path, clock) -> None:
    run.step = 30
    saver().begin(run)
    assert steps(tmp_path) == []


def test_epochs_are_saved_ten_seconds_apart(saver, run, tmp_path, clock) -> None:
    it = saver(keep=99)
    it.begin(run)
    for _ in range(25):
        clock.now += 1
        epoch(it, run)
    assert GAP == 10
    assert steps(tmp_path) == [0, 100, 200]
    assert told(tmp_path, "last") == "step-000200"


def test_a_slow_disk_is_written_to_less_often(saver, run, tmp_path, clock) -> None:
    def slow() -> None:
        clock.now += 2

    it = saver(keep=99, first=slow)
    it.begin(run)
    for _ in range(2 * SHARE + 5):
        clock.now += 1
        epoch(it, run)
    assert steps(tmp_path) == [0, STEPS * 2 * SHARE]  # 2 of 102 seconds


def test_a_number_of_epochs_is_kept_to_whatever_the_clock_says(saver, run, tmp_path, clock) -> None:
    it = saver(every=3, keep=99)
    it.begin(run)
    for _ in range(7):
        clock.now += 100
        epoch(it, run, best=True)
    assert steps(tmp_path) == [0, 30, 60]


def test_the_best_waits_in_memory_as_it_was(saver, run, tmp_path, clock) -> None:
    it = saver(keep=1)
    it.begin(run)
    for i in range(1, 12):
        clock.now += 1
        epoch(it, run, best=i in (2, 4))
        if i == 9:
            assert steps(tmp_path) == [0]
    assert steps(tmp_path) == [40, 100]  # those of epoch 2 were never written
    assert told(tmp_path, "best") == "step-000040"
    weights = load_file(tmp_path / "step-000040" / "weights.safetensors")
    assert all((w == 4).all() for w in weights.values())
    it.now(run)
    assert steps(tmp_path) == [40, 110]


def test_the_best_epoch_is_written_once_where_it_is_also_due(
    saver, run, tmp_path, clock, monkeypatch
) -> None:
    written = []
    rename = saving.checkpoint.os.rename
    monkeypatch.setattr(
        saving.checkpoint.os, "rename", lambda a, b: (written.append(b.name), rename(a, b))
    )
    it = saver()
    clock.now += 10
    epoch(it, run, best=True)
    assert written == ["step-000010"]
    assert told(tmp_path, "last") == told(tmp_path, "best") == "step-000010"


def test_a_lost_state_leaves_its_best_behind(saver, run, tmp_path, clock) -> None:
    it = saver()
    it.begin(run)
    epoch(it, run, best=True)
    epoch(it, run)
    it.rescue()
    assert steps(tmp_path) == [0, 10]
    assert told(tmp_path, "best") == "step-000010"


# ---- metrics.csv -------------------------------------------------------------------------------


def test_rows_are_appended_and_a_new_column_writes_the_file_anew(tmp_path: Path) -> None:
    metrics, path = MetricsWriter(tmp_path), tmp_path / "metrics.csv"
    metrics.add({"epoch": 1, "step": 10, "train/loss": 0.5})
    file = path.stat().st_ino
    metrics.add({"epoch": 2, "step": 20, "train/loss": 0.25})
    metrics.add({"epoch": 3, "step": 30})
    assert path.stat().st_ino == file
    assert path.read_text() == "epoch,step,train/loss\n1,10,0.5\n2,20,0.25\n3,30,\n"
    metrics.add({"epoch": 4, "step": 40, "train/loss": 0.1, "train/kl": 2})
    metrics.add({"epoch": 5, "step": 50, "train/loss": 0.1, "train/kl": 1})
    assert path.read_text().splitlines() == [
        "epoch,step,train/loss,train/kl", "1,10,0.5,", "2,20,0.25,", "3,30,,",
        "4,40,0.1,2", "5,50,0.1,1",
    ]  # fmt: skip


def test_a_row_counts_once_its_line_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,images,train/loss\n1,10,640,0.5\n2,20,1280,0.12")
    assert [row["epoch"] for row in run_folder.read_metrics(tmp_path)] == [1]


def test_a_resumed_run_takes_the_rows_after_its_checkpoint_back(tmp_path: Path) -> None:
    metrics, path = MetricsWriter(tmp_path), tmp_path / "metrics.csv"
    for i in (1, 2, 3):
        metrics.add({"epoch": i, "step": 10 * i})
    before = path.read_text()
    with open(path, "a") as file:
        file.write("4,4")  # killed within a row
    again = MetricsWriter(tmp_path, up_to_step=20, steps_per_epoch=10)
    again.add({"epoch": 3, "step": 30})
    assert path.read_text() == before
