"""kill -9 anywhere: a resumed run is the undisturbed one, to the last bit.

A kill comes at a random time, or before, halfway through or after an operation on the run's files:
a write, an fsync, a rename, a removal. The run is then resumed, and killed again, and resumed.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_server import Server
from torture_runs import MODELS, Whole, assert_equal, newest, words

KILLED = -signal.SIGKILL


def drawn(seen: list[str], rng: random.Random) -> dict[str, Any]:
    """A kill at an operation: each kind of operation on each file is as likely, not each write."""
    name = rng.choice(sorted(set(seen)))
    turn = rng.randrange(seen.count(name))
    return {"root": "outputs", "at": [name, turn], "how": rng.choice(["before", "half", "after"])}


def survive(
    server: Server, place: Path, whole: Whole, kills: list[dict[str, Any]], tally: Callable
) -> None:
    """Train, killed; resume, killed as often as asked; resume to the end: nothing is lost."""
    from genai_cli.store import run_folder

    done = server.run(place, *whole.command, **kills[0])
    killed = int(done.code == KILLED)
    for kill in [*kills[1:], {}]:
        found = list((place / "outputs").glob("*/*/config.yaml"))
        if not found:
            tally_kill(tally, kills[0])
            not_begun(server, place)
            return
        folder = found[0].parent
        saved, had = newest(folder), len(run_folder.read_metrics(folder))
        assert had - max(saved, 0) <= 1, f"{had} epochs done, {saved} saved"
        done = server.run(place, "resume", folder.name[-4:], **kill)
        assert done.code in (0, KILLED), done.said
        killed += done.code == KILLED
        if saved > 0 and "nothing left to do" not in done.said and not kill:
            assert f"going on after epoch {saved}\n" in done.said, done.said
        assert "is damaged" not in done.said
    assert done.code == 0, done.said
    assert_equal(whole.contents, folder)
    assert run_folder.read_json(folder / "run.json")["status"] == "finished"
    left = [p.name for p in folder.rglob(".*")]
    assert not left, left
    for kill in kills[:killed]:
        tally_kill(tally, kill)


def not_begun(server: Server, place: Path) -> None:
    """Killed before the folder was whole: it is no run, and one line says what to do."""
    listed = server.run(place, "runs")
    assert (listed.code, listed.said.count("\n")) == (0, 1), listed.said
    for folder in (place / "outputs").glob("*/*"):
        refused = server.run(place, "resume", folder.name[-4:])
        assert refused.code == 2
        assert refused.said.count("\n") == 1
        assert "was killed before its folder was whole" in refused.said
        assert "genai train" in refused.said


def tally_kill(tally: Callable, kill: dict[str, Any]) -> None:
    if "fault" not in kill:
        tally("kill -9 at a random time")
        return
    file = kill["fault"]["at"][0].partition(" ")[2]
    if "safetensors" in file or file in CHECKPOINT:
        file = "a checkpoint"
    elif file.endswith(".png"):
        file = "a figure"
    elif "." not in file:
        file = "a new folder"
    tally(f"kill -9 while {file} is written")


CHECKPOINT = ("step", "state.json", "last", "best", "checkpoints")
FAST = (  # where a kill has hurt, or would: one run, killed eight times
    ("tensors weights.safetensors", 1, "half"),
    ("rename step", 1, "after"),  # a checkpoint without its pointers
    ("write metrics.csv", 0, "half"),
    ("rename best", 0, "before"),
    ("write train.log", 3, "half"),
    ("remove weights.safetensors", 0, "after"),
    ("write loss_curve.png", 5, "half"),
    ("rename summary.json", 0, "after"),
)


def test_one_run_killed_eight_times(
    server: Server, whole: Callable, tmp_path: Path, tally: Callable
) -> None:
    kills = [{"fault": {"root": "outputs", "at": [name, turn], "how": how}}
             for name, turn, how in FAST]  # fmt: skip
    survive(server, tmp_path, whole(*words("vae")), kills, tally)


def test_killed_between_the_best_checkpoint_and_its_pointer(
    server: Server, whole: Callable, tmp_path: Path, tally: Callable
) -> None:
    it = whole(*words("mlp"))
    assert it.contents["checkpoints/best"] == b"step-000002\n"  # not the last one
    kill = {"root": "outputs", "at": ["rename step", 1], "how": "after"}
    survive(server, tmp_path, it, [{"fault": kill}], tally)


def test_a_run_killed_before_it_is_one(server: Server, whole: Callable, tmp_path: Path) -> None:
    kill = {"fault": {"root": "outputs", "at": ["rename config.yaml", 0], "how": "before"}}
    survive(server, tmp_path, whole(*words("vae")), [kill], lambda *_: None)
    assert len(list((tmp_path / "outputs").glob("*/*"))) == 1


@pytest.mark.torture
@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("model", MODELS)
def test_killed_in_an_operation(
    model: str, turn: int, server: Server, whole: Callable, tmp_path: Path, rng: random.Random,
    tally: Callable,
) -> None:  # fmt: skip
    it = whole(*words(model))
    for i in range(4):
        place = tmp_path / str(i)
        place.mkdir()
        kills = [{"fault": drawn(it.seen, rng)} for _ in range(rng.choice([1, 1, 2, 3]))]
        survive(server, place, it, kills, tally)


@pytest.mark.torture
@pytest.mark.parametrize("model", MODELS)
def test_killed_at_a_random_time(
    model: str, server: Server, whole: Callable, tmp_path: Path, rng: random.Random,
    tally: Callable,
) -> None:  # fmt: skip
    it = whole(*words(model))
    for i in range(8):
        place = tmp_path / str(i)
        place.mkdir()
        kills = [{"seconds": rng.uniform(0, it.seconds)} for _ in range(rng.choice([1, 2]))]
        survive(server, place, it, kills, tally)
