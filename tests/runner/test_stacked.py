"""`trainer.pack`: runs of a sweep that train as one stack, each with all that a run has."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genai_cli.runner import lifecycle, stacked
from genai_cli.runner.session import Session
from genai_cli.store import run_folder
from genai_cli.training.stack.stack import Stack

# sweeps of whole runs; test_pack.py has the stacks
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

QUICK = (
    "model=autoencoder", "model.widths=[16]", "bottleneck=4", "precision=fp64", "epochs=3",
    "dataset.limit=150", "batch_size=40", "trainer.step=eager", "trainer.threads=1",
)  # fmt: skip


def sweep_of(done: object) -> Path:
    return done.folders[-1]


def table(sweep: Path) -> list[dict[str, str]]:
    with open(sweep / "sweep.csv", newline="") as file:
        return list(csv.DictReader(file))


def rows(run: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in run_folder.read_metrics(run)
    ]


def tensors(run: Path, which: str) -> dict[str, torch.Tensor]:
    name = (run / "checkpoints" / which).read_text().strip()
    found = {}
    for file in ("weights.safetensors", "state.safetensors"):
        loaded = load_file(run / "checkpoints" / name / file)
        found |= {f"{name}/{file}/{k}": v for k, v in loaded.items()}
    return found


def numbers(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def assert_same_runs(one: Path, other: Path, rtol: float = 1e-9) -> None:
    """All files, rows, checkpoints and numbers, but for the time they took and how."""
    skipped = ("checkpoints", "run.json", "config.yaml", "train.log")
    files = [sorted(p.name for p in run.iterdir()) for run in (one, other)]
    assert files[0] == files[1]
    assert set(skipped) < set(files[0])
    assert len(rows(one)) == len(rows(other))
    for a, b in zip(rows(one), rows(other), strict=True):
        assert list(a) == list(b)
        assert a == pytest.approx(b, rel=rtol)
    for which in ("best", "last"):
        a, b = tensors(one, which), tensors(other, which)
        assert a.keys() == b.keys()
        for name, value in a.items():
            torch.testing.assert_close(b[name], value, rtol=rtol, atol=1e-9, msg=name)
    a, b = numbers(one), numbers(other)
    assert (a["status"], a["epoch"], a["step"]) == (b["status"], b["epoch"], b["step"])
    for name, entry in a["metrics"].items():
        assert entry["value"] == pytest.approx(b["metrics"][name]["value"], rel=1e-6)
        assert entry["passport"] == b["metrics"][name]["passport"]


def pair(genai: Callable, *words: str) -> tuple[list[Path], list[Path], object]:
    """The cells of a sweep alone and packed, and what the packed one said."""
    alone = run_folder.cells(sweep_of(genai("train", "-m", *words, "name=alone")))
    done = genai("train", "-m", *words, "name=packed", "trainer.pack=auto")
    folder = next(f for f in done.folders if "-packed-" in f.name)
    return alone, run_folder.cells(folder), done


def test_packed_runs_are_the_runs_alone(genai: Callable, drawn: None) -> None:
    words = ("seed=0,1", "optimizer.lr=1e-3,1e-2", "trainer.ema=0.9", "trainer.keep=2")
    alone, cells, done = pair(genai, *QUICK, *words)
    assert done.code == 0
    assert "4 runs in stacks of 4" in done.err
    assert "val/loss" in done.out
    assert len(cells) == 4
    for a, b in zip(alone, cells, strict=True):
        assert_same_runs(a, b)
        described = run_folder.read_json(b / "run.json")
        assert described["step_kind"] == "packed"
        assert described["pack"] == {"cells": 4, "threads": 1}
        assert described["status"] == "finished"
        log = (b / "train.log").read_text()
        assert "epoch 3/3" in log
        assert "test split" in log
        assert "packed: 4 runs" in log
    assert {row["status"] for row in table(cells[0].parent)} == {"finished"}


def test_a_game_of_two_players_in_stacks(genai: Callable) -> None:
    words = ("model=gan", "monitor=null", "model.penalty_every=2", *QUICK[1:])
    alone, cells, done = pair(genai, *words, "seed=0,1")
    assert done.code == 0, done.err
    for a, b in zip(alone, cells, strict=True):
        for x, y in zip(rows(a), rows(b), strict=True):
            assert x == pytest.approx(y, rel=1e-9)


def test_runs_leave_their_stack_when_patience_or_steps_run_out(genai: Callable) -> None:
    words = ("epochs=6", "trainer.patience=1", "optimizer.lr=1e-3,1", "trainer.max_steps=9,16")
    alone, cells, done = pair(genai, *(w for w in QUICK if "epochs" not in w), *words)
    assert done.code == 0
    for a, b in zip(alone, cells, strict=True):
        assert_same_runs(a, b)
    assert len({(numbers(b)["status"], numbers(b)["step"]) for b in cells}) > 2


def test_a_run_that_diverges_fails_alone(genai: Callable) -> None:
    alone, cells, done = pair(genai, *QUICK, "seed=0,1", "optimizer.lr=1e-3,1e300")
    assert done.code == 1
    assert "2 of 4 runs failed" in done.err
    assert done.err.count("became nan in epoch 1") == 2
    assert [row["status"] for row in table(cells[0].parent)] == ["finished", "failed"] * 2
    assert "Diverged" in (cells[1] / "train.log").read_text()
    for i in (0, 2):
        assert_same_runs(alone[i], cells[i])


def test_what_fails_in_one_folder_fails_there(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude = lifecycle.finalize

    def broken(folder: Path, *rest: object) -> int:
        if folder.name.startswith("001"):
            raise OSError("no space left on device")
        return conclude(folder, *rest)

    monkeypatch.setattr(lifecycle, "finalize", broken)
    done = genai("train", "-m", *QUICK, "seed=0,1,2", "trainer.pack=auto")
    assert done.code == 1
    assert "no space left" in done.err
    assert [r["status"] for r in table(sweep_of(done))] == ["finished", "failed", "finished"]


@pytest.mark.parametrize("step", [2, 4], ids=["mid-epoch", "epoch-end"])
def test_an_interrupted_stack_is_saved_and_each_run_goes_on_alone(
    step: int, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*QUICK, "seed=0,1", "trainer.ema=0.9", "schedule=cosine", "optimizer=nadam")
    alone = run_folder.cells(sweep_of(genai("train", "-m", *words, "name=alone")))
    plain = Stack._update

    def stopping(self: Stack, *args: object) -> None:
        plain(self, *args)
        if self.step == step - 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Stack, "_update", stopping)
    done = genai("train", "-m", *words, "name=packed", "trainer.pack=2")
    assert done.code == 143
    monkeypatch.undo()
    sweep = next(f for f in done.folders if "-packed-" in f.name)
    assert [row["status"] for row in table(sweep)] == ["interrupted"] * 2
    for cell, twin in zip(run_folder.cells(sweep), alone, strict=True):
        assert f"saved at step {step}" in (cell / "train.log").read_text()
        assert genai("resume", str(cell)).code == 0
        assert_same_runs(twin, cell)
        assert run_folder.read_json(cell / "run.json")["step_kind"] == "eager"
    assert [row["status"] for row in table(sweep)] == ["finished"] * 2


def test_a_signal_while_runs_are_measured_leaves_the_others_saved(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude = lifecycle.finalize

    def interrupted(*args: object) -> int:
        done = conclude(*args)
        signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(lifecycle, "finalize", interrupted)
    done = genai("train", "-m", *QUICK, "seed=0,1,2", "trainer.pack=auto")
    assert done.code == 130
    monkeypatch.undo()
    sweep = sweep_of(done)
    assert [r["status"] for r in table(sweep)] == ["finished"] * 3
    assert [r["note"] for r in table(sweep)] == ["", "not measured yet", "not measured yet"]
    cells = run_folder.cells(sweep)
    assert genai("resume", str(cells[1])).code == 0
    assert numbers(cells[1])["epoch"] == 3


def test_other_processes_measure_and_draw_the_same(
    genai: Callable, drawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", "-m", *QUICK, "seed=0,1,2,3", "trainer.pack=auto")
    here = run_folder.cells(sweep_of(genai(*words, "name=here")))
    monkeypatch.setattr(stacked, "cores", lambda: 2)
    monkeypatch.setattr(stacked, "FEW", 2)
    done = genai(*words, "name=there")
    assert done.code == 0, done.err
    there = run_folder.cells(next(f for f in done.folders if "-there-" in f.name))
    for a, b in zip(here, there, strict=True):
        assert_same_runs(a, b, rtol=0)
        for picture in ("latent.png", "reconstructions.png", "samples.png"):
            assert (a / picture).read_bytes() == (b / picture).read_bytes()
        assert numbers(a)["metrics"] == numbers(b)["metrics"]
        assert "test split" in (b / "train.log").read_text()
    assert {row["status"] for row in table(there[0].parent)} == {"finished"}


def test_a_pool_that_loses_a_process_ends_and_its_runs_are_measured(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory runs out; the other process waits for work and is ended by the executor."""
    monkeypatch.setattr(stacked, "cores", lambda: 2)
    monkeypatch.setattr(stacked, "FEW", 2)
    add = stacked.Finalizer.add

    def after_a_kill(self: stacked.Finalizer, session: Session) -> None:
        add(self, session)
        if len(self.waiting) == 1:
            process = next(iter(self.pool._processes.values()))
            process.kill()

    monkeypatch.setattr(stacked.Finalizer, "add", after_a_kill)
    done = genai("train", "-m", *QUICK, "seed=0,1,2,3", "trainer.pack=auto")
    assert done.code == 0, done.err
    rows = table(sweep_of(done))
    assert [row["status"] for row in rows] == ["finished"] * 4
    assert all(numbers(cell)["measured"] for cell in run_folder.cells(sweep_of(done)))


def test_what_cannot_be_stacked_trains_one_after_the_other(genai: Callable) -> None:
    done = genai("train", "-m", *QUICK, "seed=0,1", "model.network=conv", "model.channels=[4]",
                 "trainer.pack=auto", "trainer.max_steps=1")  # fmt: skip
    assert done.code == 0
    assert "2 runs one after the other: convolutions" in done.err
    assert (
        run_folder.read_json(run_folder.cells(sweep_of(done))[0] / "run.json")["step_kind"]
        == "eager"
    )


@pytest.mark.parametrize("value", ["1", "0", "-2", "on", "1.5"])
def test_a_wrong_number_is_one_line(value: str, genai: Callable) -> None:
    done = genai("train", "-m", f"trainer.pack={value}", "seed=0,1")
    assert done.code == 2
    assert f"trainer.pack={value}" in done.err
    assert not done.folders


def test_a_single_run_has_nothing_to_stack(genai: Callable) -> None:
    done = genai("train", *QUICK, "trainer.pack=auto", "trainer.max_steps=1")
    assert done.code == 0
    assert "trainer.pack=auto: one run alone; it is for a sweep (-m)" in done.err
