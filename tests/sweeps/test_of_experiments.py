"""An experiment may be a sweep: its ``sweep:`` says what -m varies, cell by cell if need be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sweep_folders import QUICK, cells, statuses, table

from genai_cli.cli.completion.candidates import candidates
from genai_cli.config import compose
from genai_cli.config.schema import TrainConfig
from genai_cli.errors import UserError
from genai_cli.sweeps.given import read_sweep

pytestmark = pytest.mark.usefixtures("undrawn")

TABLE = """# @package _global_
# Which loss for which table?
defaults:
  - override /model: mlp
  - override /dataset: wine
epochs: 2
model:
  widths: [8]
sweep:
  over:
    seed: [0, 1]
  cells:
    - {dataset: wine, loss: cce}
    - {dataset: diabetes, loss: mse, model.widths: [4, 4]}
    - {dataset: diabetes, loss: mae, trainer.clip: null, force_loss: false}
"""
TWO = "    - {loss: cce, model.widths: [4, 4]}\n    - {loss: cce, trainer.clip: null}\n"
CELLS = [("wine", "cce"), ("wine", "cce")] + [("diabetes", "mse")] * 2 + [("diabetes", "mae")] * 2


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write an experiment of the user's own, and find it."""
    monkeypatch.setenv("GENAI_PATH", str(tmp_path))

    def write(name: str = "mine", text: str = TABLE) -> Path:
        path = tmp_path / "configs" / "experiment" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    write()
    return write


def asked(*words: str) -> list[dict[str, str]]:
    """What the cells of a line vary."""
    line = compose.parse_line(["-m", *words])
    sweep = read_sweep(line)
    return [c.swept for c in compose.compose_cells("train", line, sweep.over, listed=sweep.cells)]


def test_cells_are_crossed_with_the_lists(mine: Callable) -> None:
    found = asked("experiment=mine")
    assert [(c["dataset"], c["loss"]) for c in found] == CELLS
    assert [c["seed"] for c in found] == ["0", "1"] * 3
    assert [c.get("model.widths") for c in found] == [None] * 2 + ["[4,4]"] * 2 + [None] * 2
    more = asked("experiment=mine", "batch_size=8,16")
    assert len(more) == 12
    assert len({tuple(c.items()) for c in more}) == 12


LINES = [
    (["seed=5"], 2),  # over gives way to a value
    (["seed=5,6,7"], 6),  # and to a list
    (["loss=cce"], 4),  # what is left of a cell tells it from others
    (["sweep.cells=[]"], 2),
    (["sweep.over={}"], 2),
    (["sweep.over={batch_size:[4,8,16]}"], 6),
    (["sweep=none", "bottleneck=2,3"], 2),  # a choice stands for the experiment's own
    (["sweep=seeds"], 5),
]


def test_the_line_wins(mine: Callable) -> None:
    mine(text=TABLE[: TABLE.index("    - {dataset: wine")] + TWO)
    for words, number in LINES:
        assert len(asked("experiment=mine", *words)) == number, words


def test_cells_that_the_line_makes_equal_stand_there_once(mine: Callable) -> None:
    text = TABLE.replace(", model.widths: [4, 4]", "")
    text = text.replace(", trainer.clip: null, force_loss: false", "")
    mine(text=text)
    line = ("dataset=diabetes", "loss=mse")
    assert asked("experiment=mine", *line) == [{"seed": "0"}, {"seed": "1"}]
    assert len(asked("experiment=mine", "loss=mse")) == 4


def test_a_named_sweep_may_have_cells(mine: Callable, tmp_path: Path) -> None:
    path = tmp_path / "configs" / "sweep" / "pairs.yaml"
    path.parent.mkdir()
    path.write_text("# Which pair?\ncells:\n  - {bottleneck: 2, epochs: 3}\n  - {epochs: 4}\n")
    assert asked("sweep=pairs") == [{"bottleneck": "2", "epochs": "3"}, {"epochs": "4"}]


def test_without_m_it_says_what_to_add(mine: Callable, genai: Callable) -> None:
    for verb in ("train", "plan"):
        done = genai(verb, "experiment=mine", "epochs=1")
        assert done.code == 2
        assert done.err == f"genai {verb}: experiment=mine is a sweep; add -m\n"
    assert not done.outputs.exists()


def test_a_runs_config_holds_no_sweep(mine: Callable, genai: Callable) -> None:
    done = genai("train", "-m", "experiment=mine", "seed=3", "trainer.max_steps=2")
    assert done.code == 0, done.err
    (sweep,) = done.folders
    names = [path.name for path in cells(sweep)]
    assert names[:2] == ["000-wine-cce", "001-diabetes-mse-model.widths--4-4"]
    for cell in cells(sweep):
        assert "sweep" not in yaml.safe_load((cell / "config.yaml").read_text())
    recorded = yaml.safe_load((sweep / "sweep.yaml").read_text())
    assert recorded["sweep"]["over"] == {"seed": [0, 1]}
    assert recorded["sweep"]["cells"] == yaml.safe_load(TABLE)["sweep"]["cells"]
    assert [row["loss"] for row in table(sweep)] == ["cce", "mse", "mae"]


def test_it_is_planned_as_it_is_trained(mine: Callable, genai: Callable) -> None:
    words = ("-m", "experiment=mine", "seed=3", "hydra/launcher=slurm", "--script")
    done = genai("plan", *words)
    assert done.code == 0, done.err
    assert "0-2" in done.out  # an array of three


def test_the_rest_of_it_is_trained_after_an_interruption(
    mine: Callable, genai: Callable, stop_in: Callable
) -> None:
    words = ("experiment=mine", "seed=0", "dataset=wine", "loss=cce", "epochs=2", "batch_size=32")
    stop_in("001", 3)
    done = genai("train", "-m", *words)
    assert done.code == 143
    stop_in("", 0)
    (sweep,) = done.folders
    assert statuses(sweep) == ["finished", "interrupted"]  # the third is the first once more
    (cells(sweep)[1] / "config.yaml").unlink()  # written again from its words
    assert genai("sweep", "resume", str(sweep)).code == 0
    assert statuses(sweep) == ["finished"] * 2


@pytest.mark.slow
def test_halving_ranks_cells(mine: Callable, genai: Callable) -> None:
    text = (
        "# @package _global_\n# Halved\ndefaults:\n  - override /model: autoencoder\nsweep:\n"
        "  search: halving\n  rungs: [1, 2]\n  keep: 0.5\n"
        "  cells: [{bottleneck: 2}, {bottleneck: 8, optimizer.lr: 0.01}]\n"
    )
    mine("halved", text)
    few = [word for word in QUICK if not word.startswith("epochs")]
    done = genai("train", "-m", "experiment=halved", *few)
    assert done.code == 0, done.err
    assert [row["epoch"] for row in table(done.folders[0])] in (["1", "2"], ["2", "1"])
    mine("halved", text.replace("{bottleneck: 2}", "{epochs: 2}"))
    done = genai("train", "-m", "experiment=halved", *few)
    assert "epochs is the last of sweep.rungs" in done.err


def test_the_other_searches_take_no_cells(mine: Callable, genai: Callable) -> None:
    done = genai("train", "-m", "experiment=mine", "sweep.search=random", "bottleneck=2,3")
    assert done.code == 2
    assert "sweep.cells says nothing to search=random" in done.err


CELLS_THAT_ARE_NONE = [
    ("wine", "sweep.cells[0]=wine is not allowed: a cell is keys"),
    ("{}", "sweep.cells[0]={} is not allowed"),
    ("{seed: 3}", "seed stands in sweep.over and in sweep.cells[0]"),
    ("{model: {widths: [8]}}", "write model.widths: …"),
    ("{name: a}", "name cannot be swept"),
    ("{experiment: digits_gan}", "an experiment is no key of a cell"),
    ("{3: 4}", "3 is no key"),
    ('{epochs: "3,4"}', "epochs=3,4 is several values"),
    ("{lr: 3}", "unknown key 'lr'"),
    ("{epochs: many}", "epochs=many is not allowed"),
    ("{loss: cee}", "unknown loss 'cee'; did you mean 'cce'"),
    ('{"+epochs": 3}', "a config has no other keys"),
]


def test_mistakes_in_a_cell(mine: Callable, genai: Callable) -> None:
    for cell, said in CELLS_THAT_ARE_NONE:
        mine(text=TABLE.replace("{dataset: wine, loss: cce}", cell))
        one_line(genai("train", "-m", "experiment=mine"), said)


def one_line(done: object, said: str) -> None:
    assert done.code == 2, done.out
    assert said in done.err
    assert done.err.count("\n") == 1, done.err
    assert not done.outputs.exists()


NODES_THAT_ARE_NONE = [
    ("sweep: 3", "sweep"),
    ("sweep: {ovr: {seed: [1]}}", "unknown key 'sweep.ovr'; did you mean 'over'"),
    ("sweep: {cells: 3}", "sweep.cells"),
    ("sweep: {over: {seed: [1, 2]}, rungs: [1]}", "sweep.rungs says nothing to search=grid"),
    ("sweep: {over: {}}", "-m needs a list"),
    ("sweep: {over: {seed: 3}}", "sweep.over: seed is 3, which is no list"),
    ("sweep: {over: {trainer: {clip: [1, 2]}}}", "sweep.over: trainer is {"),
]


def test_mistakes_in_the_node(mine: Callable, genai: Callable) -> None:
    for node, said in NODES_THAT_ARE_NONE:
        mine(text=TABLE[: TABLE.index("sweep:")] + node + "\n")
        one_line(genai("train", "-m", "experiment=mine"), said)


def test_one_of_several_experiments_is_no_sweep(mine: Callable, genai: Callable) -> None:
    for more in ([], ["sweep=random"]):
        done = genai("train", "-m", "experiment=mine,digits_gan", *more)
        assert done.code == 2
        assert "experiment=mine is a sweep itself; name it alone" in done.err


def test_another_groups_file_is_no_sweep(mine: Callable, genai: Callable, tmp_path: Path) -> None:
    path = tmp_path / "configs" / "model" / "odd.yaml"
    path.parent.mkdir()
    path.write_text("# @package _global_\ndefaults: [vae]\nsweep: {over: {seed: [1, 2]}}\n")
    done = genai("train", "model=odd")
    assert done.code == 2
    assert "stands in no other group's YAML than an experiment's" in done.err


def test_help_completion_and_cfg(mine: Callable, genai: Callable) -> None:
    help_text = genai("train", "experiment=mine", "--help").out
    assert "It is a sweep: genai train -m experiment=mine" in help_text
    assert "It is a sweep" not in genai("train", "experiment=digits_gan", "--help").out
    offered = [word for word, _ in candidates(["train", "-m", "experiment=mine", "sweep."])]
    assert not any("over." in word or "cells." in word for word in offered)
    assert "cells:" in genai("train", "experiment=mine", "--cfg", "job").out
    assert "sweep" not in genai("train", "experiment=digits_gan", "--cfg", "job").out


def test_a_composed_config_is_a_run_s(mine: Callable) -> None:
    config = compose.compose_cells("train", compose.parse_line(["experiment=mine"]))[0].config
    assert type(config) is TrainConfig
    assert "sweep" not in {f.name for f in dataclasses.fields(config)}
    with pytest.raises(UserError, match="add -m"):
        compose.compose_single("train", compose.parse_line(["experiment=mine"]))
