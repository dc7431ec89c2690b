"""`validation: test`: all the rest trains, the test split validates, and every number says so."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from genai_cli.cli.front_door import main
from genai_cli.data.sources import DataNote, load
from genai_cli.errors import UserError
from genai_cli.evaluation.passport import differences

pytestmark = pytest.mark.filterwarnings("ignore::genai_cli.data.sources.DataNote")

PLACES: list[dict[str, Any]] = [
    {"name": "digits"},
    {"name": "digits", "pair": "superresolution"},
    {"name": "digits", "pair": "inpaint"},
    {"name": "wine", "scale": "none"},  # a scale is fitted to the training split
    {"name": "diabetes", "scale": "none", "target_scale": "none"},
    {"name": "moons", "n": 500},
]


@pytest.mark.parametrize("node", PLACES, ids=str)
def test_the_test_split_validates_and_the_rest_trains(node: dict[str, Any]) -> None:
    honest, seen = load(node), load(node | {"validation": "test"})
    assert torch.equal(seen.test.x, honest.test.x)
    assert torch.equal(seen.val.x, seen.test.x)
    if seen.test.y is not None:
        assert torch.equal(seen.val.y, seen.test.y)
    assert seen.n["train"] == honest.n["train"] + honest.n["val"]
    assert seen.hash == honest.hash
    assert seen.split_hash != honest.split_hash
    assert seen.validation == "test"


def test_no_test_example_trains() -> None:
    seen = load({"name": "digits", "validation": "test"})
    assert seen.n == {"train": 1437, "val": 360, "test": 360}
    whole = load({"name": "digits", "val_fraction": 0.0})
    assert sorted(map(bytes, seen.train.x.numpy())) == sorted(map(bytes, whole.train.x.numpy()))


def test_limit_takes_the_first_of_the_whole() -> None:
    seen = load({"name": "digits", "validation": "test", "limit": 50})
    whole = load({"name": "digits", "validation": "test"})
    assert torch.equal(seen.train.x, whole.train.x[:50])


def test_it_is_told() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataNote)
        load({"name": "digits", "validation": "test"})
    assert ["have seen the test set" in str(w.message) for w in told] == [True]


@pytest.mark.parametrize(
    ("node", "word"),
    [
        ({"validation": "all"}, "dataset.validation"),
        ({"validation": True}, "dataset.validation"),
        ({"validation": "test", "test_fraction": 0.0}, "give dataset.test_fraction=0.2"),
    ],
)
def test_a_mistake_is_one_line(node: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word) as error:
        load({"name": "digits"} | node)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("undrawn")
def test_run_passport_log_and_ranking_say_it(tmp_path: Path, capsys) -> None:
    words = ["train", "model=autoencoder", "epochs=1", "trainer.max_steps=2", f"outputs={tmp_path}"]
    for name, more in ("honest", []), ("seen", ["dataset.validation=test"]):
        assert main([*words, f"name={name}", *more]) == 0
    honest, seen = (next(tmp_path.glob(f"*/*-{name}-*")) for name in ("honest", "seen"))
    assert json.loads((seen / "run.json").read_text())["dataset"]["validation"] == "test"
    assert "validation" not in json.loads((honest / "run.json").read_text())["dataset"]
    assert "have seen the test set" in (seen / "train.log").read_text()
    rulers = [
        json.loads((run / "summary.json").read_text())["metrics"]["test/mse"]["passport"]["ruler"]
        for run in (honest, seen)
    ]
    assert {"reference_split_hash", "validation"} <= set(differences(*rulers))
    capsys.readouterr()
    assert main(["compare", str(honest), str(seen), "--no-figures"]) == 0
    out = capsys.readouterr().out
    assert "have seen the test set (dataset.validation=test)" in out
    assert "*" not in "".join(line for line in out.splitlines() if "mse" in line.lower())


def test_the_data_folder_of_the_system_is_looked_into(
    tmp_path: Path, monkeypatch, fashion_root: Path
) -> None:
    share = tmp_path / "share" / "datasets"
    share.mkdir(parents=True)
    (share / "fashion-mnist").symlink_to(fashion_root)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataNote)
        data = load({"name": "fashion_mnist", "limit": 10})
    assert data.n["train"] == 10
    assert [str(w.message) for w in told] == [f"fashion_mnist is read from {share}/fashion-mnist"]
