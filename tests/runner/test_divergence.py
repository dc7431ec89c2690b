"""A number that is not finite stops a run, is kept in a black box, and can be looked at again."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import own_climber
import pytest
from own_climber import CLIMB, weights
from safetensors.torch import load_file

from genai_cli.config.catalog import config_dir
from genai_cli.runner import divergence, load
from genai_cli.store import run_folder
from genai_cli.training import setup
from genai_cli.training.step_kinds import make

pytestmark = pytest.mark.usefixtures("undrawn")

FAMILIES = sorted(p.stem for p in (config_dir() / "model").glob("*.yaml"))
SMALL = ("epochs=2", "dataset.limit=64", "batch_size=32")
FAST = {
    "ddpm": ("model.timesteps=20", "model.channels=[8]", "bottleneck=8"),
    "flow": ("model.steps=2", "model.widths=[16]"),
}


@pytest.fixture
def climber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_PATH", own_climber.write(tmp_path / "mine"))


def report(folder: Path) -> dict:
    return json.loads((folder / "blackbox" / "report.json").read_text())


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
    assert done.err.count("\n") == 1
    told = report(folder)
    assert told["step"] <= 2  # the first step after such an update cannot be finite
    suffix = folder.name[-4:]
    name = "train/generator/" if model == "gan" else "train/"
    assert (
        f"{name}{told['term']} became {told['value']} in epoch 1 (step {told['step']})" in done.err
    )
    assert f"genai replay {suffix}; try a smaller optimizer.lr" in done.err
    assert told["player"] == ("generator" if model == "gan" else "model")
    assert run_folder.read_json(folder / "run.json")["status"] == "failed"
    assert finite(folder)
    assert not list(folder.glob(".*"))
    again = genai("replay", suffix)
    assert again.code == 0, again.err
    assert again.out.rstrip().endswith("reproduced")
    assert told["layer"].startswith("behind") or again.out.count("◀ first") == 1
    calm = genai("replay", "latest", "precision=fp64")
    assert calm.code == ("not reproduced here" in calm.out)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, float], None]:
    """``poison("train", 37, inf)``: all of that example is that number."""
    plain = load.load_data

    def fill(split: str, row: int, value: float) -> None:
        def poisoned(*given: object) -> object:
            data = plain(*given)
            part = getattr(data, split)
            x = part.x.double() / data.spec.levels
            x[row] = value
            return dataclasses.replace(
                data, **{split: dataclasses.replace(part, x=x, max_level=None)}
            )

        monkeypatch.setattr(load, "load_data", poisoned)

    return fill


def test_a_bad_example_is_named(genai: Callable, poison: Callable) -> None:
    poison("train", 37, float("inf"))
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

    counted(divergence, "snapshot")
    counted(setup, "new_training")
    done = genai("train", *CLIMB)
    assert report(done.folders[0])["step"] == 12  # 12 steps from the only checkpoint
    assert calls == ["new_training", "snapshot"]
    assert "became nan in epoch 3 (step 12); looking for the step" in done.out


def test_a_search_that_is_cut_short_says_so(
    climber: None, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make.make_step
    with monkeypatch.context() as patch:
        patch.setattr(
            divergence, "make_step", lambda *a: (os.kill(os.getpid(), signal.SIGTERM), plain(*a))[1]
        )
        done = genai("train", *CLIMB, "trainer.rollback=4")
    (folder,) = done.folders
    assert done.code == 1
    said = (
        f"epoch 3 (step 12); the search for its step was cut short: genai resume {folder.name[-4:]}"
    )
    assert said in done.err
    described = run_folder.read_json(folder / "run.json")
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


def test_only_the_validation_is_not_finite(genai: Callable, poison: Callable) -> None:
    poison("val", 3, float("nan"))
    done = genai("train", "model=autoencoder", *SMALL)
    assert done.code == 1
    assert "every training step is finite, but not the loss of validation example 3;" in done.err
    refused = genai("replay", "latest")
    assert refused.code == 2
    assert "has no black box" in refused.err


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
    assert run_folder.read_json(well / "run.json")["status"] == "finished"
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
