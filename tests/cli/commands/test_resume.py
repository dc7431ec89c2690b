"""Resuming: the interrupted run is the uninterrupted one, bit for bit, for every family."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from genai_cli.config.catalog import config_dir
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock

pytestmark = pytest.mark.usefixtures("undrawn")

# a family with all that a checkpoint must hold: optimizer state, schedule, EMA, dropout, clipping
FULL = (
    "epochs=4", "dataset.limit=100", "batch_size=32", "trainer.ema=0.9", "trainer.clip=1",
    "schedule=cosine", "schedule.warmup=1", "schedule.horizon=6", "dataset.shift=1",
)  # fmt: skip
SHORT = ("epochs=1", "dataset.limit=64")
FAMILIES = sorted(p.stem for p in (config_dir() / "model").glob("*.yaml"))
MORE = {  # every source of randomness and every player a family has
    "gan": (
        "model.r1=1", "model.r2=1", "model.penalty_every=3", "model.discriminator_steps=2",
        "model.augment=[translation,cutout,color]", "model.widths=[16]",
    ),
    "flow": ("model.dequantisation=variational", "model.steps=2", "model.widths=[16]"),
    "ddpm": ("model.timesteps=20", "model.conditional=true", "model.channels=[8]", "bottleneck=8"),
}  # fmt: skip


def full(model: str) -> tuple[str, ...]:
    """`FULL` for a family: with dropout where it has any."""
    keys = yaml.safe_load((config_dir() / "model" / f"{model}.yaml").read_text())["model"]
    dropout = ("model.dropout=0.2",) if "dropout" in keys else ()
    return (f"model={model}", *FULL, *dropout, *MORE.get(model, ()))


def weights(folder: Path) -> dict:
    last = (folder / "checkpoints" / "last").read_text().strip()
    tensors = load_file(folder / "checkpoints" / last / "weights.safetensors")
    state = load_file(folder / "checkpoints" / last / "state.safetensors")
    return tensors | {f"state:{k}": v for k, v in state.items()}


def metrics(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def numbers(folder: Path) -> dict:
    summary = json.loads((folder / "summary.json").read_text())
    return {k: v for k, v in summary.items() if k != "seconds"}


def assert_equal_runs(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(a[k].equal(b[k]) for k in a), [k for k in a if not a[k].equal(b[k])]
    assert metrics(one) == metrics(other)
    assert numbers(one) == numbers(other)


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Send this process a signal after a given optimizer step, as a user or scheduler would."""
    from genai_cli.runner.console import Reporter

    plain = Reporter.step

    def arrange(step: int, number: int = signal.SIGINT) -> None:
        def stopping(self: Reporter, now: object) -> None:
            plain(self, now)
            if now.step == step:
                signal.raise_signal(number)

        monkeypatch.setattr(Reporter, "step", stopping if step else plain)

    return arrange


def one(done: object, name: str) -> Path:
    return next(f for f in done.folders if f"-{name}-" in f.name)


def quick(family: str, *values: object) -> object:
    """The vae goes this way here, the other families in the slow tests."""
    return pytest.param(family, *values, marks=[pytest.mark.slow] * (family != "vae"))


STEPS = {"mid-epoch": 3, "epoch-end": 8, "late": 13}
CUTS = [pytest.param(family, 3, id=f"mid-epoch-{family}") for family in FAMILIES]
CUTS += [quick(family, STEPS["epoch-end"]) for family in FAMILIES]
CUTS += [pytest.param("vae", STEPS["late"], marks=pytest.mark.slow)]


@pytest.mark.parametrize(("model", "step"), CUTS)
def test_resumed_equals_uninterrupted(
    model: str, step: int, genai: Callable, stop_at: Callable
) -> None:
    words = ("train", *full(model))
    whole = one(genai(*words, "name=whole"), "whole")
    stop_at(step)
    cut = genai(*words, "name=cut")
    assert cut.code == 130
    folder = one(cut, "cut")
    assert f"genai resume {folder.name[-4:]}" in cut.out
    assert run_folder.read_json(folder / "run.json")["status"] == "interrupted"
    stop_at(0)
    assert genai("resume", folder.name[-4:]).code == 0
    assert_equal_runs(whole, folder)


def test_resumed_twice_with_conv_plateau_and_warmup(genai: Callable, stop_at: Callable) -> None:
    words = (
        "train", "model.network=conv", "model.channels=[4,8]", "epochs=4", "dataset.limit=100",
        "batch_size=32", "schedule=plateau", "schedule.patience=0", "model.kl_warmup=6",
        "loss=logistic", "optimizer=sgd", "optimizer.lr=0.0001",
    )  # fmt: skip
    whole = one(genai(*words, "name=whole"), "whole")
    for step, number, code in ((2, signal.SIGTERM, 143), (9, signal.SIGUSR1, 143)):
        stop_at(step, number)
        done = genai(*((*words, "name=cut") if step == 2 else ("resume", "latest")))
        assert done.code == code
    stop_at(0)
    assert genai("resume", "latest").code == 0
    assert_equal_runs(whole, one(done, "cut"))


@pytest.mark.parametrize("model", [quick(family) for family in FAMILIES])
def test_more_epochs_continue_as_if_asked_at_first(model: str, genai: Callable) -> None:
    words = ("train", f"model={model}", "dataset.limit=100", "batch_size=32", "schedule=constant")
    whole = one(genai(*words, "epochs=4", "name=whole"), "whole")
    short = one(genai(*words, "epochs=2", "name=short"), "short")
    done = genai("resume", short.name[-4:], "epochs=4")
    assert done.code == 0
    assert "epochs: 2 → 4" in done.out
    assert_equal_runs(whole, short)
    assert len(done.folders) == 2


def test_a_finished_run_says_so(genai: Callable, finished: Callable) -> None:
    finished(*SHORT)
    done = genai("resume", "latest")
    assert done.code == 0
    assert "finished: nothing left to do" in done.out


def test_a_cosine_extended_says_that_its_rate_stays(genai: Callable) -> None:
    genai("train", "epochs=1", "dataset.limit=64", "schedule=cosine")
    done = genai("resume", "latest", "epochs=2")
    assert "schedule.horizon=2 stretches it" in done.out
    assert metrics(done.folders[0])[-1]["lr"] == "0"


def test_early_stopping_ends_as_stopped_and_goes_on_with_more_patience(genai: Callable) -> None:
    words = ("epochs=9", "dataset.limit=64", "optimizer.lr=1e-9", "trainer.min_delta=1")
    done = genai("train", *words, "trainer.patience=2")
    assert done.code == 0
    folder = done.folders[0]
    assert run_folder.read_json(folder / "run.json")["status"] == "stopped"
    assert len(metrics(folder)) == 3
    assert "nothing left to do" in genai("resume", "latest").out
    assert genai("resume", "latest", "trainer.patience=null").code == 0
    assert len(metrics(folder)) == 9


CHANGES = [
    ("model.widths=[8]", ["model.widths cannot change", "weights would not fit"]),
    ("bottleneck=3", ["bottleneck cannot change"]),
    ("seed=1", ["seed cannot change"]),
    ("batch_size=7", ["batch_size cannot change"]),
    ("dataset.limit=9", ["dataset.limit cannot change"]),
    ("loss.name=mse", ["loss.name cannot change"]),
    ("epoch=9", ["unknown key 'epoch'", "did you mean 'epochs'"]),
    ("model=ae", ["model names a group"]),
    ("epochs=0", ["epochs=0 is not allowed"]),
    ("epochs=many", ["epochs", "many"]),
    ("optimizer.lr=-1", ["optimizer.lr=-1"]),
    ("optimizer.lr=[", ["cannot read"]),
    ("trainer.ema=0.5", ["trainer.ema cannot change"]),
    ("optimizer.name=adamax", ["optimizer.name cannot change"]),
    ("trainer.clip=1e-1", ["is finished", "trainer.clip would change nothing"]),
    ("epochs=1 epochs=2", ["epochs is given twice"]),
]  # fmt: skip


def test_a_wrong_change_is_one_line_and_changes_nothing(genai: Callable) -> None:
    (folder,) = genai("train", "epochs=1", "dataset.limit=64", "model.widths=[8,4]").folders
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for change, words in CHANGES:
        refused = genai("resume", "latest", *change.split(" "))
        assert refused.code == 2, change
        assert refused.err.count("\n") == 1, change
        assert all(word in refused.err for word in words), refused.err
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before, change


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(genai: Callable) -> None:
    words = ("train", "dataset.limit=64", "batch_size=32", "schedule=constant")
    whole = one(genai(*words, "epochs=4", "name=whole"), "whole")
    folder = one(genai(*words, "epochs=3", "name=hurt"), "hurt")
    victim = folder / "checkpoints" / "step-000006" / "weights.safetensors"
    victim.write_bytes(victim.read_bytes()[:-10])
    done = genai("resume", folder.name[-4:], "epochs=4")
    assert done.code == 0
    assert "step-000006 is damaged (weights.safetensors is not what was written" in done.out
    assert "going on from step-000000, the checkpoint before it" in done.out
    assert_equal_runs(whole, folder)


def test_a_damaged_last_checkpoint_is_written_again(genai: Callable) -> None:
    folder = genai("train", "dataset.limit=64", "batch_size=32", "epochs=3").folders[0]
    victim = folder / "checkpoints" / "step-000006" / "weights.safetensors"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-10])
    described = run_folder.read_json(folder / "run.json")
    atomic_write.write_json(folder / "run.json", described | {"status": "interrupted"})
    assert genai("resume", "latest").code == 0
    assert victim.read_bytes() == whole


def test_other_data_is_refused(genai: Callable, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(60)))
    assert genai("train", "dataset=table", f"dataset.path={table}", "dataset.target=y",
                 "model=mlp", "epochs=1").code == 0  # fmt: skip
    table.write_text(table.read_text() + "1,2,1\n")
    done = genai("resume", "latest", "epochs=2")
    assert done.code == 2
    assert "is not the one" in done.err


def test_a_second_process_in_the_folder_is_refused(genai: Callable, finished: Callable) -> None:
    folder = finished(*SHORT)
    with open(folder / "train.log", "a") as held:
        assert lock(held)
        done = genai("resume", "latest", "epochs=2")
    assert done.code == 2
    assert "is being trained by another process" in done.err


def test_a_planted_config_runs_nothing(genai: Callable, finished: Callable) -> None:
    folder = finished(*SHORT)
    config = (folder / "config.yaml").read_text()
    for payload in (
        config.replace("name: vae", "name: ../../evil"),
        config.replace("seed: 0", "seed: ${oc.env:HOME}"),
        config.replace("seed: 0", "seed: !!python/object/apply:os.system [touch /tmp/pwned]"),
        config + "_target_: os.system\n",
    ):
        (folder / "config.yaml").write_text(payload)
        done = genai("resume", "latest", "epochs=2")
        assert done.code == 2
        assert done.err.count("\n") == 1


def test_numbers_are_read_as_train_reads_them(genai: Callable, finished: Callable) -> None:
    finished(*SHORT, "schedule=constant")
    done = genai("resume", "latest", "optimizer.lr=1e-4", "epochs=2")
    assert done.code == 0, done.err
    assert metrics(done.folders[0])[-1]["lr"] == "0.0001"
    assert "note   optimizer.lr: 0.01 → 0.0001   (the rest of the run" in done.out


def test_the_best_is_remembered_when_validation_gets_worse(
    genai: Callable, stop_at: Callable
) -> None:
    words = (
        "train", "model=mlp", "dataset.limit=60", "batch_size=8", "optimizer.lr=0.03",
        "epochs=30", "trainer.patience=5",
    )  # fmt: skip
    whole = one(genai(*words, "name=whole"), "whole")
    best = run_folder.read_json(whole / "summary.json")["monitor"]["epoch"]
    assert best < len(metrics(whole)) - 2  # it did get worse
    stop_at(8 * (best + 2))
    folder = one(genai(*words, "name=cut"), "cut")
    stop_at(0)
    assert genai("resume", folder.name[-4:]).code == 0
    assert_equal_runs(whole, folder)


def test_another_monitor_starts_its_best_anew(genai: Callable) -> None:
    words = ("model=mlp", "epochs=2", "dataset.limit=100", "monitor=val/accuracy")
    folder = genai("train", *words).folders[0]
    assert genai("resume", "latest", "monitor=val/loss", "epochs=4").code == 0
    monitor = run_folder.read_json(folder / "summary.json")["monitor"]
    rows = {int(float(r["epoch"])): float(r["val/loss"]) for r in metrics(folder)}
    assert monitor["name"] == "val/loss"
    assert monitor["value"] == min(rows[3], rows[4]) == rows[monitor["epoch"]]


def test_what_is_measured_at_the_end_are_the_averaged_weights(genai: Callable) -> None:
    import torch

    import genai_cli

    words = ("model=autoencoder", "epochs=2", "dataset.limit=200", "trainer.ema=0.99")
    folder = genai("train", *words).folders[0]
    said = run_folder.read_json(folder / "summary.json")["metrics"]["test/mse"]["value"]
    errors = {}
    for ema in (True, False):
        model, data, _ = genai_cli.load(folder, ema=ema)
        x = data.test.batch(torch.arange(len(data.test))).x
        with torch.no_grad():
            errors[ema] = (model.reconstruct(x) - x).square().mean().item()
    assert errors[True] == pytest.approx(said, rel=1e-5)
    assert errors[False] != pytest.approx(said, rel=1e-2)


def test_a_source_that_is_gone_does_not_stop_a_resume(genai: Callable) -> None:
    import shutil

    first = genai("train", "epochs=1", "dataset.limit=64", "name=first").folders[0]
    genai("train", "epochs=1", "dataset.limit=64", "init_from=latest", "name=second")
    shutil.rmtree(first)
    assert genai("resume", "latest", "epochs=2").code == 0


def test_a_tag_is_kept_on_a_finished_run(genai: Callable, finished: Callable) -> None:
    folder = finished(*SHORT)
    assert genai("resume", "latest", "tags=[thesis]").code == 0
    assert run_folder.read_config(folder)["tags"] == ["thesis"]
