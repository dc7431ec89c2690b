"""Successive halving: who goes on, and the same answer from the folders at any time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from genai_cli.store import run_folder
from genai_cli.store.trials import FAILED, FINISHED, INTERRUPTED, WAITING, Trial
from genai_cli.sweeps.search.halving import select_next_rung
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("dataset.limit=64", "model.widths=[8]", "bottleneck=2", "batch_size=32")
LINE = ("train", "-m", "sweep=halving", "sweep.rungs=[1,2,4]", "sweep.keep=0.5", *QUICK)


def trial(name: str, values: list[float], state: str = FINISHED, stopped: bool = False) -> Trial:
    return Trial(name, {}, state, dict(enumerate(values, 1)), stopped=stopped)


def names(found: tuple[int, list[Trial]]) -> tuple[int, list[str]]:
    return found[0], [t.name for t in found[1]]


def test_who_is_due() -> None:
    rungs, keep = [1, 3], 0.33
    fresh = [trial(n, [], WAITING) for n in "abcdef"]
    assert names(select_next_rung(fresh, rungs, keep)) == (1, list("abcdef"))
    first = [trial(n, [v]) for n, v in zip("abcdef", [6, 2, 5, 1, 4, 3], strict=True)]
    assert names(select_next_rung(first, rungs, keep)) == (3, ["b", "d"])
    late = [*first[:5], trial("f", [], INTERRUPTED)]
    assert names(select_next_rung(late, rungs, keep)) == (
        1,
        ["f"],
    )  # all come to a rung before any leaves it
    second = [t._replace(curve={1: t.curve[1], 2: 0, 3: 0}) if t.name in "bd" else t for t in first]
    assert names(select_next_rung(second, rungs, keep)) == (3, [])
    half = [t if t.name != "d" else t._replace(state=INTERRUPTED) for t in second]
    assert names(select_next_rung(half, rungs, keep)) == (3, ["d"])


def test_a_failed_cell_does_not_go_on_and_an_early_stopped_one_keeps_its_place() -> None:
    first = [trial("a", [1.0], FAILED), trial("b", [2.0]), trial("c", [3.0])]
    assert names(select_next_rung(first, [1, 3], 0.33)) == (3, ["b"])
    stopped = [trial("a", [1.0, 0.5], stopped=True), trial("b", [2.0, 1.0, 0.9])]
    assert names(select_next_rung(stopped, [3, 9], 0.5)) == (
        9,
        [],
    )  # a is the best, and has ended by itself
    assert names(select_next_rung([trial(n, [], FAILED) for n in "ab"], [1, 3], 0.5)) == (3, [])


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from genai_cli.cli.front_door import main

    outputs = tmp_path_factory.mktemp("halving")
    lrs = "optimizer.lr=1e-5,1e-2,3e-3,1e-4"
    assert main([*LINE, lrs, "schedule=cosine", f"outputs={outputs}"]) == 0
    return next(outputs.glob("*/*"))


def test_the_best_share_goes_on_in_its_folders(halved: Path) -> None:
    cells = run_folder.cells(halved)
    epochs = {c.name: len(run_folder.read_metrics(c)) for c in cells}
    assert sorted(epochs.values()) == [1, 1, 2, 4]
    last = {c.name: run_folder.read_metrics(c) for c in cells}
    at_one = {name: rows[0]["val/loss"] for name, rows in last.items()}
    two_best = sorted(at_one, key=lambda name: at_one[name])[:2]
    assert {name for name, n in epochs.items() if n > 1} == set(two_best)
    asked = yaml.safe_load((halved / run_folder.SWEEP).read_text())
    assert asked["best"]["cell"] in two_best
    assert (halved / "search.png").stat().st_size > 10_000


def test_a_cell_that_went_on_is_the_run_that_went_through(halved: Path, tmp_path: Path) -> None:
    """Schedules are stretched over the last rung from the start: nothing tells the two apart."""
    from genai_cli.cli.front_door import main

    (cell,) = (c for c in run_folder.cells(halved) if len(run_folder.read_metrics(c)) == 4)
    config = run_folder.read_config(cell)
    assert config["schedule"]["horizon"] == 4
    lr = config["optimizer"]["lr"]
    words = ["train", *QUICK, f"optimizer.lr={lr}", "schedule=cosine", "epochs=4"]
    assert main([*words, f"outputs={tmp_path / 'one'}"]) == 0
    one = next((tmp_path / "one").glob("*/*"))
    columns = ("step", "lr", "train/loss", "val/loss")
    for a, b in zip(run_folder.read_metrics(cell), run_folder.read_metrics(one), strict=True):
        assert [a[c] for c in columns] == [b[c] for c in columns]


def test_resume_goes_on_from_what_the_folders_say(halved: Path, genai: Callable) -> None:
    copy = Path("copy") / "day" / halved.name
    shutil.copytree(halved, copy)
    before = {c.name: run_folder.read_metrics(c) for c in run_folder.cells(copy)}
    (longest,) = (c for c in run_folder.cells(copy) if len(before[c.name]) == 4)
    # as if it had been killed in the last rung, before its first checkpoint there
    kept = (longest / run_folder.METRICS).read_text().splitlines(keepends=True)[:3]
    (longest / run_folder.METRICS).write_text("".join(kept))
    for checkpoint in (longest / run_folder.CHECKPOINTS).glob("step-*"):
        if int(checkpoint.name[5:]) > 4:
            shutil.rmtree(checkpoint)
    for pointer in ("last", "best"):
        (longest / run_folder.CHECKPOINTS / pointer).write_text("step-000004\n")
    described = run_folder.read_json(longest / run_folder.RUN)
    atomic_write.write_json(longest / run_folder.RUN, described | {"status": "interrupted"})
    config = run_folder.read_config(longest)
    run_folder.write_config(longest, config | {"epochs": 2})
    done = genai("sweep", "resume", str(copy))
    assert done.code == 0, done.err
    for cell in run_folder.cells(copy):
        now = run_folder.read_metrics(cell)
        assert [r["val/loss"] for r in now] == [r["val/loss"] for r in before[cell.name]]


@pytest.mark.parametrize("harm", ["the whole folder", "the config alone"])
def test_a_lost_cell_is_written_again(harm: str, halved: Path, genai: Callable) -> None:
    """Its words ask for the last rung, its config for the rung it had come to."""
    copy = Path("lost") / "day" / halved.name
    shutil.copytree(halved, copy)
    before = {c.name: run_folder.read_metrics(c) for c in run_folder.cells(copy)}
    (second,) = (c for c in run_folder.cells(copy) if len(before[c.name]) == 2)
    config = run_folder.read_config(second)
    if harm == "the whole folder":
        shutil.rmtree(second)
    else:
        (second / run_folder.CONFIG).unlink()
    done = genai("sweep", "resume", str(copy))
    assert done.code == 0, done.err
    assert ("its folder is gone: written again" in done.out) == (harm == "the whole folder")
    assert run_folder.read_config(second) == config
    for cell in run_folder.cells(copy):
        now = run_folder.read_metrics(cell)
        assert [r["val/loss"] for r in now] == [r["val/loss"] for r in before[cell.name]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["epochs=9", "seed=1,2"], "leave it out"),
        (["sweep.rungs=[3,2]", "seed=1,2"], "rising"),
        (["sweep.rungs=[]", "seed=1,2"], "rising"),
        (["sweep.keep=1", "seed=1,2"], "sweep.keep"),
        (["sweep.trials=3", "seed=1,2"], "says nothing to search=halving"),
        (["trainer.pack=2", "seed=1,2"], "trains cells alone"),
        (["loss=gaussian", "loss.sigma=learned,optimal"], "cannot vary loss"),
        (["seed=1"], "needs a list"),
        (["seed=1,2", "monitor=null"], "set monitor=val/loss"),
    ],
)
def test_mistakes(genai: Callable, words: list[str], said: str) -> None:
    given = {w.partition("=")[0] for w in words}
    line = [w for w in LINE if w.partition("=")[0] not in given]
    done = genai(*line, *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1 or said == "trains cells alone"
    assert not done.outputs.exists()
