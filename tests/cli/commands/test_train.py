"""`genai train`: what a user types, sees and gets; every mistake in one line."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from command_server import Server

from genai_cli.store import lookup, run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=1", "dataset.limit=64", "trainer.max_steps=1")

MISTAKES = {
    "modle=vae": ["unknown key 'modle'", "did you mean 'model'"],
    "model=vea": [
        "unknown model 'vea'",
        "did you mean 'vae'",
        "autoencoder, ddpm, flow, gan, latent_flow, mlp, vae",
    ],
    "dataset=digts": ["did you mean 'digits'"],
    "bottleneck=abc": ["bottleneck=abc is not allowed", "a whole number or null"],
    "bottleneck=": ["bottleneck="],
    "bottleneck=1.5": ["bottleneck=1.5"],
    "bottleneck=true": ["bottleneck=True"],
    "bottleneck=null": ["needs a bottleneck"],
    "bottleneck=0": ["bottleneck=0 is not allowed"],
    "epochs=1e3": ["epochs=1000.0"],
    "epochs=-1": ["epochs=-1"],
    "batch_size=0": ["batch_size=0"],
    "seed=-1": ["seed=-1"],
    "split_seed=99999999999": ["split_seed"],
    "device=gpu": ["device=gpu", "cuda:N"],
    "device=cuda:99": ["device=cuda:99"],
    "precision=fp8": ["precision=fp8", "fp32, bf16, fp64"],
    "optimizer.lr=-1": ["optimizer.lr=-1", "> 0"],
    "optimizer.lr=fast": ["optimizer.lr=fast", "a number"],
    "optimizer.lrr=1": ["unknown key 'optimizer.lrr'", "did you mean 'lr'"],
    "optimizer.betas=[0.9]": ["optimizer.betas"],
    "schedule.gamma=1": ["schedule.gamma"],
    "trainer.clip=0": ["trainer.clip=0"],
    "trainer.clip=x": ["trainer.clip=x", "a number or null"],
    "trainer.init=xavier": ["trainer.init=xavier", "glorot_uniform"],
    "trainer.accumulate=1000": ["trainer.accumulate=1000"],
    "loss=gaussian trainer.accumulate=2": ["loss.sigma=learned"],
    "model.widths=8": ["model.widths=8", "a list like [8,16]"],
    "model.widths=[0]": ["model.widths"],
    "model.widths=[a]": ["model.widths"],
    "model.dropout=1": ["model.dropout=1", "< 1"],
    "model.activation=rleu": ["did you mean 'relu'"],
    "model.network=transformer": ["choose from fc, conv"],
    "model.beta=-1": ["model.beta=-1"],
    "model.name=gan": ["write model=…"],
    "+foo=1": ["write foo=…"],
    "++seed=1": ["write seed=…"],
    "~seed": ["seed"],
    "seed": ["'seed' is not key=value"],
    "model=vae,mlp": ["a sweep of 2 runs; add -m"],
    "model.widths=[8": ["cannot read"],
    "hydra.run.dir=x": ["outputs=DIR"],
    "loss=mse": ["does not fit vae", "gaussian"],
    "loss=crossentropy": ["unknown loss"],
    "loss=gaussian loss.sigma=0": ["loss.sigma"],
    "monitor=val/lss": ["did you mean 'val/loss'"],
    "monitor=null trainer.patience=3": ["monitor=val/loss"],
    "monitor=null schedule=plateau": ["monitor=val/loss"],
    "dataset.val_fraction=0": ["monitor=null"],
    "init_from=nothing": ["no run 'nothing'"],
    "model=mlp loss=mse": ["10 classes of digits", "bce, cce, kl"],
    "model=mlp loss=cce dataset=diabetes": ["numeric target", "mse"],
    "model=mlp dataset.pair=inpaint": ["predicts labels or values"],
    "model=vae dataset.pair=inpaint": ["use model=autoencoder"],
    "model=mlp loss=cce model.output_activation=sigmoid": ["does not fit loss=cce", "softmax"],
    "model=autoencoder loss=cce": ["does not fit autoencoder on digits"],
    "model=autoencoder loss=bce dataset=moons": ["leave [0, 1]"],
    "model=vae loss=logistic dataset=wine": ["gaussian"],
    "model.network=conv dataset=wine": ["use model.network=fc"],
    "model.network=conv model.channels=[2,2,2,2]": ["8×8 pixels allows 3"],
    "seed=1 seed=2": ["seed is given twice"],
    "model=vae model=mlp": ["model is given twice"],
    "-m seed=1": ["needs a list"],
    "-m bottleneck=4,abc": ["bottleneck=abc"],
    "-m bottleneck=4,0": ["cell bottleneck=0", "nothing was launched"],
    "-m --cfg job seed=1,2": ["leave out -m"],
    "--cfg": ["--cfg needs a value"],
    "--cfg bogus": ["choose from job, hydra, all"],
    "--resolve": ["goes with --cfg job"],
    "-m bottleneck=glob(*)": ["holds no value"],
    "-m bottleneck=range(1,1)": ["holds no value"],
    "-m bottleneck=interval(1,3)": ["give a list"],
    "-m outputs=a,b": ["outputs cannot be swept"],
    "dataset=null": ["dataset takes one name"],
    "model=[vae,mlp]": ["model takes one name"],
    "=3": ["not key=value"],
    "name=\\${oc.env:HOME}": ["holds '${'"],
    "batch_size=99999999999999999999": ["below 2**31"],
    "device=cuda:99999999999999999999": ["cuda:N"],
    "--verbose": ["unknown flag '--verbose'"],
    "-cn other": ["-cn is not used here"],
    "-cd nowhere": ["no such folder"],
    "--experimental-rerun x": ["pickle"],
    "outputs=/proc/nowhere": ["cannot make a run folder"],
}


@pytest.mark.parametrize("part", range(4))
def test_a_mistake_is_one_line_and_leaves_nothing(part: int, genai: Callable) -> None:
    for typed, parts in list(MISTAKES.items())[part::4]:
        done = genai("train", *typed.split(" "))
        assert done.code == 2, typed
        assert len(done.err.splitlines()) == 1, done.err
        assert done.err.startswith("genai train: ")
        for words in parts:
            assert words in done.err, done.err
        assert not done.outputs.exists(), typed
        assert done.out == "", typed


def test_flags_in_any_order(genai: Callable) -> None:
    texts = [
        genai("train", *words).out
        for words in (
            ("--cfg", "job", "model=mlp", "seed=3"),
            ("model=mlp", "--cfg", "job", "seed=3"),
            ("model=mlp", "seed=3", "--cfg=job"),
            ("-c", "job", "seed=3", "model=mlp"),
        )
    ]
    assert len(set(texts)) == 1
    shown = yaml.safe_load(texts[0])
    assert (shown["model"]["name"], shown["seed"]) == ("mlp", 3)


def test_force_loss_turns_the_refusal_into_a_warning(genai: Callable) -> None:
    done = genai("train", "model=mlp", "loss=mse", "force_loss=true", *QUICK)
    assert done.code == 0
    assert "warning: loss=mse does not fit" in done.err


def test_the_choice_behind_auto_is_said_and_written(genai: Callable) -> None:
    done = genai("train", "model=mlp", "dataset=diabetes", "dataset.limit=32", "epochs=1")
    assert done.err == ""
    assert "model  mlp, loss mse," in done.out
    config = yaml.safe_load((done.folders[0] / "config.yaml").read_text())
    assert config["loss"] == {"name": "mse"}
    assert config["model"]["output_activation"] == "linear"


def test_every_dataset_kind_trains(genai: Callable) -> None:
    for words in (
        ("model=vae", "dataset=moons"),
        ("model=autoencoder", "dataset=wine", "bottleneck=2"),
        ("model=mlp", "dataset=breast_cancer"),
        ("model=mlp", "dataset=swiss_roll"),
        ("model=autoencoder", "dataset.pair=superresolution"),
        ("model=autoencoder", "dataset.pair=inpaint", "model.network=conv", "model.channels=[4]"),
        ("model=vae", "bottleneck=1", "loss=bernoulli"),
        ("model=autoencoder", "model.denoise=0.3", "loss=bce"),
    ):
        done = genai("train", *words, *QUICK)
        assert done.code == 0, done.err
    assert len(done.folders) == 8


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        ("mlp", "bf16"),
        ("vae", "fp64"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("mlp", "fp64"), ("vae", "bf16"))
        ),
    ],
)
def test_precisions(model: str, precision: str, genai: Callable) -> None:
    import torch

    assert genai("train", f"model={model}", f"precision={precision}", *QUICK).code == 0
    assert torch.get_default_dtype() == torch.float32


def test_init_from_starts_where_another_run_ended(genai: Callable) -> None:
    first = genai("train", "epochs=2", "dataset.limit=64", "optimizer.lr=1e-12").folders[0]
    # a rate of nearly 0 keeps the loaded weights: both runs measure the same on the test split
    second = genai(
        "train", "init_from=latest", "seed=5", "epochs=1", "dataset.limit=64", "optimizer.lr=1e-12"
    )
    assert second.code == 0
    other = next(f for f in second.folders if f != first)
    values = [
        run_folder.read_json(f / "summary.json")["metrics"]["test/mse"]["value"]
        for f in (first, other)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_a_failure_after_the_start_is_one_line_and_logged(genai: Callable) -> None:
    done = genai("train", "loss=bernoulli", "optimizer=sgd", "optimizer.lr=1e30",
                 "epochs=3", "dataset.limit=64", "batch_size=8")  # fmt: skip
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "became" in done.err
    assert "try a smaller optimizer.lr" in done.err
    folder = done.folders[0]
    assert run_folder.read_json(folder / "run.json")["status"] == "failed"
    assert "Traceback" in (folder / "train.log").read_text()
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["step-000000"]


# ---- sweeps ------------------------------------------------------------------------------------


def test_six_cells_in_one_sweep_folder(genai: Callable) -> None:
    done = genai("train", "-m", "model=mlp,autoencoder,vae", "bottleneck=4,16", *QUICK)
    assert done.code == 0
    (folder,) = done.folders
    assert "-sweep-" in folder.name
    cells = sorted(p.name for p in folder.iterdir() if p.is_dir())
    assert cells == [
        "000-mlp-bottleneck-4", "001-mlp-bottleneck-16", "002-autoencoder-bottleneck-4",
        "003-autoencoder-bottleneck-16", "004-vae-bottleneck-4", "005-vae-bottleneck-16",
    ]  # fmt: skip
    with open(folder / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["status"] for r in rows] == ["finished"] * 6
    assert {r["bottleneck"] for r in rows} == {"4", "16"}
    assert all(r["test/mse"] for r in rows if r["model"] != "mlp")
    for cell in cells:
        assert (folder / cell / "summary.json").is_file()
        assert cell in done.out
    assert lookup.find(f"{folder.name[-4:]}/004", str(done.outputs)).name == "004-vae-bottleneck-4"


def test_a_failing_cell_leaves_the_others_alone(genai: Callable) -> None:
    done = genai("train", "-m", "optimizer.lr=1e30,0.001", "loss=bernoulli", "optimizer=sgd",
                 "epochs=2", "dataset.limit=64", "batch_size=8")  # fmt: skip
    assert done.code == 1
    assert "1 of 2 runs failed" in done.err
    with open(done.folders[0] / "sweep.csv", newline="") as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["failed", "finished"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_any_cell_ends_the_sweep(
    number: int, code: int, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner import lifecycle

    conclude = lifecycle.finalize

    def interrupted(*args: object) -> int:  # when the first cell has just been measured
        done = conclude(*args)
        signal.raise_signal(number)
        return done

    monkeypatch.setattr(lifecycle, "finalize", interrupted)
    done = genai("train", "-m", "bottleneck=2,4,8", *QUICK)
    assert done.code == code
    assert "2 runs not begun" in done.out
    with open(done.folders[0] / "sweep.csv", newline="") as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["finished", "interrupted", "interrupted"]
    monkeypatch.undo()


def test_a_resumed_cell_is_current_in_its_sweep(genai: Callable) -> None:
    done = genai("train", "-m", "bottleneck=2,4", "epochs=1", "dataset.limit=64")
    sweep = done.folders[0]
    assert genai("resume", f"{sweep.name[-4:]}/000", "epochs=2").code == 0
    with open(sweep / "sweep.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["2", "1"]


def test_without_a_validation_split(genai: Callable) -> None:
    done = genai("train", "dataset.val_fraction=0", "monitor=null", "epochs=1")
    assert done.code == 0, done.err
    columns = (done.folders[0] / "metrics.csv").read_text().splitlines()[0]
    assert "val/" not in columns


def test_auto_loss_is_the_same_model_as_the_loss_it_names(genai: Callable) -> None:
    import genai_cli

    done = genai("train", "dataset=moons", "loss=auto", "epochs=1", "dataset.limit=64")
    model, _, config = genai_cli.load(done.folders[0])
    assert config.loss["name"] == "gaussian"
    assert model.batch_dependent
    assert model.likelihood.log_var != 0  # calibrated


def test_a_model_too_large_is_one_line_and_leaves_nothing(genai: Callable) -> None:
    done = genai("train", "model.widths=[9999999999]")
    assert (done.code, done.err.count("\n"), done.outputs.exists()) == (2, 1, False)


def test_a_reader_that_leaves_does_not_stop_the_run(server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = ("train", "epochs=3", "dataset.limit=64")
    started = server.start(tmp_path, *words, out=str(tmp_path / "pipe"))
    with open(tmp_path / "pipe") as reader:
        assert reader.readline()
    started.wait()
    (folder,) = tmp_path.glob("outputs/*/*")
    assert run_folder.read_json(folder / "run.json")["status"] == "finished"


# ---- folders -----------------------------------------------------------------------------------


def _claim(root: str) -> str:
    return str(run_folder.claim(Path(root), "vae-digits", datetime(2026, 11, 22, 14, 3, 7)))


def test_claims_of_the_same_second_are_distinct(tmp_path: Path) -> None:
    with ProcessPoolExecutor(6) as pool:
        folders = list(pool.map(_claim, [str(tmp_path)] * 60))
    assert len(set(folders)) == 60
    assert all(Path(f).is_dir() for f in folders)


@pytest.mark.slow
def test_six_trainings_started_in_the_same_second(server: Server, tmp_path: Path) -> None:
    words = ("train", "epochs=1", "dataset.limit=64")
    started = [server.start(tmp_path, *words, out=str(tmp_path / f"{i}.txt")) for i in range(6)]
    assert [process.wait(300) for process in started] == [0] * 6
    assert len(list(tmp_path.glob("outputs/*/*/summary.json"))) == 6


def test_more_accuracy_is_better(genai: Callable) -> None:
    words = ("model=mlp", "epochs=6", "dataset.limit=200", "monitor=val/accuracy")
    folder = genai("train", *words, "optimizer.lr=0.003").folders[0]
    rows = run_folder.read_metrics(folder)
    best = run_folder.read_json(folder / "summary.json")["monitor"]
    assert best["value"] == max(row["val/accuracy"] for row in rows)
    assert best["value"] > min(row["val/accuracy"] for row in rows)
