"""A run that goes back after a number that is not finite ends alike wherever it was cut."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import own_climber
import pytest
import torch
from own_climber import CLIMB, weights

from genai_cli.runner.run import run
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.training.divergence import rollback

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def climber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_PATH", own_climber.write(tmp_path / "mine"))


def begun(whole: Path, number: int, **trainer: int | None) -> Path:
    """A run of the config of another, before its first step."""
    cut = whole.parent / f"10-00-00-cut-{number:04d}"
    shutil.copytree(whole, cut)
    for name in ("checkpoints", "metrics.csv", "summary.json", "blackbox"):
        path = cut / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (cut / "checkpoints").mkdir()
    described = run_folder.read_json(cut / "run.json")
    del described["rollbacks"]
    atomic_write.write_json(cut / "run.json", described)
    config = run_folder.read_config(cut)
    config["trainer"] |= trainer
    run_folder.write_config(cut, config)
    return cut


@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param([(13, "null")], id="one"),
        pytest.param([(9, "1"), (11, "2"), (14, "1"), (15, "null")], marks=pytest.mark.torture),
    ],
)
def test_going_back_ends_alike_wherever_the_run_was_cut(
    cuts: list, climber: None, genai: Callable
) -> None:
    # 4 steps an epoch: nan at 11 (epoch 3); from 8 at half the rate nan at 14; from 10 at a
    # quarter, then an eighth, then a sixteenth
    done = genai("train", *CLIMB, "trainer.rollback=4")
    assert done.code == 0, done.err
    whole = max(done.folders, key=lambda p: run_folder.read_json(p / "run.json")["started"])
    assert float(weights(whole)["climb.weight"]) == 10.25
    backs = run_folder.read_json(whole / "run.json")["rollbacks"]
    assert "resumed" not in run_folder.read_json(whole / "run.json")  # it is one session
    assert [(b["step"], b["bad_step"]) for b in backs] == [(8, 12), (12, 14), (12, 15), (12, 16)]
    log = (whole / "train.log").read_text()  # so short a run is saved before its first step alone
    assert "back to step 0, at half the rate from the start of epoch 3 on" in log
    assert [int(row["step"]) for row in run_folder.read_metrics(whole)] == [4, 8, 12, 16]
    for number, (step, every) in enumerate(cuts):
        cut = begun(whole, number, save_every=None if every == "null" else int(every))
        assert run(cut, until=step) == 143
        assert genai("resume", cut.name[-4:]).code == 0
        assert weights(cut).keys() == weights(whole).keys()
        for name, value in weights(cut).items():
            assert torch.equal(value, weights(whole)[name]), (step, name)
        told = run_folder.read_json(cut / "run.json")["rollbacks"]
        assert told == backs
        for a, b in zip(run_folder.read_metrics(cut), run_folder.read_metrics(whole), strict=True):
            assert a | {"seconds": 0} == b | {"seconds": 0}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["shutil.rmtree", "atomic_write.write_json"])
def test_killed_while_it_goes_back_a_run_ends_alike(
    at: str, climber: None, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = genai("train", *CLIMB, "trainer.rollback=4").folders
    cut = begun(whole, 0, save_every=1, keep=1)
    assert run(cut, until=10) == 143  # within epoch 3, at the full rate
    # what going back needs is kept besides the newest
    assert sorted(p.name for p in cut.glob("checkpoints/step*")) == ["step-000008", "step-000010"]

    def killed(*_: object, **__: object) -> None:
        raise Killed

    module, name = at.split(".")
    with monkeypatch.context() as patch:
        there = getattr(rollback, module)
        patch.setattr(rollback, module, SimpleNamespace(**vars(there) | {name: killed}))
        with pytest.raises(Killed):
            run(cut, resume=True)
    assert genai("resume", cut.name[-4:]).code == 0
    assert "back to the start of epoch 3, at half the rate" in (cut / "train.log").read_text()
    for name, value in weights(whole).items():
        assert torch.equal(weights(cut)[name], value)
    told = [run_folder.read_json(f / "run.json")["rollbacks"] for f in (cut, whole)]
    assert told[0] == told[1]


@pytest.mark.slow
def test_ranks_go_back_together(climber: None, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "genai_cli", "train", *CLIMB, "trainer.rollback=4"]
    done = subprocess.run(
        [*command, "trainer.devices=2"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert float(weights(folder)["climb.weight"]) == 10.25
    assert len(run_folder.read_json(folder / "run.json")["rollbacks"]) == 4
