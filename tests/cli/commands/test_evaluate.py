"""`genai evaluate`: what it writes for each family, that numbers repeat, what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genai_cli.cli.front_door import main
from genai_cli.evaluation.measures import BY_NAME

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=2", "device=cpu", "batch_size=64")
FEW = "trainer.max_steps=6"
SMALL = ("model.widths=[16]", "bottleneck=4")
TRAINED = {
    "autoencoder": ("model=autoencoder", *SMALL),
    "vae": ("model=vae", "trainer.ema=0.9", *SMALL),
    "latent_flow": ("model=latent_flow", *SMALL),
    "flow": ("model=flow", "model.steps=2", "model.widths=[16]", FEW),
    "gan": ("model=gan", "bottleneck=4", "model.widths=[16]"),
    "ddpm": (
        *("model=ddpm", "model.timesteps=20", "model.sample_steps=4", "model.channels=[8]"),
        *("model.conditional=true", "trainer.ema=0.5", FEW),
    ),
    "mlp": ("model=mlp", "model.widths=[16]"),
    "diabetes": ("model=mlp", "dataset=diabetes", "model.widths=[16]"),
    "moons": ("model=vae", "dataset=moons", "dataset.n=1000", "bottleneck=2"),
    "pair": ("model=autoencoder", "dataset.pair=superresolution", *SMALL),
}
IMAGES = ("autoencoder", "vae", "latent_flow", "flow", "gan", "ddpm")
FIDELITY = ("frechet", "kernel", "precision", "recall", "density", "coverage")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small run of each kind; tests work on copies."""
    root = tmp_path_factory.mktemp("trained")
    found = {}
    for name, words in TRAINED.items():
        assert main(["train", *QUICK, *words, f"outputs={root / name}"]) == 0
        (found[name],) = (root / name).glob("*/*")
    return found


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run, in an outputs folder of its own."""

    def copy(name: str) -> Path:
        place = tmp_path / "o" / trained[name].parent.name / trained[name].name
        return Path(shutil.copytree(trained[name], place, dirs_exist_ok=True))

    return copy


def evaluated(run: Path, *words: str) -> dict[str, Any]:
    """What one evaluation wrote."""
    before = set(run.glob("evaluation/*"))
    assert main(["evaluate", str(run), *words]) == 0
    (place,) = set(run.glob("evaluation/*")) - before
    found = json.loads((place / "evaluation.json").read_text())
    assert all((place / file).stat().st_size for file in found["files"])
    return found


@pytest.fixture(scope="module")
def full(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """The evaluation of each kind of run at n=40, made once."""
    known: dict[str, dict[str, Any]] = {}

    def one(name: str) -> dict[str, Any]:
        if name not in known:
            path = tmp_path_factory.mktemp("full") / trained[name].name
            known[name] = evaluated(shutil.copytree(trained[name], path), "n=40", "draws=4")
        return known[name]

    return one


def numbers(found: dict[str, Any], but: str = "speed/") -> dict[str, tuple[float, ...]]:
    """(value, low, high) of everything but the clock."""
    return {
        name: (entry["value"], entry["low"], entry["high"])
        for name, entry in found["metrics"].items()
        if not name.startswith(but)
    }


@pytest.mark.parametrize("family", TRAINED)
def test_every_entry_is_a_number_with_a_passport_or_a_reason(
    trained: dict[str, Path], full: Callable, family: str
) -> None:
    found = full(family)
    assert found["metrics"].keys() <= BY_NAME.keys()
    for name, entry in found["metrics"].items():
        if entry["value"] is None:
            assert entry["reason"], name
            continue
        assert math.isfinite(entry["value"]), name
        assert entry["n"] > 0
        assert {"ruler", "player"} == entry["passport"].keys()
        assert entry["passport"]["ruler"]["reference_split_hash"]
        if entry["low"] is not None:
            assert entry["low"] <= entry["value"] <= entry["high"], name
    assert found["run"] == trained[family].name
    assert found["settings"]["n"] == 40


@pytest.mark.parametrize("family", IMAGES)
def test_samples_of_images_are_measured_in_the_reference_features(
    full: Callable, family: str
) -> None:
    found = full(family)["metrics"]
    for name in FIDELITY:
        entry = found[f"samples/{name}"]
        ruler, player = entry["passport"]["ruler"], entry["passport"]["player"]
        assert entry["low"] is not None
        assert (ruler["n"], ruler["sets"], ruler["extractor"]) == (40, 5, "reference")
        assert len(ruler["extractor_hash"]) == 16
        assert ruler["extractor_accuracy"] > 0.97
        assert player["seed"] == 0
        assert player["ema"] is (family in ("vae", "ddpm", "flow", "gan"))
        assert entry["floor"]["n"] == 40
    assert found["samples/frechet"]["value"] > found["samples/frechet"]["floor"]["value"]
    assert 1 <= found["samples/classes"]["value"] <= 10
    if family == "ddpm":
        player = found["samples/frechet"]["passport"]["player"]
        assert player["labels"] == "as in the training split"
        assert (player["sampler"], player["steps"]) == ("ddim", 4)


@pytest.mark.parametrize(
    ("family", "kind", "missing"),
    [
        ("autoencoder", None, {"nats": "no density", "bits_per_dim": "no density"}),
        ("gan", None, {"nats": "no density", "bits_per_dim": "no density"}),
        ("vae", "bound", {}),
        ("latent_flow", "bound", {}),
        ("flow", "bound", {}),  # dequantised
        ("ddpm", "bound", {}),
        ("moons", "bound", {"bits_per_dim": "levels"}),
    ],
)
def test_likelihood_says_what_it_is(
    full: Callable, family: str, kind: str | None, missing: dict[str, str]
) -> None:
    found = full(family)["metrics"]
    for name in ("nats", "bits_per_dim"):
        entry = found[f"likelihood/{name}"]
        if name in missing:
            assert missing[name] in entry["reason"]
        else:
            assert entry["passport"]["player"]["likelihood"] == kind
    if family in ("vae", "latent_flow"):
        assert found["likelihood/nats"]["value"] <= found["likelihood/elbo"]["value"]
    if not missing:
        ruler = found["likelihood/nats"]["passport"]["ruler"]
        bits = found["likelihood/nats"]["value"] / (64 * math.log(2))
        assert found["likelihood/bits_per_dim"]["value"] == pytest.approx(bits)
        assert ruler["data_space"] == "17 levels in [0, 1]"  # one space for all families


@pytest.mark.parametrize(
    "family",
    ["vae", "mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ddpm", "moons"))],
)
def test_twice_the_same_numbers_and_on_another_batch_size(
    run: Callable[[str], Path], family: str
) -> None:
    path = run(family)
    first = evaluated(path, "n=60")
    assert main(["evaluate", str(path), "n=60"]) == 0
    (place,) = path.glob("evaluation/*")  # the same settings, the same folder
    second = json.loads((place / "evaluation.json").read_text())
    assert numbers(first) == numbers(second)
    assert first["tables"] == second["tables"]
    assert main(["evaluate", str(path), "n=60", "batch_size=25"]) == 0
    assert len(list(path.glob("evaluation/*"))) == 1
    third = numbers(json.loads((place / "evaluation.json").read_text()))
    for name, values in numbers(first).items():
        close = [pytest.approx(v, rel=1e-5) if v is not None else None for v in values]
        assert list(third[name]) == close, name


def test_the_time_is_told_before_it_is_spent(
    run: Callable[[str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as slow a sampler, ten times the samples: told as such."""
    from genai_cli.evaluation import estimate

    path, told = run("gan"), []
    clock = estimate.clock
    monkeypatch.setattr(estimate, "clock", lambda total: told.append(total) or clock(total))
    monkeypatch.setattr(estimate, "_drawing", lambda job: 0.01)
    for n in (20, 200):
        assert main(["evaluate", str(path), f"n={n}", "only=samples"]) == 0
        out = capsys.readouterr().out
        assert f"{5 * n:,} samples at 100 a second" in out
        assert out.index("samples at 100") < out.index("samples/frechet")
    assert 1.0 < told[0] < 6
    assert 10.0 < told[1] < 20
    assert [clock(t) for t in (0, 12, 240, 7200)] == ["5 s", "10 s", "4 min", "2.0 h"]


def test_another_seed_draws_other_sets(run: Callable[[str], Path]) -> None:
    path = run("vae")
    a = evaluated(path, "n=40", "only=samples")["metrics"]["samples/frechet"]
    b = evaluated(path, "n=40", "only=samples", "seed=5")["metrics"]["samples/frechet"]
    assert a["value"] != b["value"]
    assert b["passport"]["player"]["seed"] == 5


def test_its_figures_are_drawn(run: Callable[[str], Path], drawn: None) -> None:
    path = run("gan")
    found = evaluated(path, "n=40", "only=[samples,memorisation]")
    (place,) = path.glob("evaluation/*")
    assert set(found["files"]) == {"classes.png", "closest_pairs.png"}
    assert all((place / name).stat().st_size > 10_000 for name in found["files"])
    path = run("mlp")
    found = evaluated(path, "n=40")
    (place,) = path.glob("evaluation/*")
    assert set(found["files"]) == {"confusion.png", "calibration.png"}
    assert all((place / name).stat().st_size > 10_000 for name in found["files"])


def test_a_set_is_what_sample_draws_with_that_seed(run: Callable[[str], Path]) -> None:
    import genai_cli
    from genai_cli.evaluation.drawing import SampleSets

    path = run("vae")
    assert main(["sample", str(path), "n=70", "seed=3"]) == 0
    (drawn,) = path.glob("samples/*/samples.npz")
    model, data, _ = genai_cli.load(path)
    (mine,) = SampleSets(model, data, {}, 512).batches(70, 3, lambda n: None)
    saved = np.load(drawn)["x"]
    assert mine.shape == saved.shape
    np.testing.assert_allclose(mine, saved, atol=0.5 / 16 + 1e-6)  # ours are rounded to levels
    assert np.abs(mine.numpy() * 16 - np.rint(mine.numpy() * 16)).max() < 1e-5


def test_means_are_those_of_the_end_of_the_run(run: Callable[[str], Path]) -> None:
    path = run("autoencoder")
    end = json.loads((path / "summary.json").read_text())["metrics"]
    n = end["test/mse"]["n"]
    found = evaluated(path, f"n={n}", "only=reconstruction")["metrics"]["reconstruction/mse"]
    assert found["value"] == pytest.approx(end["test/mse"]["value"], rel=1e-6)
    assert found["low"] == pytest.approx(end["test/mse"]["low"], rel=1e-6)
    assert found["floor"]["what"] == "PCA with 4 components"
    assert found["passport"]["ruler"] == end["test/mse"]["passport"]["ruler"]


def test_a_classifier_has_accuracy_confusion_and_calibration(run: Callable[[str], Path]) -> None:
    path = run("mlp")
    end = json.loads((path / "summary.json").read_text())["metrics"]["test/accuracy"]
    found = evaluated(path, f"n={end['n']}")
    accuracy = found["metrics"]["prediction/accuracy"]["value"]
    assert accuracy == pytest.approx(end["value"])
    confusion = np.array(found["tables"]["confusion"])
    assert confusion.sum() == end["n"]
    assert np.trace(confusion) / end["n"] == pytest.approx(accuracy)
    assert sum(found["tables"]["calibration"]["count"]) == end["n"]
    assert set(found["files"]) == {"confusion.png", "calibration.png"}
    assert not any(name.startswith(("samples", "speed")) for name in found["metrics"])


def test_more_samples_than_test_examples_say_the_size_of_the_floor(
    run: Callable[[str], Path],
) -> None:
    found = evaluated(run("autoencoder"), "n=500", "only=[samples,memorisation]")["metrics"]
    frechet = found["samples/frechet"]
    assert frechet["n"] == 500
    assert frechet["floor"]["n"] == 360
    assert found["memorisation/p"]["n"] == 500


def test_several_runs_and_a_sweep(tmp_path: Path, run: Callable[[str], Path]) -> None:
    outputs = f"outputs={tmp_path / 'o'}"
    words = ("-m", "model=autoencoder,vae", *SMALL, *QUICK, "name=pair-of-models")
    assert main(["train", *words, outputs]) == 0
    (sweep,) = (p.parent for p in (tmp_path / "o").glob("*/*/sweep.yaml"))
    other = run("gan")
    quick = ("n=20", "only=[samples]")
    assert main(["evaluate", str(sweep), str(other), *quick]) == 0
    for path in (*sweep.glob("0*"), other):
        assert len(list(path.glob("evaluation/*/evaluation.json"))) == 1


def test_an_option_of_one_family_leaves_the_others_alone(run: Callable[[str], Path]) -> None:
    paths = [run("ddpm"), run("gan")]
    assert main(["evaluate", *map(str, paths), "steps=2", "n=20", "only=samples"]) == 0
    found = [json.loads(next(p.glob("evaluation/*/*.json")).read_text()) for p in paths]
    assert found[0]["settings"]["options"]["steps"] == 2
    assert "steps" not in found[1]["settings"]["options"]


MISTAKES = [
    ("vae", ["n=3"], "n=3 is not allowed"),
    ("vae", ["n=12", "k=12"], "n=12 is not allowed with k=12"),
    ("vae", ["sets=2"], "sets=2 is not allowed"),
    ("vae", ["feature=pixels"], "did you mean 'features'"),
    ("vae", ["features=vgg"], "features=vgg is not allowed"),
    ("vae", ["steps=5"], "unknown key 'steps'"),
    ("vae", ["temperature=-1"], "temperature=-1 is not allowed"),
    ("vae", ["only=[speed,fid]"], "choose from reconstruction"),
    ("vae", ["device=gpu"], "device=gpu is not allowed"),
    ("vae", ["checkpoint=step-9"], "step-9"),
    ("autoencoder", ["ema=true"], "kept no averaged weights"),
    ("mlp", ["temperature=1"], "no options of sampling"),
    ("moons", ["features=reference", "n=20"], "reference"),
    ("moons", ["features=inception", "n=20"], "inception"),
]


def test_mistakes_are_one_line_and_write_nothing(
    run: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {family: run(family) for family, *_ in MISTAKES}
    for family, words, said in MISTAKES:
        capsys.readouterr()
        assert main(["evaluate", str(paths[family]), *words]) == 2, words
        err = capsys.readouterr().err
        assert err.startswith("genai evaluate: ")
        assert err.count("\n") == 1, err
        assert said in err
        assert not (paths[family] / "evaluation").exists(), words


def test_no_run_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["evaluate", "n=100"]) == 2
    assert "name a run" in capsys.readouterr().err
    assert main(["evaluate", "abcd", f"outputs={tmp_path}"]) == 2
    assert "no run 'abcd'" in capsys.readouterr().err


BROKEN = """
import torch
from torch import nn

from genai_cli.models.base import Model


class Broken(Model):
    def __init__(self, data, how: str = "nan"):
        super().__init__()
        self.shape, self.how = data.event_shape, how
        self.level = nn.Parameter(torch.zeros(()))

    def loss(self, batch, noise, player="model"):
        return {"loss": (batch.x - self.level).square().flatten(1).mean(1)}

    def sample(self, n, y=None, generator=None):
        if self.how == "raise" and self.level != 0:
            raise RuntimeError("no samples today")
        x = torch.full((n, *self.shape), 0.5)
        if self.how == "nan":
            x[0] = float("nan")
        return x
"""


@pytest.mark.parametrize("how", ["nan", "constant", "raise"])
def test_a_model_that_samples_badly(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    own = tmp_path / "own"
    (own / "models").mkdir(parents=True)
    (own / "configs" / "model").mkdir(parents=True)
    (own / "models" / "broken.py").write_text(BROKEN)
    text = "# @package _global_\n# b\nmodel:\n  name: broken\n  how: HOW\n"
    text = text.replace("HOW", "nan" if how == "raise" else how)
    (own / "configs" / "model" / "broken.yaml").write_text(text)
    monkeypatch.setenv("GENAI_PATH", str(own))
    assert main(["train", "model=broken", *QUICK, f"outputs={tmp_path / 'o'}"]) == 0
    (path,) = (tmp_path / "o").glob("*/*")
    if how == "raise":
        config = path / "config.yaml"
        config.write_text(config.read_text().replace("how: nan", "how: raise"))
        capsys.readouterr()
        assert main(["evaluate", str(path), "n=20"]) == 1
        assert "no samples today" in capsys.readouterr().err
        assert not (path / "evaluation").exists()
        return
    found = evaluated(path, "n=20")["metrics"]
    if how == "nan":
        assert "not finite" in found["samples/frechet"]["reason"]
    else:
        assert found["samples/recall"]["value"] == 0
        assert found["samples/classes"]["value"] == 1
    assert found["likelihood/nats"]["reason"]
    assert found["reconstruction/mse"]["reason"]


def sorted_folder(root: Path) -> Path:
    """Images in train/ and test/, each with three classes: nearly black, grey and white."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, n in (("train", 30), ("test", 20)):
        for shade, name in enumerate(("black", "grey", "white")):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                pixels = 110 * shade + rng.integers(0, 30, (8, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i:02}.png")
    return root


def test_a_part_of_a_test_set_sorted_by_class_has_all_classes(tmp_path: Path) -> None:
    data = f"dataset.path={sorted_folder(tmp_path / 'images')}"
    words = ("dataset=folder", data, f"outputs={tmp_path / 'o'}", *QUICK, "model.widths=[16]")
    assert main(["train", "model=mlp", *words]) == 0
    (path,) = (tmp_path / "o").glob("*/*")
    confusion = np.array(evaluated(path, "n=30")["tables"]["confusion"])
    assert confusion.sum() == 30
    assert (confusion.sum(1) >= 4).all()
