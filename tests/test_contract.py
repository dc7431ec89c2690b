"""The contract, frozen: what users and scripts hold on to. A change here is a decision."""

from __future__ import annotations

import csv
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from genai_cli.config.schema import FiguresConfig, TrainConfig, TrainerConfig
from genai_cli.data.dataset import Batch, Spec, Split
from genai_cli.models.base import Model, Player
from genai_cli.store import run_folder as runs

QUICK = ("epochs=2", "dataset.limit=64", "model.widths=[16]")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished `genai train`, as a user gets it."""
    from genai_cli.cli.front_door import main

    outputs = tmp_path_factory.mktemp("contract")
    assert main(["train", *QUICK, "loss=gaussian", f"outputs={outputs}"]) == 0
    return next(outputs.glob("*/*"))


def test_signatures() -> None:
    assert Batch._fields == ("x", "y")
    assert Player._fields == ("name", "module", "every", "optimizer", "lr")
    assert Player._field_defaults == {"every": 1, "optimizer": None, "lr": None}
    for name, parameters in {
        "players": ["self"],
        "noise": ["self", "n", "generator"],
        "loss": ["self", "batch", "noise", "player"],
        "prepare": ["self", "batch"],
        "calibrate": ["self", "batch", "noise"],
        "finish": ["self", "batches"],
    }.items():
        assert list(inspect.signature(getattr(Model, name)).parameters) == parameters
    assert inspect.signature(Model.loss).parameters["player"].default == "model"
    assert {"event_shape", "target", "target_shape", "classes", "levels"} <= set(Spec._fields)
    assert callable(Split.batch)


def test_top_level_knobs() -> None:
    assert list(TrainConfig.__dataclass_fields__) == [
        "dataset", "model", "loss", "optimizer", "schedule", "trainer", "figures",
        "bottleneck", "batch_size", "epochs", "seed", "split_seed", "device", "precision",
        "monitor", "outputs", "name", "tags", "init_from", "force_loss",
    ]  # fmt: skip
    assert list(FiguresConfig.__dataclass_fields__) == ["name", "scale"]
    assert list(TrainerConfig.__dataclass_fields__) == [
        "devices", "accumulate", "clip", "ema", "patience", "min_delta", "init", "max_steps",
        "save_every", "keep", "figures_every", "rollback", "step", "pack", "loggers", "threads",
        "deterministic",
    ]  # fmt: skip


def test_defaults_are_vae_on_digits(run_folder: Path) -> None:
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    assert config["model"]["name"] == "vae"
    assert config["dataset"]["name"] == "digits"
    assert list(config) == list(TrainConfig.__dataclass_fields__)


def test_folder_name(run_folder: Path) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", run_folder.parent.name)
    assert re.fullmatch(r"\d\d-\d\d-\d\d-vae-digits-[a-z0-9]{4}", run_folder.name)


def test_files(run_folder: Path) -> None:
    assert sorted(p.name for p in run_folder.iterdir()) == [
        "checkpoints", "config.yaml", "latent.png", "loss_curve.png", "metrics.csv",
        "reconstructions.png", "run.json", "samples.png", "summary.json", "train.log",
    ]  # fmt: skip
    checkpoints = run_folder / "checkpoints"
    last = (checkpoints / "last").read_text()
    assert re.fullmatch(r"step-\d{6}\n", last)
    assert re.fullmatch(r"step-\d{6}\n", (checkpoints / "best").read_text())
    assert sorted(p.name for p in (checkpoints / last.strip()).iterdir()) == [
        "state.json", "state.safetensors", "weights.safetensors",
    ]  # fmt: skip


def test_no_temporary_file_is_left(run_folder: Path) -> None:
    assert not [p for p in run_folder.rglob("*") if p.name.startswith(".") or "tmp" in p.name]


def test_metrics_columns(run_folder: Path) -> None:
    with open(run_folder / "metrics.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        "epoch", "step", "images", "seconds", "lr", "train/loss", "val/loss",
        "train/reconstruction", "train/kl", "val/reconstruction", "val/kl",
    ]  # fmt: skip
    assert [row[:3] for row in rows[1:]] == [["1", "1", "64"], ["2", "2", "128"]]


def test_run_json(run_folder: Path) -> None:
    described = json.loads((run_folder / "run.json").read_text())
    assert list(described) == [
        "schema", "status", "command", "parameters", "device", "devices", "precision",
        "threads", "step_kind", "versions", "git", "dataset", "seed", "started", "finished",
    ]  # fmt: skip
    assert list(described["dataset"]) == ["name", "hash", "split_hash", "event_shape", "n"]
    assert described["status"] == "finished"
    assert isinstance(described["parameters"], int)
    assert described["dataset"]["n"] == {"train": 64, "val": 144, "test": 360}
    assert described["command"].startswith("genai train epochs=2")


def test_summary_json(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    assert list(summary) == [
        "schema", "status", "epoch", "step", "seconds", "monitor", "measured", "metrics",
        "evidence",
    ]  # fmt: skip
    assert set(summary["metrics"]) == {
        "test/loss", "test/reconstruction", "test/kl", "test/mse", "test/active_units",
    }  # fmt: skip
    assert summary["measured"] is True
    for entry in summary["metrics"].values():
        assert list(entry) == ["value", "low", "high", "n", "passport"]
        assert set(entry["passport"]) == {"ruler", "player"}
        assert entry["n"] == 360
        if entry["low"] is not None:
            assert entry["low"] <= entry["value"] <= entry["high"]
    ruler = summary["metrics"]["test/mse"]["passport"]["ruler"]
    assert set(ruler) == {
        "metric", "version", "n", "reference_split_hash", "extractor_hash", "preprocessing",
        "data_space",
    }  # fmt: skip


def test_statuses_are_a_closed_list() -> None:
    assert runs.STATUSES == ("running", "finished", "stopped", "interrupted", "failed")


def test_figures_follow_the_family(genai: Callable, tmp_path: Path) -> None:
    for model, files in {
        "mlp": {"loss_curve.png", "predictions.png"},
        "autoencoder": {"loss_curve.png", "reconstructions.png", "latent.png", "samples.png"},
    }.items():
        done = genai("train", f"model={model}", *QUICK, f"name={model}")
        assert done.code == 0
        folder = next(f for f in done.folders if f"-{model}-" in f.name)
        assert {p.name for p in folder.glob("*.png")} == files


def test_a_finished_run_can_be_loaded(run_folder: Path) -> None:
    import genai_cli

    model, data, config = genai_cli.load(run_folder)
    assert config.model["name"] == "vae"
    x = data.test.batch(__import__("torch").arange(3)).x
    assert model.reconstruct(x).shape == x.shape
    assert not model.training
