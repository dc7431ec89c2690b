"""What a user meets with the families that are no autoencoders: keys they lack, two players."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genai_cli.store import run_folder
from genai_cli.training import machine

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=1", "dataset.limit=64")
SMALL_DDPM = ("model=ddpm", "model.channels=[8]", "bottleneck=8", "model.timesteps=10")


MISTAKES = [
    (("model=flow", "bottleneck=8"), ("flow has no bottleneck",)),
    (("model=gan", "monitor=val/loss"), ("monitor=val/loss", "val/generator/loss")),
    (("model=gan", "trainer.patience=3"), ("trainer.patience", "val/generator/loss")),
    (("model=gan", "schedule=plateau"), ("schedule=plateau", "val/generator/loss")),
    (("model=gan", "loss=simple"), ("loss=simple does not fit gan", "loss=nonsaturating")),
    (("model=flow", "loss=gaussian"), ("loss=gaussian does not fit flow", "loss=nll")),
    (("model=ddpm", "loss=hinge"), ("loss=hinge does not fit ddpm", "loss=simple")),
    (("model=ddpm", "model.guidance=3"), ("model.guidance=3", "model.conditional=true")),
    (("model=ddpm", "model.sampler=heun", "model.eta=1"), ("model.eta=1", "heun")),
    (
        ("model=ddpm", "model.timesteps=20", "model.sample_steps=50"),
        ("model.sample_steps=50", "20 steps"),
    ),
    (
        ("model=ddpm", "model.conditional=true", "model.label_dropout=0"),
        ("model.label_dropout=0", "model.label_dropout=0.1"),
    ),
    (
        ("model=ddpm", "model.conditional=true", "dataset=swiss_roll"),
        ("model.conditional=true", "labels"),
    ),
    (("model=latent_flow", "model.bins=5000"), ("model.bins=5000", "<= 64")),
    (("model=flow", "model.scales=9", "model.layout=multiscale"), ("model.scales=9",)),
    (("model=gan", "model.augment=[color]", "dataset=wine"), ("model.augment", "13 columns")),
]  # fmt: skip


def test_a_choice_that_cannot_be_is_one_line(genai: Callable) -> None:
    for words, said in MISTAKES:
        done = genai("train", *words)
        assert done.code == 2, words
        assert done.err.count("\n") == 1, done.err
        assert all(word in done.err for word in said), done.err
        assert not done.folders, words


def test_a_key_that_a_family_lacks_leaves_a_sweep_and_its_table(genai: Callable) -> None:
    done = genai("train", "-m", "model=autoencoder,flow", "bottleneck=2,3", *QUICK)
    assert done.code == 0
    assert "flow has no bottleneck: 1 run, not 2" in done.err
    with open(done.folders[0] / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["model"], r["bottleneck"]) for r in rows] == [
        ("autoencoder", "2"),
        ("autoencoder", "3"),
        ("flow", ""),
    ]


def test_a_gan_shows_and_keeps_both_players(genai: Callable) -> None:
    done = genai("train", "model=gan", *QUICK, "monitor=val/generator/loss")
    assert done.code == 0
    (row,) = run_folder.read_metrics(done.folders[0])
    for player in ("discriminator", "generator"):
        assert f"{player} " in done.out
        assert {f"train/{player}/loss", f"val/{player}/loss"} <= set(row)
    assert {"train/discriminator/d_real", "train/discriminator/d_fake"} <= set(row)
    assert (done.folders[0] / "checkpoints" / "best").is_file()


def test_a_lazy_penalty_leaves_cells_empty_where_it_was_not_due(genai: Callable) -> None:
    words = ("model=gan", "epochs=3", "dataset.limit=64", "model.penalty_every=2")
    done = genai("train", *words)
    assert done.code == 0
    rows = run_folder.read_metrics(done.folders[0])
    assert ["train/penalty/loss" in r for r in rows] == [True, False, True]


def test_each_family_says_what_its_likelihood_is(genai: Callable) -> None:
    for words, kind in ((("model=flow", "model.steps=1"), "bound"), (SMALL_DDPM, "bound")):
        done = genai("train", *words, *QUICK, f"name={words[0][6:]}")
        assert done.code == 0, done.err
        folder = next(f for f in done.folders if words[0][6:] in f.name)
        entry = run_folder.read_json(folder / "summary.json")["metrics"]["test/bits_per_dim"]
        assert entry["passport"]["player"]["likelihood"] == kind
        assert entry["passport"]["player"]["draws"] == 8
        assert entry["passport"]["ruler"]["data_space"] == "17 levels in [0, 1]"


def test_damaged_weights_are_one_line_for_sample(genai: Callable) -> None:
    folder = genai("train", *QUICK).folders[0]
    last = (folder / "checkpoints" / "last").read_text().strip()
    (folder / "checkpoints" / last / "weights.safetensors").write_bytes(b"")
    done = genai("sample", "latest")
    assert done.code == 2
    assert "damaged" in done.err
    assert done.err.count("\n") == 1
    assert not (folder / "samples").exists()


def test_a_cuda_device_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Accelerator {device.index}")
    assert machine.device_name(torch.device("cuda:1")) == "cuda:1 Accelerator 1"


def test_experiments_in_a_folder_are_found_and_told(genai: Callable, tmp_path: Path) -> None:
    (tmp_path / "experiment" / "mine").mkdir(parents=True)
    text = "# @package _global_\n# Short\nepochs: 1\nbatch_size: 32\n"
    (tmp_path / "experiment" / "mine" / "short.yaml").write_text(text)
    done = genai("train", "experiment=mine/short", "-cd", str(tmp_path), "dataset.limit=64")
    assert done.code == 0
    assert "mine/short" in genai("train", "--help", "-cd", str(tmp_path)).out
