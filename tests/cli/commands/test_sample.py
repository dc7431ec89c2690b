"""`genai sample`: what it writes, that a seed means the same images, what it refuses."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genai_cli.cli.front_door import main
from genai_cli.models import abilities
from genai_cli.rng import RowGenerator
from genai_cli.sampling import paths, request, store

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=2", "dataset.limit=120", "model.widths=[16]", "bottleneck=4", "device=cpu")
TRAINED = {
    "vae": ("model=vae", "trainer.ema=0.9"),
    "autoencoder": ("model=autoencoder",),
    "pair": ("model=autoencoder", "dataset.pair=superresolution"),
    "moons": ("model=vae", "dataset=moons"),
    "wine": ("model=vae", "dataset=wine"),
    "mlp": ("model=mlp",),
    "ddpm": (
        *("model=ddpm", "model.timesteps=20", "model.sample_steps=5", "model.channels=[16]"),
        *("model.conditional=true", "trainer.ema=0.5", "batch_size=8", "optimizer.lr=0.01"),
    ),
}

WALKER = """
from typing import Literal

import torch
from torch import nn

from genai_cli.data.dataset import Spec
from genai_cli.config.signatures import Count, NonNegative
from genai_cli.models.base import Model
from genai_cli.rng import normal


class Walker(Model):
    conditional = True

    def __init__(self, data: Spec, fail: bool = False) -> None:
        super().__init__()
        self.shape, self.fail = data.event_shape, fail
        self.level = nn.Parameter(torch.zeros(()))

    def loss(self, batch, noise, player="model"):
        return {"loss": (batch.x - self.level).square().flatten(1).mean(1)}

    def sample(
        self, n, y=None, generator=None, steps: Count = 3, how: Literal["a", "b"] = "a"
    ):
        if self.fail:
            raise RuntimeError("no samples today")
        x = normal(n, self.shape, generator, self.level)
        return x if y is None else x * 0 + (y / 10).view(-1, 1, 1, 1)

    def trajectory(self, n, y=None, generator=None, frames: Count = 10):
        x = self.sample(n, y, generator)
        return torch.linspace(0, 1, frames).view(-1, 1, 1, 1, 1) * x
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each family and kind of data."""
    outputs = tmp_path_factory.mktemp("sample")
    for name, words in TRAINED.items():
        assert main(["train", *QUICK, *words, f"name={name}", f"outputs={outputs}"]) == 0
    return {f.name.split("-")[3]: f for f in outputs.glob("*/*")}


@pytest.fixture
def sample(genai: Callable) -> Callable[..., Path]:
    """The folder that one command wrote."""

    def run(folder: Path, *words: str) -> Path:
        before = set((folder / "samples").glob("*"))
        done = genai("sample", str(folder), *words, "device=cpu")
        assert (done.code, done.err) == (0, "")
        (new,) = set((folder / "samples").glob("*")) - before
        assert done.out.splitlines()[-1] == str(new)
        return new

    return run


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(f)) for f in sorted((folder / "images").iterdir())])


def test_samples_are_images_an_array_a_sheet_and_what_they_are(trained, sample):
    folder = sample(trained["vae"], "n=70", "seed=3", "temperature=0.5")
    assert {f.name for f in folder.iterdir()} == {
        "grid.png", "images", "samples.npz", "sample.json"
    }  # fmt: skip
    x = np.load(folder / "samples.npz")["x"]
    assert x.shape == (70, 1, 8, 8)
    assert x.dtype == np.float32
    assert sorted(f.name for f in (folder / "images").iterdir())[::69] == [
        "000000.png", "000069.png"
    ]  # fmt: skip
    assert np.array_equal(pixels(folder), np.rint(x[:, 0] * 255).astype(np.uint8))
    said = json.loads((folder / "sample.json").read_text())
    assert {"what": "samples", "n": 70, "seed": 3, "made": 70, "not_finite": 0}.items() <= (
        said.items()
    )
    assert said["player"] == {"ema": True, "checkpoint": said["checkpoint"], "temperature": 0.5}
    assert said["checkpoint"].startswith("step-")


def test_samples_are_the_models_own_for_the_rows_of_the_seed(trained, sample):
    import genai_cli

    model, *_ = genai_cli.load(trained["autoencoder"])
    x = np.load(sample(trained["autoencoder"], "n=20", "seed=5") / "samples.npz")["x"]
    with torch.no_grad():
        wanted = model.sample(20, generator=RowGenerator(5, "sample", 0, 20))
    torch.testing.assert_close(torch.from_numpy(x), wanted)


@pytest.mark.parametrize("name", ["vae", pytest.param("autoencoder", marks=pytest.mark.slow)])
def test_a_seed_means_the_same_images_however_they_are_cut(trained, sample, name):
    whole = sample(trained[name], "n=20")
    parts = sample(trained[name], "n=20", "batch_size=7")
    longer = sample(trained[name], "n=24", "batch_size=16")
    other = sample(trained[name], "n=20", "seed=1")
    for folder in (parts, longer):
        assert np.array_equal(pixels(folder)[:20], pixels(whole))
        for file in sorted((whole / "images").iterdir()):
            assert file.read_bytes() == (folder / "images" / file.name).read_bytes()
        a, b = (np.load(f / "samples.npz")["x"] for f in (whole, folder))
        np.testing.assert_allclose(b[:20], a, rtol=1e-4, atol=1e-6)
    assert (whole / "grid.png").read_bytes() == (parts / "grid.png").read_bytes()
    assert not np.array_equal(pixels(other), pixels(whole))


def test_temperature_zero_of_a_vae_is_one_image(trained, sample):
    x = np.load(sample(trained["vae"], "n=5", "temperature=0") / "samples.npz")["x"]
    assert np.ptp(x, axis=0).max() < 1e-6


def test_averaged_and_raw_weights_and_checkpoints_differ(trained, sample):
    words = ("ema=true",), ("ema=false",), ("checkpoint=last", "ema=false")
    raw = [np.load(sample(trained["vae"], "n=4", *w) / "samples.npz")["x"] for w in words]
    assert not np.allclose(raw[0], raw[1], atol=1e-4)


def test_a_pair_is_sampled_as_its_target(trained, sample):
    folder = sample(trained["pair"], "n=3")
    target = np.load(folder / "samples.npz")["x"].shape[1:]
    for what in ("reconstruction", "interpolation", "traversal"):
        arrays = np.load(sample(trained["pair"], f"what={what}", "n=2") / "samples.npz")
        shown = arrays["reconstruction"] if what == "reconstruction" else arrays["x"]
        assert shown.shape[-3:] == target


@pytest.mark.parametrize("name", ["vae", "moons"])
def test_interpolation_goes_from_one_code_to_the_other(trained, sample, name):
    import genai_cli

    folder = sample(trained[name], "what=interpolation", "n=3", "frames=5")
    arrays = np.load(folder / "samples.npz")
    z, ends = torch.from_numpy(arrays["z"]), torch.from_numpy(arrays["ends"])
    assert z.shape == (3, 2, 5, 4)
    model, *_ = genai_cli.load(trained[name])
    with torch.no_grad():
        codes = model.encode(ends.flatten(0, 1)).unflatten(0, (3, 2))
        decoded = model.decode(z.flatten(0, 2)).unflatten(0, (3, 2, 5))
    for way in (0, 1):
        torch.testing.assert_close(z[:, way, 0], codes[:, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(z[:, way, -1], codes[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(z[:, 0, 2], codes.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(arrays["x"]), decoded, rtol=1e-4, atol=1e-5)
    with Image.open(folder / "interpolation.gif") as gif:
        assert gif.n_frames > 1
    assert (folder / "grid.png").stat().st_size > 2000


def test_pairs_are_of_two_classes(trained):
    import genai_cli

    _, data, _ = genai_cli.load(trained["vae"])
    index = paths.pairs(data, 12, seed=0)
    assert index.unique().numel() == 24
    y = data.test.y[index]
    assert (y[:, 0] != y[:, 1]).all()
    assert len(paths.pairs(data, 500, seed=0)) == 500  # more than there are


def test_an_arc_keeps_lengths_and_angles_even():
    a, b = torch.tensor([[2.0, 0, 0]]), torch.tensor([[0, 2.0, 0]])
    z = paths.spherical(a, b, torch.linspace(0, 1, 4))[0]
    torch.testing.assert_close(z.norm(dim=1), torch.full((4,), 2.0))
    angle = torch.atan2(z[:, 1], z[:, 0])
    torch.testing.assert_close(angle, torch.linspace(0, math.pi / 2, 4))
    assert paths.straight(a, b, torch.tensor([0.5]))[0, 0].norm() < 1.5
    same = paths.spherical(a, a, torch.linspace(0, 1, 3))
    torch.testing.assert_close(same, a.expand(1, 3, 3))
    opposite = paths.spherical(a, -a, torch.linspace(0, 1, 3))
    assert opposite.isfinite().all()


def test_traversal_turns_one_number_at_a_time_those_that_matter_first(trained, sample):
    folder = sample(trained["vae"], "what=traversal", "n=3", "frames=5")
    arrays = np.load(folder / "samples.npz")
    z, x, dims = arrays["z"], arrays["x"], arrays["dimension"]
    assert z.shape == (3, 5, 4)
    moved = np.ptp(z, axis=1) > 0  # (3, 4)
    assert np.array_equal(moved.argmax(1), dims)
    assert (moved.sum(1) == 1).all()
    change = np.square(x[:, -1] - x[:, 0]).reshape(3, -1).mean(1)
    assert (np.diff(change) <= 1e-7).all()
    ends = z[np.arange(3), :, dims][:, [0, -1]]
    assert np.abs(np.abs(ends) - 3).max() < 0.5  # the prior's standard deviations


def test_what_matters_is_what_the_decoder_uses():
    weight = torch.tensor([0.0, 5.0, 1.0, 3.0])
    base, high = torch.zeros(1, 4), torch.ones(4)
    found = paths.most_influential(base, -high, high, 2, lambda z: z * weight)
    assert found.tolist() == [1, 3]


def test_reconstruction_shows_the_fixed_test_examples(trained, sample):
    import genai_cli
    from genai_cli.evaluation.run_figures import fixed_examples

    model, data, _ = genai_cli.load(trained["vae"])
    x = data.test.batch(fixed_examples(data)).x
    arrays = np.load(sample(trained["vae"], "what=reconstruction") / "samples.npz")
    torch.testing.assert_close(torch.from_numpy(arrays["original"]), x)
    with torch.no_grad():
        rebuilt = model.reconstruct(x)
    made = torch.from_numpy(arrays["reconstruction"])
    torch.testing.assert_close(made, rebuilt, rtol=1e-4, atol=1e-5)
    error = (x - rebuilt).square().flatten(1).mean(1)
    torch.testing.assert_close(torch.from_numpy(arrays["mse"]), error, rtol=1e-3, atol=1e-6)
    longer = np.load(sample(trained["vae"], "what=reconstruction", "n=25") / "samples.npz")
    assert np.array_equal(longer["original"][:10], arrays["original"])
    assert len(longer["original"]) == 25


@pytest.mark.parametrize("name", ["moons", "wine"])
def test_rows_and_points_have_a_figure_and_no_images(trained, sample, name):
    folder = sample(trained[name], "n=300")
    assert {f.name for f in folder.iterdir()} == {"grid.png", "samples.npz", "sample.json"}
    assert len(np.load(folder / "samples.npz")["x"]) == 300


def test_a_family_of_the_users_own_has_its_own_options(genai, sample, drawn, tmp_path, monkeypatch):
    for folder, file, text in (
        ("models", "walker.py", WALKER),
        (
            "configs/model",
            "walker.yaml",
            "# @package _global_\nmodel: {name: walker, fail: false}\n",
        ),
    ):
        (tmp_path / "lab" / folder).mkdir(parents=True)
        (tmp_path / "lab" / folder / file).write_text(text)
    monkeypatch.setenv("GENAI_PATH", str(tmp_path / "lab"))
    quick = ("epochs=1", "dataset.limit=100", "device=cpu")
    done = genai("train", "model=walker", *quick)
    assert done.code == 0, done.err
    run = done.folders[0]
    folder = sample(run, "n=7", "how=b", "steps=9", "y=[3,7]")
    arrays = np.load(folder / "samples.npz")
    assert arrays["y"].tolist() == [3, 7, 3, 7, 3, 7, 3]
    np.testing.assert_allclose(arrays["x"][:, 0, 0, 0], arrays["y"] / 10, rtol=1e-6)
    player = json.loads((folder / "sample.json").read_text())["player"]
    assert (player["steps"], player["how"]) == (9, "b")
    every = np.load(sample(run, "n=12", "y=all") / "samples.npz")["y"]
    assert every.tolist() == [*range(10), 0, 1]

    folder = sample(run, "what=trajectory", "n=5", "frames=6", "batch_size=2")
    way = np.load(folder / "samples.npz")["x"]
    assert way.shape == (6, 5, 1, 8, 8)
    last = np.load(sample(run, "n=5") / "samples.npz")["x"]
    np.testing.assert_allclose(way[-1], last, rtol=1e-6)  # the same seed, the same samples
    with Image.open(folder / "trajectory.gif") as gif:
        assert gif.n_frames == 6
    for words, told in (
        (("how=c",), ("how=c", "a, b")),
        (("temperature=1",), ("temperature", "how, steps")),
        (("what=trajectory", "steps=3"), ("steps", "frames")),
        (("what=interpolation",), ("samples", "trajectory")),
        (("y=11",), ("y=11", "0 to 9")),
    ):
        refused(genai("sample", str(run), *words, "device=cpu"), run, told)

    done = genai("train", "model=walker", "model.fail=true", *quick)
    assert done.code == 1  # its own samples.png
    run = next(f for f in done.folders if f != run)
    done = genai("sample", str(run), "checkpoint=last", "device=cpu")
    assert done.code == 1
    assert "no samples today" in done.err
    assert done.err.count("\n") == 1
    assert not (run / "samples").exists()


def refused(done, run: Path, told: tuple[str, ...]) -> None:
    """One line, exit code 2, nothing written."""
    assert done.code == 2
    assert done.err.count("\n") == 1
    for word in told:
        assert word in done.err
    hidden = (run / "samples").glob(".*") if (run / "samples").exists() else ()
    assert not list(hidden)


MISTAKES = [
    ("vae", ("what=sample",), ("what=sample", "samples")),
    ("vae", ("what=trajectory",), ("vae", "trajectory", "interpolation")),
    ("vae", ("temperatur=1",), ("temperatur", "did you mean 'temperature'")),
    ("vae", ("temperature=-1",), ("temperature=-1", ">= 0")),
    ("vae", ("temperature=hot",), ("temperature=hot", "a number")),
    ("vae", ("steps=10",), ("steps", "temperature")),
    ("vae", ("n=0",), ("n=0", ">= 1")),
    ("vae", ("seed=-1",), ("seed=-1",)),
    ("vae", ("y=3",), ("y=3", "labels")),
    ("vae", ("ema=maybe",), ("ema=maybe", "true or false")),
    ("vae", ("checkpoint=step-000999",), ("step-000999",)),
    ("vae", ("what=interpolation", "n=2000"), ("n=2000", "1000")),
    ("vae", ("what=interpolation", "temperature=1"), ("temperature", "frames")),
    ("vae", ("--force",), ("--force",)),
    ("autoencoder", ("ema=true",), ("averaged",)),
    ("mlp", (), ("mlp", "predicts")),
    ("wine", ("what=interpolation",), ("13 columns", "samples")),
    ("vae", ("device=tpu",), ("tpu",)),
]


def test_mistakes_are_one_line_and_write_nothing(trained, genai):
    for name, words, told in MISTAKES:
        run = trained[name]
        before = set(run.rglob("*"))
        refused(genai("sample", str(run), *words), run, told)
        assert set(run.rglob("*")) == before, words


def test_a_conditional_ddpm_walks_from_noise_to_the_samples_of_its_labels(trained, sample):
    run = trained["ddpm"]
    words = ("n=6", "y=[3,7]", "seed=2")
    folder = sample(run, *words, "sampler=ddim", "steps=4", "batch_size=4")
    x = np.load(folder / "samples.npz")
    whole = np.load(sample(run, *words, "sampler=ddim", "steps=4") / "samples.npz")
    assert x["y"].tolist() == [3, 7, 3, 7, 3, 7]
    np.testing.assert_allclose(x["x"], whole["x"], atol=1e-4)
    player = json.loads((folder / "sample.json").read_text())["player"]
    assert (player["ema"], player["sampler"], player["steps"]) == (True, "ddim", 4)
    default = json.loads((sample(run, "n=2", "y=5") / "sample.json").read_text())["player"]
    assert (default["sampler"], default["steps"], default["eta"]) == ("ddim", 5, 0.0)
    fives = np.load(sample(run, "n=6", "y=5", "seed=2", "steps=4") / "samples.npz")["x"]
    assert not np.allclose(fives, x["x"], atol=1e-4)
    way = np.load(sample(run, *words, "what=trajectory", "frames=6") / "samples.npz")["x"]
    own = np.load(sample(run, *words) / "samples.npz")["x"]  # its own sampler, as the trajectory
    np.testing.assert_allclose(way[-1], own, atol=1e-4)
    assert np.abs(way[0] - own).max() > 0.01
    drawn = np.load(sample(run, "what=interpolation", "n=2", "frames=3", "y=1") / "samples.npz")
    assert drawn["z"].shape == (2, 2, 3, 64)
    assert "ends" not in drawn


def test_a_density_of_the_plane_is_drawn_where_it_is_no_noise(genai, drawn, monkeypatch):
    from genai_cli.evaluation.run_figures import has_density
    from genai_cli.models.build import model_class

    for other in ("_loss_curve", "_reconstructions", "_samples", "_latent"):
        monkeypatch.setattr(
            f"genai_cli.evaluation.run_figures.{other}", lambda folder, *_: folder / "none"
        )
    for words in (TRAINED["moons"], TRAINED["wine"]):
        assert genai("train", *QUICK, *words, "trainer.max_steps=1").code == 0
    (found,) = Path("outputs").glob("*/*/density.png")
    assert "-moons-" in found.parent.name
    assert has_density(model_class("vae"))
    assert not has_density(model_class("autoencoder"))
    assert not has_density(model_class("ddpm"))  # exp of a bound from one draw of noise


def test_a_run_that_is_not_there(genai):
    done = genai("sample", "latest")
    assert done.code == 2
    assert "genai train" in done.err


def test_large_sets_are_streamed(tmp_path):
    with store.Arrays(tmp_path / "a.npz") as arrays:
        with arrays.stream("x", (5, 2)) as file:
            for part in (np.ones((2, 2), "<f4"), np.zeros((3, 2), "<f4")):
                file.write(part.tobytes())
        arrays.add("y", np.arange(5))
    read = np.load(tmp_path / "a.npz")
    assert read["x"].tolist() == [[1, 1]] * 2 + [[0, 0]] * 3
    assert read["y"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(  # the other signal: tests/cli/commands/test_encode.py
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_leaves_no_half_folder(trained, server, tmp_path, number, code):
    run = trained["vae"]
    before = set(run.rglob("*"))
    words = ["sample", str(run), "n=100000", "batch_size=16", "device=cpu"]
    process = server.start(tmp_path, *words)
    try:
        patience = time.monotonic() + 90
        while not list((run / "samples").glob(".*/images/*")):
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == code
    finally:
        process.kill()
    assert set(run.rglob("*")) - before <= {run / "samples"}


def test_the_help_names_what_every_family_can_do_and_takes():
    from genai_cli.cli.arguments import fields_of
    from genai_cli.cli.usage import options
    from genai_cli.config.catalog import config_dir
    from genai_cli.config.signatures import allowed_words
    from genai_cli.models.build import model_class

    words = allowed_words(fields_of(request.SampleRequest)["what"].hint)
    assert set(words) == set(abilities.ABILITIES)
    families = {}
    for file in (config_dir() / "model").glob("*.yaml"):
        model = model_class(file.stem)
        for what in abilities.ABILITIES:
            if abilities.can(model, what):
                families |= abilities.options_of(model, what)[0]
    assert set(options("sample")) == set(families)
    assert set(options("evaluate")) == set(options("audit")) == set(families) - {"frames"}
