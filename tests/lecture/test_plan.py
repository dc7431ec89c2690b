"""Which experiments a line means, and where the user's key=value goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.errors import UserError
from genai_cli.lecture.chapters import CHAPTERS, MORE, QUICK, list_experiments, select_experiments
from genai_cli.lecture.plan import plan

SWEEP = "sweep:\n  over:\n    epochs: [1, 2]\n  cells:\n    - {dataset: wine, loss: cce}\n"
CLOTHES = "defaults:\n  - override /dataset: fashion_mnist\n  - override /model: autoencoder\n"


def names(*words: str) -> list[str]:
    return [each.name for each in select_experiments([*words])]


def test_words_mean_experiments_in_the_lectures_order(own: Callable[..., Path]) -> None:
    own("mine")
    assert names("all") == [each.name for each in list_experiments()]
    assert names("all")[-1] == "mine"
    assert select_experiments(["mine"])[0].chapter == MORE
    assert names("quick") == [*QUICK]
    assert names("horrors") == [*CHAPTERS[-1].names]
    assert names("overfitting", "jumps", "horrors/jumps", "lecture/horrors/jumps") == [
        "horrors/jumps", "horrors/overfitting",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"no experiment 'jump' .*did you mean 'jumps'"):
        select_experiments(["jump"])


def test_a_word_goes_where_its_key_is_left_open(own: Callable[..., Path]) -> None:
    own("alone")
    swept = own("swept", body=f"defaults:\n  - override /model: mlp\n{SWEEP}")
    swept.write_text(swept.read_text().replace("genai train e", "genai train -m e"))
    own("clothes", body=CLOTHES)
    changes = ["dataset.root=/data", "epochs=3", "seed=4"]
    found = {item.experiment.name: item for item in plan(select_experiments(["more"]), changes)}
    assert found["alone"].words == (("train", "experiment=lecture/alone", *changes[1:]),)
    assert found["alone"].left_out == {"dataset.root=/data": "it has no key dataset.root"}
    assert found["swept"].words == (("train", "-m", "experiment=lecture/swept", "seed=4"),)
    assert found["swept"].left_out["epochs=3"] == "epochs is what it varies"
    assert {*found["clothes"].words[0][2:]} == {*changes}
    assert not found["clothes"].left_out


def test_a_data_set_takes_the_place_of_files_alone(own: Callable[..., Path]) -> None:
    own("alone")
    swept = own("swept", body=f"defaults:\n  - override /model: mlp\n{SWEEP}")
    swept.write_text(swept.read_text().replace("genai train e", "genai train -m e"))
    own("clothes", body=CLOTHES)
    found = {
        item.experiment.name: item
        for item in plan(select_experiments(["more"]), ["dataset=digits"])
    }
    assert found["alone"].left_out == {"dataset=digits": "its data set is diabetes"}
    assert found["swept"].left_out == {"dataset=digits": "dataset is what it varies"}
    assert found["clothes"].words[0][-1] == "dataset=digits"
    for root in (["dataset.root=/data", "dataset=digits"], ["dataset=digits", "dataset.root=/x"]):
        with pytest.raises(UserError, match=r"dataset.root=/\w+ goes nowhere: it has no key"):
            plan(select_experiments(["clothes"]), root)  # digits has no files


def test_only_trainings_get_the_users_words(own: Callable[..., Path]) -> None:
    own("twice", more="# genai train experiment=lecture/twice epochs=1\n# genai doctor latest\n")
    (item,) = plan(select_experiments(["twice"]), ["epochs=2"])
    assert [words[-1] for words in item.words] == ["epochs=2", "epochs=1", "latest"]
    assert item.left_out == {"epochs=2": "its command sets epochs itself"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("epoch=3", "epoch=3 goes nowhere: it has no key epoch"),
        ("epochs=1,2", "several values"),
        ("epochs=many", "epochs"),
        ("epochs=-1", "epochs"),
        ("optimizer=adams", "adams"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    genai: Callable, own: Callable[..., Path], change: str, why: str
) -> None:
    own("alone")
    done = genai("lecture", "alone", change)
    assert (done.code, done.out, done.folders) == (2, "", [])
    assert done.err.count("\n") == 1
    assert done.err.startswith("genai lecture: ")
    assert why in done.err
