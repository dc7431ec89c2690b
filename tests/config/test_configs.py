"""Every YAML under configs/ binds and trains two steps; none is forgotten."""

from __future__ import annotations

import dataclasses
import functools
import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from genai_cli.config import compose
from genai_cli.config.catalog import config_dir
from genai_cli.data.dataset import Dataset
from genai_cli.data.sources import load
from genai_cli.runner.prepare import prepare
from genai_cli.training import setup
from genai_cli.training.loop import train

CONFIGS = {p.relative_to(config_dir()).with_suffix("") for p in config_dir().rglob("*.yaml")}
ADVERSARIAL = ("minimax", "nonsaturating", "lsgan", "hinge", "wgan_gp", "relativistic")
NEED = {  # words without which an option has nothing to work on
    "loss/bce": ["model=autoencoder"],
    **{key: ["model=gan"] for key in [f"loss/{n}" for n in ADVERSARIAL]},
    **{key: ["model=ddpm"] for key in ["loss/simple", "loss/min_snr", "loss/vlb"]},
    "loss/nll": ["model=flow"],
    "loss/cce": ["model=mlp"],
    "loss/huber": ["model=autoencoder"],
    "loss/kl": ["model=mlp"],
    "loss/mae": ["model=autoencoder"],
    "loss/mse": ["model=autoencoder"],
    "loss/msle": ["model=autoencoder"],
}
FILES = ("mnist", "kmnist", "cifar10")  # need files this repository does not have
OWN = ("folder", "table")  # need a path, see below


@functools.cache
def loaded(node: str) -> Dataset:
    return load(json.loads(node))


def two_steps(words: list[str]) -> None:
    config = compose.compose_cells("train", compose.parse_line(words))[0].config
    prepared = prepare(config, lambda _: None, loaded(json.dumps(config.dataset)))
    cpu, cfg = torch.device("cpu"), prepared.cfg
    if cfg.precision == "auto":  # may become either; bf16 is the less exact
        cfg = dataclasses.replace(cfg, precision="bf16")
    run = setup.new_training(cfg, prepared.data, cpu)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    for now in islice(train(run, prepared.data, cfg, cpu), 2):
        assert all(torch.isfinite(total) for total in now.means.sums.values())
    assert run.step == 2
    assert any(not v.equal(before[k]) for k, v in run.model.state_dict().items())


ELSEWHERE = ("experiment", "sweep", "hydra")  # tested below, in tests/sweeps and tests/launchers
OPTIONS = sorted(
    str(c)
    for c in CONFIGS
    if c.parent != Path() and c.name not in (*FILES, *OWN) and c.parts[0] not in ELSEWHERE
)
EXPERIMENTS = sorted(
    str(c.relative_to("experiment"))
    for c in CONFIGS
    if "experiment" in c.parts and "lecture" not in c.parts  # tests/lecture
)


def together(*groups: str) -> list[list[str]]:
    """Lines with one option of each group, in turn, until every option was in one."""
    options = [
        [o.replace("/", "=") for o in OPTIONS if o.startswith(f"{group}/")] for group in groups
    ]
    options = [[o for o in each if o != "dataset=fashion_mnist"] for each in options]
    most = max(map(len, options))
    return [[each[i % len(each)] for each in options] for i in range(most)]


LINES = [  # a VAE with every data set, optimizer, schedule and trainer; then losses and models
    *together("dataset", "optimizer", "schedule", "trainer", "figures"),
    *([*words, *NEED.get(words[0].replace("=", "/"), [])] for words in together("loss")),
]
LINES += [
    words for words in together("model") if words[0] not in {w for line in LINES for w in line}
]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_every_option_trains_two_steps(words: list[str]) -> None:
    two_steps([*words, "batch_size=16"])


@pytest.mark.fashion
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(e, marks=[pytest.mark.slow] * e.startswith("record/"))
        for e in EXPERIMENTS
        if "fashion" in e
    ],
)
def test_every_experiment_on_clothes_trains_two_steps(name: str, fashion_root: Path) -> None:
    few = ["dataset.limit=64", "batch_size=16"]
    two_steps([f"experiment={name}", f"dataset.root={fashion_root}", *few])


@pytest.mark.parametrize("name", [e for e in EXPERIMENTS if "fashion" not in e])
def test_every_other_experiment_trains_two_steps(name: str) -> None:
    two_steps([f"experiment={name}"])


def test_ones_own_table_and_folder_train(tmp_path: Path) -> None:
    from PIL import Image

    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i},{i * i % 7},{i % 3}\n" for i in range(90)))
    two_steps(["model=mlp", "dataset=table", f"dataset.path={table}", "dataset.target=y"])
    images = tmp_path / "images"
    for i in range(90):
        (images / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), i).save(images / "ab"[i % 2] / f"{i}.png")
    two_steps(["model=autoencoder", "dataset=folder", f"dataset.path={images}"])
    two_steps(["dataset=folder", f"dataset.path={images}", "dataset.memory_mb=0"])


def test_nothing_is_left_out() -> None:
    groups = {c.parts[0] for c in CONFIGS if len(c.parts) > 1}
    assert groups == {
        "dataset", "model", "loss", "optimizer", "schedule", "trainer", "figures", "experiment",
        "sweep", "hydra",
    }  # fmt: skip
    assert len(OPTIONS) > 35
    trained = {word for words in LINES for word in words}
    assert {o.replace("/", "=") for o in OPTIONS} - trained == {"dataset=fashion_mnist"}
    assert {c.name for c in CONFIGS if len(c.parts) == 1} == {"train"}


def test_an_experiment_can_change_every_top_level_key(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    values = {
        "bottleneck": 5, "batch_size": 7, "epochs": 9, "seed": 11, "split_seed": 13,
        "device": "cpu", "precision": "fp64", "monitor": "val/kl", "outputs": "elsewhere",
        "name": "mine", "tags": ["a"], "init_from": "x", "force_loss": True,
    }  # fmt: skip
    lines = "".join(f"{k}: {str(v).replace(chr(39), '')}\n" for k, v in values.items())
    (tmp_path / "experiment" / "all.yaml").write_text(f"# @package _global_\n# All keys\n{lines}")
    line = compose.parse_line(["experiment=all", "-cd", str(tmp_path)])
    config = compose.compose_cells("train", line)[0].config
    assert {k: getattr(config, k) for k in values} == values
    groups = {"dataset", "model", "loss", "optimizer", "schedule", "trainer", "figures"}
    assert groups | set(values) == set(type(config).__dataclass_fields__)


def test_the_command_line_beats_experiment_and_model() -> None:
    line = compose.parse_line(["experiment=fashion_autoencoder", "bottleneck=9", "optimizer=sgd"])
    config = compose.compose_cells("train", line)[0].config
    assert (config.bottleneck, config.optimizer["name"]) == (9, "sgd")
