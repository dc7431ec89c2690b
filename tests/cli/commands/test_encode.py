"""`genai encode`: the codes it writes are the model's own, and what it refuses."""

from __future__ import annotations

import csv
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genai_cli.cli.front_door import main

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=2", "dataset.limit=120", "model.widths=[16]", "bottleneck=4", "device=cpu")
TRAINED = {
    "vae": ("model=vae", "trainer.ema=0.9"),
    "pair": ("model=autoencoder", "dataset.pair=superresolution"),
    "moons": ("model=autoencoder", "dataset=moons"),
    "diabetes": ("model=mlp", "dataset=diabetes"),
    "gan": ("model=gan",),
}
FLOW = ("model=flow", "model.steps=2", "model.widths=[16]", *QUICK[:2], "device=cpu")

SHAKY = """
import torch
from torch import nn

from genai_cli.data.dataset import Spec
from genai_cli.models.base import Model


class Shaky(Model):
    def __init__(self, data: Spec, after: int = 0) -> None:
        super().__init__()
        self.level, self.after = nn.Parameter(torch.zeros(())), after

    def loss(self, batch, noise, player="model"):
        return {"loss": (batch.x - self.level).square().flatten(1).mean(1)}

    def encode(self, x):
        if self.after:
            raise RuntimeError("no codes today")
        import time

        time.sleep(0.02)
        return x / x[:, :, :1, :1]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    outputs = tmp_path_factory.mktemp("encode")
    for name, words in TRAINED.items():
        assert main(["train", *QUICK, *words, f"name={name}", f"outputs={outputs}"]) == 0
    assert main(["train", *FLOW, "name=flow", f"outputs={outputs}"]) == 0
    return {f.name.split("-")[3]: f for f in outputs.glob("*/*")}


@pytest.fixture
def codes(genai: Callable) -> Callable[..., Path]:
    """The file that one command wrote."""

    def run(folder: Path, *words: str) -> Path:
        done = genai("encode", str(folder), *words, "device=cpu")
        assert (done.code, done.err) == (0, "")
        path = Path(done.out.splitlines()[-1])
        assert path.parent == folder / "codes"
        assert not [f for f in path.parent.iterdir() if f.name.startswith(".")]
        return path

    return run


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    head, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return head, rows


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("vae", "test"),
        ("flow", "test"),
        ("pair", "train"),
        ("moons", "train"),
        ("diabetes", "test"),
    ],
)
def test_codes_are_the_models_own(trained, codes, name, split):
    import genai_cli

    model, data, _ = genai_cli.load(trained[name])
    arrays = np.load(codes(trained[name], f"split={split}", "batch_size=13"))
    examples = getattr(data, split)
    with torch.no_grad():
        wanted = model.encode(examples.batch(torch.arange(len(examples))).x)
    assert arrays["z"].dtype == np.float32
    np.testing.assert_allclose(arrays["z"], wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert arrays["index"].tolist() == list(range(len(examples)))
    if name == "pair":
        assert set(arrays) == {"z", "index"}
    elif name == "diabetes":  # milligrams, not standard deviations
        mean, std = data.spec.target_mean[0], data.spec.target_std[0]
        np.testing.assert_allclose(arrays["y"], examples.y.numpy() * std + mean, rtol=1e-6)
        assert arrays["y"].mean() > 100
    else:
        assert np.array_equal(arrays["y"], examples.y.numpy())


def test_a_batch_size_changes_no_number(trained, codes):
    parts = [np.load(codes(trained["vae"], f"batch_size={b}"))["z"] for b in (1, 11, 500)]
    for z in parts[1:]:
        np.testing.assert_allclose(z, parts[0], rtol=1e-5, atol=1e-6)


def test_a_table_holds_the_numbers_of_the_array(trained, codes):
    for split in ("val", "all"):
        arrays = np.load(codes(trained["vae"], f"split={split}"))
        head, rows = table(codes(trained["vae"], f"split={split}", "format=csv"))
        names = [f"z{i}" for i in range(4)]
        assert head == ["split"] * (split == "all") + ["index", "label", *names]
        z = np.array([row[-4:] for row in rows], dtype=np.float32)
        assert np.array_equal(z, arrays["z"])
        assert [int(row[-6]) for row in rows] == arrays["index"].tolist()
        assert [row[-5] for row in rows] == [str(y) for y in arrays["y"]]
        if split == "all":
            assert [row[0] for row in rows] == arrays["split"].tolist()
            assert list(dict.fromkeys(arrays["split"].tolist())) == ["train", "val", "test"]
            assert len(rows) > 120


def test_values_and_images_as_targets_in_a_table(trained, codes):
    head, rows = table(codes(trained["diabetes"], "format=csv", "n=3"))
    y = np.load(codes(trained["diabetes"], "n=3"))["y"]
    assert head[0] == "index"
    assert len(head) == 1 + 1 + 4
    np.testing.assert_allclose([float(row[1]) for row in rows], y[:, 0], rtol=1e-6)
    head, _ = table(codes(trained["pair"], "format=csv", "n=3"))
    assert head == ["index", "z0", "z1", "z2", "z3"]


def test_n_is_the_first_examples_across_splits(trained, codes, genai):
    import genai_cli

    _, data, _ = genai_cli.load(trained["vae"])
    n = len(data.train) + 2
    arrays = np.load(codes(trained["vae"], "split=all", f"n={n}"))
    assert arrays["split"].tolist() == ["train"] * (n - 2) + ["val"] * 2
    assert arrays["index"].tolist() == [*range(n - 2), 0, 1]
    done = genai("encode", str(trained["vae"]), "n=9999", "device=cpu")
    assert f"only {len(data.test)} examples" in done.out


def test_the_same_settings_give_the_same_file_and_others_say_so(trained, genai):
    run = str(trained["vae"])
    first = genai("encode", run, "ema=true", "device=cpu")
    path = Path(first.out.splitlines()[-1])
    before = path.read_bytes()
    again = genai("encode", run, "device=cpu")  # averaged is the default where there are such
    assert path.read_bytes() == before
    assert "place of" not in again.out
    other = genai("encode", run, "ema=false", "device=cpu")
    assert path.read_bytes() != before
    assert "takes the place of codes from other settings" in other.out
    assert re.search(r"test: \d+ images as \d+ × 4 numbers in \S+ s \([\d,]+/s\)", other.out)


MISTAKES = [
    ("gan", (), ("model=gan", "autoencoder, flow, latent_flow, mlp, vae")),
    ("vae", ("split=tests",), ("split=tests", "train, val, test, all")),
    ("vae", ("format=json",), ("format=json", "npz, csv")),
    ("vae", ("splt=test",), ("splt", "did you mean 'split'")),
    ("vae", ("n=0",), ("n=0", ">= 1")),
    ("vae", ("checkpoint=step-000999",), ("step-000999",)),
    ("vae", ("device=tpu",), ("device=tpu", "cpu")),
    ("vae", ("--force",), ("--force",)),
    ("moons", ("ema=true",), ("averaged",)),
]


def test_mistakes_are_one_line_and_write_nothing(trained, genai):
    for name, words, told in MISTAKES:
        run = trained[name]
        before = set(run.rglob("*"))
        done = genai("encode", str(run), *words)
        assert done.code == 2, words
        assert done.err.count("\n") == 1, done.err
        for word in told:
            assert word in done.err
        assert set(run.rglob("*")) == before, words


@pytest.fixture
def shaky(genai: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A run of a family of the user's own."""
    lab = tmp_path / "lab"
    for file, text in (
        ("models/shaky.py", SHAKY),
        ("configs/model/shaky.yaml", "# @package _global_\nmodel: {name: shaky, after: 0}\n"),
    ):
        (lab / file).parent.mkdir(parents=True)
        (lab / file).write_text(text)
    monkeypatch.setenv("GENAI_PATH", str(lab))

    def train(*words: str) -> Path:
        done = genai("train", "model=shaky", "epochs=1", "dataset.limit=300", "device=cpu", *words)
        assert done.folders, done.err
        return done.folders[-1]

    return train


def test_a_family_that_fails_is_one_line_and_leaves_nothing(shaky, genai):
    run = shaky("model.after=1")
    done = genai("encode", str(run), "checkpoint=last", "device=cpu")
    assert done.code == 1
    assert "RuntimeError: no codes today" in done.err
    assert done.err.count("\n") == 1
    assert not (run / "codes").exists()


def test_numbers_that_are_not_finite_are_counted(shaky, genai):
    done = genai("encode", str(shaky()), "n=40", "device=cpu")  # corners of digits are 0
    assert done.code == 0
    assert "note: 40 of them hold numbers that are not finite" in done.out


@pytest.mark.parametrize(  # the other signal: tests/cli/commands/test_sample.py
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_a_signal_leaves_the_file_that_was_there(shaky, server, tmp_path, number, code):
    run = shaky()
    words = ["encode", str(run), "device=cpu", "split=all", "batch_size=1"]
    (run / "codes").mkdir()
    (run / "codes" / "all.npz").write_text("as it was")
    process = server.start(tmp_path, *words, env={"GENAI_PATH": os.environ["GENAI_PATH"]})
    try:
        patience = time.monotonic() + 60
        while not list((run / "codes").glob(".*")):
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == code
    finally:
        process.kill()
    assert [f.name for f in (run / "codes").iterdir()] == ["all.npz"]
    assert (run / "codes" / "all.npz").read_text() == "as it was"
