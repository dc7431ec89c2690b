"""`genai runs`: the table, its filters, and removal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.cli.front_door import main
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=1", "dataset.limit=64", "trainer.max_steps=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, made once; tests work on copies."""
    outputs = tmp_path_factory.mktemp("runs") / "outputs"
    for words in (("seed=1",), ("seed=2", "model.beta=4", "tags=[draft]"), ("model=mlp",)):
        assert main(["train", *QUICK, *words, f"outputs={outputs}"]) == 0
    return outputs


@pytest.fixture
def three(trained: Path, genai: Callable, tmp_path: Path) -> list[Path]:
    shutil.copytree(trained, tmp_path / "outputs")
    return genai("runs").folders


def test_shows_what_differs_and_how_it_ended(three: list[Path], genai: Callable) -> None:
    out = genai("runs").out
    for folder in three:
        assert folder.name[-4:] in out
    assert out.count("finished") == 3
    assert "model.beta=4" in out
    assert "seed=2" in out
    assert "batch_size" not in out  # the same in all


def test_filters(three: list[Path], genai: Callable) -> None:
    assert "mlp" not in genai("runs", "model=vae").out.split("what")[1]
    assert "1 runs" in genai("runs", "tags=draft").out
    assert "1 runs" in genai("runs", "model=vae", "seed=1").out
    assert "2 runs" in genai("runs", "seed=1,2").out
    assert "no run with status=failed" in genai("runs", "status=failed").out
    assert len(json.loads(genai("runs", "--json", "model=vae").out)) == 2


def test_mistakes(three: list[Path], genai: Callable) -> None:
    for word, said in (
        ("modle=vae", "did you mean 'model'"),
        ("vae", "not key=value"),
    ):
        done = genai("runs", word)
        assert done.code == 2
        assert said in done.err


def test_nothing_there_is_no_error(genai: Callable, tmp_path: Path) -> None:
    done = genai("runs")
    assert (done.code, done.err) == (0, "")
    assert f"no run in {tmp_path / 'outputs'}" in done.out


def test_prune_says_first_and_removes_on_yes(three: list[Path], genai: Callable) -> None:
    asked = genai("runs", "prune", "model=mlp")
    assert "would remove" in asked.out
    assert len(asked.folders) == 3
    done = genai("runs", "prune", "model=mlp", "--yes")
    assert len(done.folders) == 2
    assert "nothing to remove" in genai("runs", "prune", "--yes").out  # none has failed


def test_a_dead_run_is_seen_and_a_running_one_is_not_removed(
    three: list[Path], genai: Callable
) -> None:
    (victim,) = (p for p in three if run_folder.read_json(p / "run.json")["seed"] == 1)
    described = run_folder.read_json(victim / "run.json")
    atomic_write.write_json(victim / "run.json", described | {"status": "running"})
    assert "died" in genai("runs").out
    with open(victim / "train.log", "a") as held:
        assert lock(held)
        assert "running" in genai("runs").out
        done = genai("runs", "prune", "seed=1", "--yes")
    assert done.code == 2
    assert "stop it first" in done.err


def test_references(three: list[Path], genai: Callable) -> None:
    root = str(three[0].parents[1])
    assert lookup.find("latest", root) == max(
        three, key=lambda p: run_folder.read_json(p / "run.json")["started"]
    )
    assert lookup.find(three[1].name[-4:], root) == three[1]
    assert lookup.find(str(three[1])) == three[1]
    done = genai("resume", "zzzz")
    assert done.code == 2
    assert "no run 'zzzz'" in done.err


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("run.json", {"started": 5}),
        ("summary.json", {"metrics": 3}),
        ("summary.json", {"metrics": {"test/mse": None}}),
        ("summary.json", {"seconds": "x"}),
    ],
)
def test_a_damaged_run_does_not_hide_the_others(
    three: list[Path], genai: Callable, file: str, damage: dict
) -> None:
    atomic_write.write_json(three[0] / file, run_folder.read_json(three[0] / file) | damage)
    done = genai("runs")
    assert done.code == 0
    assert all(folder.name[-4:] in done.out for folder in three)
    assert genai("resume", three[1].name[-4:]).code == 0


def test_a_lecture_goes_only_as_a_whole(three: list[Path], genai: Callable) -> None:
    """Its page shows the run that was to fail, too."""
    lecture = three[0].parent / "10-00-00-lecture-abcd"
    for name, status in (("01-a", "failed"), ("02-b", "finished")):
        copy = lecture / name / "2026-01-01" / "10-00-00-mlp-abcd"
        shutil.copytree(three[0], copy)
        atomic_write.write_json(
            copy / "run.json", run_folder.read_json(copy / "run.json") | {"status": status}
        )
    (lecture / "lecture.json").write_text("{}")
    assert "nothing to remove" in genai("runs", "prune", "--yes").out
    with open(lecture / "lecture.log", "a") as log:
        assert lock(log)
        done = genai("runs", "prune", "status=failed,finished", "--yes")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "is running" in done.err
    assert genai("runs", "prune", "status=failed,finished", "--yes").code == 0
    assert not lecture.exists()
