"""A number that is not finite stops a run, is kept in a black box, and can be looked at again."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from genai_cli import runs
from genai_cli.paths import config_dir
from genai_cli.training import autopsy, rollback, setup
from genai_cli.verbs.train import run

FAMILIES = sorted(p.stem for p in (config_dir() / "model").glob("*.yaml"))
SMALL = ("epochs=2", "dataset.limit=64", "batch_size=32")
FAST = {
    "ddpm": ("model.timesteps=20", "model.channels=[8]", "bottleneck=8"),
    "flow": ("model.steps=2", "model.widths=[16]"),
}
MODEL = '''
"""A weight that grows by the rate in each step, and is too large for a logarithm one day."""
import torch
from torch import nn
from genai_cli.models.base import Model

class Climber(Model):
    def __init__(self, data, limit: float = 10.3, trap: str = "loss"):
        super().__init__()
        self.climb, self.rest = nn.Linear(1, 1, bias=False), nn.Linear(1, 1)
        nn.init.zeros_(self.climb.weight)
        self.limit, self.trap = limit, trap

    def loss(self, batch, noise, player="model"):
        one = batch.x.new_ones(len(batch.x), 1)
        height = self.climb(one).squeeze(1)
        room = self.limit - height
        if self.trap == "gradient":  # of a root at 0, in the third step
            return {"loss": ((height - height.detach()).abs() + (self.step < 2)).sqrt() - height}
        return {"loss": 0 * room.log() - height, "height": height}
'''
YAML = "# @package _global_\n# Climbs\nmodel:\n  name: climber\n  limit: 10.3\n  trap: loss\n"
CLIMB = (
    *("model=climber", "optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0", "monitor=null"),
    *(
        "optimizer.nesterov=false",
        "dataset.limit=64",
        "batch_size=16",
        "epochs=4",
        "precision=fp64",
        "trainer.init=default",
    ),
)


@pytest.fixture
def climber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    for name, text in (("models/climber.py", MODEL), ("configs/model/climber.yaml", YAML)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    monkeypatch.setenv("GENAI_PATH", str(folder))


def report(folder: Path) -> dict:
    return json.loads((folder / "blackbox" / "report.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    last = (folder / "checkpoints" / "last").read_text().strip()
    return load_file(folder / "checkpoints" / last / "weights.safetensors")


def begun(whole: Path, number: int, **trainer: int | None) -> Path:
    """A run of the config of another, before its first step."""
    cut = whole.parent / f"10-00-00-cut-{number:04d}"
    shutil.copytree(whole, cut)
    for name in ("checkpoints", "metrics.csv", "summary.json", "blackbox"):
        path = cut / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (cut / "checkpoints").mkdir()
    described = runs.read_json(cut / "run.json")
    del described["rollbacks"]
    runs.write_json(cut / "run.json", described)
    config = runs.read_config(cut)
    config["trainer"] |= trainer
    runs.write_config(cut, config)
    return cut


def finite(folder: Path) -> bool:
    files = [*folder.glob("checkpoints/*/*.safetensors"), *folder.glob("blackbox/step-*/*.safe*")]
    assert files
    return all(
        t.isfinite().all() for f in files for t in load_file(f).values() if t.is_floating_point()
    )


@pytest.mark.parametrize("model", FAMILIES)
def test_each_family_stops_at_once_and_says_where(model: str, genai: Callable) -> None:
    words = (f"model={model}", *SMALL, *FAST.get(model, ()))
    done = genai("train", *words, "optimizer.lr=1e18")
    (folder,) = done.folders
    assert done.code == 1
    assert done.err.count("\n") == 1 + done.err.count("loss=auto")
    told = report(folder)
    assert told["step"] <= 2  # the first step after such an update cannot be finite
    suffix = folder.name[-4:]
    name = "train/generator/" if model == "gan" else "train/"
    assert (
        f"{name}{told['term']} became {told['value']} in epoch 1 (step {told['step']})" in done.err
    )
    assert f"genai replay {suffix}; try a smaller optimizer.lr" in done.err
    assert told["player"] == ("generator" if model == "gan" else "model")
    assert runs.read_json(folder / "run.json")["status"] == "failed"
    assert finite(folder)
    assert not list(folder.glob(".*"))
    again = genai("replay", suffix)
    assert again.code == 0, again.err
    assert again.out.rstrip().endswith("reproduced")
    assert told["layer"].startswith("behind") or again.out.count("◀ first") == 1
    calm = genai("replay", "latest", "precision=fp64")
    assert calm.code == ("not reproduced here" in calm.out)


def test_a_bad_example_is_named(genai: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = setup.load_data

    def poisoned(*given: object) -> object:
        data = plain(*given)
        x = data.train.x.double() / data.spec.levels
        x[37] = float("inf")
        return dataclasses.replace(data, train=dataclasses.replace(data.train, x=x, top=None))

    monkeypatch.setattr(setup, "load_data", poisoned)
    done = genai("train", "model=autoencoder", *SMALL, "trainer.accumulate=3")
    assert done.code == 1
    assert "first in the batch, for training example 37;" in done.err
    told = report(done.folders[0])
    assert told["rows"] == [37]
    assert 37 in told["batch_rows"]
    assert genai("replay", "latest").code == 0


def test_a_finite_loss_with_an_infinite_gradient(climber: None, genai: Callable) -> None:
    done = genai("train", *CLIMB, "model.trap=gradient")
    assert done.code == 1
    assert "a gradient became nan in epoch 1 (step 3), first in climb Linear" in done.err
    told = report(done.folders[0])
    (layer,) = (x for x in told["layers"] if x["layer"] == "climb Linear")
    assert layer["gradients"]["not_finite"] == 1
    assert layer["outputs"]["not_finite"] == 0


def test_the_search_makes_no_second_state_and_copies_one(
    climber: None, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(module: object, name: str) -> None:
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: (calls.append(name), plain(*a, **k))[1])

    counted(autopsy, "snapshot")
    counted(setup, "new_training")
    done = genai("train", *CLIMB)
    assert report(done.folders[0])["step"] == 12  # 12 steps from the only checkpoint
    assert calls == ["new_training", "snapshot"]
    assert "became nan in epoch 3 (step 12); looking for the step" in done.out


def test_a_search_that_is_cut_short_says_so(
    climber: None, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = autopsy.make_step
    with monkeypatch.context() as patch:
        patch.setattr(
            autopsy, "make_step", lambda *a: (os.kill(os.getpid(), signal.SIGTERM), plain(*a))[1]
        )
        done = genai("train", *CLIMB, "trainer.rollback=4")
    (folder,) = done.folders
    assert done.code == 1
    said = (
        f"epoch 3 (step 12); the search for its step was cut short: genai resume {folder.name[-4:]}"
    )
    assert said in done.err
    described = runs.read_json(folder / "run.json")
    assert described["status"] == "failed"
    assert "rollbacks" not in described  # of a step that was not found
    assert genai("resume", "latest").code == 0
    assert float(weights(folder)["climb.weight"]) == 10.25


def test_an_update_that_overflows_is_not_saved(genai: Callable) -> None:
    last = ("dataset.val_fraction=0", "monitor=null", "trainer.max_steps=1", "precision=fp64")
    done = genai("train", *SMALL, *last, "optimizer.lr=1e308")  # over 1 - beta: infinite
    folder = done.folders[0]
    assert done.code == 1, done.out
    assert "became nan in epoch 1 (step 1), in its update" in done.err
    assert finite(folder)
    assert [p.name for p in folder.glob("checkpoints/step*")] == ["step-000000"]
    assert genai("replay", "latest").code == 0
    resumed = genai("resume", "latest", "optimizer.lr=1e-3")
    assert resumed.code == 0, resumed.err


def test_only_the_validation_is_not_finite(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = setup.load_data

    def poisoned(*given: object) -> object:
        data = plain(*given)
        x = data.val.x.double() / data.spec.levels
        x[3] = float("nan")
        return dataclasses.replace(data, val=dataclasses.replace(data.val, x=x, top=None))

    monkeypatch.setattr(setup, "load_data", poisoned)
    done = genai("train", "model=autoencoder", *SMALL)
    assert done.code == 1
    assert "every training step is finite, but not the loss of validation example 3;" in done.err
    refused = genai("replay", "latest")
    assert refused.code == 2
    assert "has no black box" in refused.err


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
    whole = max(done.folders, key=lambda p: runs.read_json(p / "run.json")["started"])
    assert float(weights(whole)["climb.weight"]) == 10.25
    backs = runs.read_json(whole / "run.json")["rollbacks"]
    assert "resumed" not in runs.read_json(whole / "run.json")  # it is one session
    assert "resumed" not in runs.read_json(whole / "run.json")  # it is one session
    assert [(b["step"], b["bad_step"]) for b in backs] == [(8, 12), (12, 14), (12, 15), (12, 16)]
    log = (whole / "train.log").read_text()  # so short a run is saved before its first step alone
    assert "back to step 0, at half the rate from the start of epoch 3 on" in log
    assert [int(row["step"]) for row in runs.read_metrics(whole)] == [4, 8, 12, 16]
    for number, (step, every) in enumerate(cuts):
        cut = begun(whole, number, save_every=None if every == "null" else int(every))
        assert run(cut, until=step) == 143
        assert genai("resume", cut.name[-4:]).code == 0
        assert weights(cut).keys() == weights(whole).keys()
        for name, value in weights(cut).items():
            assert torch.equal(value, weights(whole)[name]), (step, name)
        told = runs.read_json(cut / "run.json")["rollbacks"]
        assert told == backs
        for a, b in zip(runs.read_metrics(cut), runs.read_metrics(whole), strict=True):
            assert a | {"seconds": 0} == b | {"seconds": 0}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["shutil.rmtree", "runs.write_json"])
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
    told = [runs.read_json(f / "run.json")["rollbacks"] for f in (cut, whole)]
    assert told[0] == told[1]


def test_a_measure_that_is_not_finite_is_told(genai: Callable) -> None:
    last = ("dataset.val_fraction=0", "monitor=null", "trainer.max_steps=1", "precision=fp64")
    done = genai("train", *SMALL, *last, "optimizer.lr=1e300")  # weights of 1e300 are finite
    assert done.code == 1
    assert "failed: test/" in done.err
    assert "became nan in epoch 0 (step 1); every training step is finite" in done.err


def test_a_cell_of_a_stack_has_a_black_box_of_its_own(genai: Callable) -> None:
    words = ("-m", "model=autoencoder", *SMALL, "optimizer.lr=1e-3,1e18", "trainer.pack=2")
    done = genai("train", *words)
    assert done.code == 1
    assert "2 runs in stacks of 2" in done.err + done.out
    well, ill = sorted(p for p in done.folders[0].iterdir() if p.is_dir())
    assert not (well / "blackbox").exists()
    assert runs.read_json(well / "run.json")["status"] == "finished"
    assert report(ill)["step"] == 2
    assert f"genai replay {ill.relative_to(done.outputs.parent)};" in done.err
    assert genai("replay", f"{done.folders[0].name[-4:]}/001").code == 0
    again = genai("train", *words, "trainer.rollback=1")
    assert "trainer.rollback=1 sends back a run that trains alone" in again.err + again.out


def test_half_precision_is_replayed_in_half_precision(genai: Callable) -> None:
    done = genai("train", "model=vae", *SMALL, "precision=bf16", "optimizer.lr=1e18")
    assert done.code == 1
    assert report(done.folders[0])["precision"] == "bf16"
    again = genai("replay", "latest")
    assert (again.code, "bf16 on the CPU" in again.out) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["trainer.step=compiled", "trainer.devices=2"])
def test_other_kinds_of_steps_and_ranks_stop_alike(how: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "genai_cli", "train", "model=vae", *SMALL, how]
    done = subprocess.run(
        [*command, "optimizer.lr=1e18"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    told = [line for line in done.stderr.splitlines() if "failed" in line]
    assert len(told) == 1, done.stderr
    assert "train/loss became" in told[0]
    assert "in epoch 1 (step 2), first in encoder" in told[0]
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert report(folder)["step_kind"] == ("compiled" if "compiled" in how else "eager")
    assert len(report(folder)["batch_rows"]) == 32  # of all ranks


@pytest.mark.slow
def test_ranks_go_back_together(climber: None, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "genai_cli", "train", *CLIMB, "trainer.rollback=4"]
    done = subprocess.run(
        [*command, "trainer.devices=2"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert float(weights(folder)["climb.weight"]) == 10.25
    assert len(runs.read_json(folder / "run.json")["rollbacks"]) == 4
