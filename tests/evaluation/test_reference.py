"""The reference classifier: shipped, kept, trained again where it must be, for any labelled set."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from genai_cli.data.dataset import Dataset, Spec, Split
from genai_cli.data.sources import load
from genai_cli.data.stream import StreamSplit
from genai_cli.errors import UserError
from genai_cli.evaluation import classifier
from genai_cli.evaluation import reference as module
from genai_cli.evaluation.classifier import (
    RECIPES,
    Network,
    Recipe,
    accuracy,
    number_of_steps,
    train,
    weights_hash,
)
from genai_cli.evaluation.reference import SHIPPED, reference


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps a training."""
    monkeypatch.setattr(classifier, "FEWEST", 10)
    monkeypatch.setattr(classifier, "MOST", 10)


def made(shape: tuple[int, ...], classes: int, n: int = 200) -> Dataset:
    """Images whose mean brightness is their class, with a little noise."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(n) % classes
    x = (y.view(-1, 1, 1, 1) + 0.5) / classes + 0.02 * torch.randn(n, *shape, generator=draw)
    x = (x.clamp(0, 1) * 255).round().to(torch.uint8)
    part = Split(x, y, 255)
    names = tuple(str(i) for i in range(classes))
    spec = Spec(shape, "labels", (), names, levels=256, unit_interval=True)
    return Dataset(
        "mine", spec, part, part, part, f"{'x'.join(map(str, shape))}-{classes}", "split"
    )


def quiet(text: str) -> None:
    pytest.fail(f"said: {text}")


# ---- what ships


def test_shipped_weights_are_small_and_of_known_hash() -> None:
    files = sorted(SHIPPED.glob("*.safetensors"))
    assert [path.name.split("-")[0] for path in files] == ["digits", "fashion_mnist"]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    for path, expected in zip(files, ("99d3e9894e62f781", "eb7bde689709298a"), strict=True):
        weights = load_file(path)
        assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
        rows = round((weights["hidden.weight"].shape[1] / 96) ** 0.5)
        network = Network((1, 8 * rows, 8 * rows), 10)
        network.load_state_dict(weights)
        assert weights_hash(network) == expected


def test_digits_need_no_training(tmp_path: Path) -> None:
    data = load({"name": "digits"})
    found = reference(data, quiet)
    assert found.hash == "99d3e9894e62f781"
    assert found.accuracy == accuracy(found.network, data.test) >= 0.97
    assert not (tmp_path / "cache").exists()
    assert not found.network.training
    assert not any(p.requires_grad for p in found.network.parameters())


@pytest.mark.fashion
def test_fashion_needs_no_training(fashion_root: Path) -> None:
    data = load({"name": "fashion_mnist", "root": str(fashion_root)})
    found = reference(data, quiet)
    assert found.hash == "eb7bde689709298a"
    assert found.accuracy == 0.925


@pytest.mark.fashion
@pytest.mark.slow
def test_fashion_has_the_accuracy_that_ships(fashion_root: Path) -> None:
    data = load({"name": "fashion_mnist", "root": str(fashion_root)})
    assert accuracy(reference(data, quiet).network, data.test) == pytest.approx(0.925, abs=2e-4)


@pytest.mark.slow
def test_training_digits_again_reaches_the_shipped_accuracy() -> None:
    data = load({"name": "digits"})
    assert accuracy(train(data), data.test) >= RECIPES["digits"].least


def test_shipped_weights_that_are_damaged_name_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (shipped,) = SHIPPED.glob("digits-*")
    (tmp_path / shipped.name).write_bytes(shipped.read_bytes()[:-100])
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match=r"digits-\S+ is damaged .*pip install --force-reinstall"):
        reference(load({"name": "digits"}), quiet)


# ---- training


def test_another_split_is_trained_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load({"name": "digits"}, split_seed=1)
    recipe = RECIPES["digits"]
    assert number_of_steps(recipe, len(data.train), (1, 8, 8)) == 660  # 60 epochs of 11 batches
    monkeypatch.setitem(RECIPES, "digits", recipe._replace(epochs=10, least=0.0))
    monkeypatch.setattr(classifier, "FEWEST", 10)
    said: list[str] = []
    steps: list[tuple[int, int]] = []
    first = reference(data, said.append, lambda done, all_: steps.append((done, all_)))
    assert said == [
        "training the reference classifier of digits once: 110 steps, about 1 s on one core"
    ]
    assert steps == [(i, 110) for i in range(1, 111)]
    (path,) = (tmp_path / "cache" / "reference").iterdir()
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    again = reference(data, quiet)
    assert (again.hash, again.accuracy) == (first.hash, first.accuracy)
    x = data.test.batch(torch.arange(20)).x
    assert torch.equal(again.network(x), first.network(x))


@pytest.mark.usefixtures("fast")
def test_training_is_seeded_and_leaves_no_trace() -> None:
    data, threads = made((1, 8, 8), 3), torch.get_num_threads()
    state = torch.get_rng_state()
    first = reference(data, lambda text: None)  # trained
    reference(data, quiet)  # read
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert weights_hash(train(data)) == first.hash
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("fast")
def test_a_run_in_double_precision_has_the_same_reference() -> None:
    data = made((1, 8, 8), 3)
    single = weights_hash(train(data))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            assert weights_hash(train(data)) == single
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((1, 4, 4), 2),
        ((2, 5, 7), 3),
        ((3, 33, 9), 4),
        ((4, 28, 28), 2),
        ((1, 16, 16), 1000),
        ((3, 100, 70), 2),
    ],
    ids=str,
)
def test_any_labelled_image_set(
    shape: tuple[int, ...], classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "FEWEST", 2)
    monkeypatch.setattr(classifier, "MOST", 2)
    data = made(shape, classes, n=50)
    found = reference(data, lambda text: None)
    x = data.test.batch(torch.arange(10)).x
    assert found.network.features(x).shape == (10, 128)
    assert found.network(x).shape == (10, classes)
    assert 0 <= found.accuracy <= 1
    assert reference(data, quiet).hash == found.hash


def test_a_small_set_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 images are 2 batches: 20 epochs would be 40 steps. A fifth of the 500 will do here."""
    monkeypatch.setattr(classifier, "FEWEST", 100)
    data = made((1, 8, 8), 2)
    network = train(data)
    assert accuracy(network, data.test) == 1


def test_the_cost_is_bounded() -> None:
    assert number_of_steps(None, 200, (1, 8, 8)) == 500
    assert number_of_steps(None, 20_000, (1, 28, 28)) == 20 * 157
    assert number_of_steps(None, 10**6, (1, 28, 28)) == 6000
    assert number_of_steps(None, 10**6, (3, 56, 56)) == 1500
    large = [number_of_steps(None, 10**6, (3, side, side)) for side in (64, 128, 1024)]
    assert large[0] == large[1] == large[2]  # averaged down to 64 pixels first


def test_the_time_is_told_before() -> None:
    assert classifier.duration(6000, (1, 28, 28)) == "4 min"
    assert classifier.duration(500, (1, 8, 8)) == "2 s"


@pytest.mark.usefixtures("fast")
def test_images_decoded_on_demand_train_it_too(tmp_path: Path) -> None:
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(40):
            image = np.full((12, 12, 3), level, np.uint8)
            image[i % 12] += i
            Image.fromarray(image).save(tmp_path / "set" / name / f"{i}.png")
    node = {"name": "folder", "path": str(tmp_path / "set"), "workers": 0}
    streamed = load(node | {"memory_mb": 0})
    assert isinstance(streamed.train, StreamSplit)
    said: list[str] = []
    found = reference(streamed, said.append)
    assert len(said) == 1
    resident = replace(load(node), name="resident")  # another name in the cache
    assert type(resident.train) is Split
    assert reference(resident, lambda text: None).hash == found.hash


def test_weights_are_half_precision_numbers() -> None:
    network = Network((1, 8, 8), 10)
    before = network.first.weight.detach().clone()
    classifier.round_to_half(network)
    assert torch.equal(network.first.weight, before.half().float())
    assert network.first.weight.dtype == torch.float32


# ---- refusals


@pytest.mark.parametrize("name", ["moons", "wine", "diabetes"])
def test_data_without_labelled_images_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no labelled images .*features=pixels") as said:
        reference(load({"name": name}), quiet)
    assert "\n" not in str(said.value)


def test_pairs_have_no_labels() -> None:
    data = load({"name": "digits", "pair": "inpaint"})
    with pytest.raises(UserError, match="digits has no labelled images"):
        reference(data, quiet)


@pytest.mark.usefixtures("fast")
def test_a_classifier_below_the_recipe_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = made((1, 8, 8), 2)
    monkeypatch.setitem(RECIPES, "mine", Recipe(epochs=1, least=1.1, examples=200))
    with pytest.raises(UserError, match=r"reaches accuracy .* on mine and 1\.1 is needed"):
        reference(data, lambda text: None)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    # Fewer examples: the bar is that of the whole training split.
    monkeypatch.setitem(RECIPES, "mine", Recipe(epochs=1, least=1.1, examples=201))
    reference(data, lambda text: None)


# ---- the cache


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("damage", ["cut", "text", "weights", "shape", "folder"])
def test_a_damaged_file_is_named_and_made_again(damage: str, tmp_path: Path) -> None:
    data = made((1, 8, 8), 3)
    first = reference(data, lambda text: None)
    (path,) = (tmp_path / "cache").rglob("*.safetensors")
    weights = load_file(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "text":
        path.write_text("not weights")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        changed: dict[str, Tensor] = dict(weights)
        if damage == "weights":
            changed["last.bias"] = weights["last.bias"] + 1
        else:
            changed["last.bias"] = weights["last.bias"][:2]
        said = {"hash": first.hash, "accuracy": "0.5"}
        save_file(changed, path, said)
    said_: list[str] = []
    again = reference(data, said_.append)
    assert again.hash == first.hash
    assert f"{path} is damaged" in said_[0]
    assert all("\n" not in line for line in said_)
    if damage != "folder":
        assert reference(data, quiet).hash == first.hash


@pytest.mark.usefixtures("fast")
def test_a_cache_that_cannot_be_written_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GENAI_CACHE", str(blocked))
    said: list[str] = []
    found = reference(made((1, 8, 8), 3), said.append)
    assert 0 <= found.accuracy <= 1
    assert "cannot be kept in" in said[-1]
    assert "GENAI_CACHE=DIR" in said[-1]
    assert "\n" not in said[-1]


def test_the_cache_follows_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_CACHE", "/a")
    assert module.cache() == Path("/a/reference")
    monkeypatch.delenv("GENAI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert module.cache() == Path("/b/genai/reference")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert module.cache() == Path.home() / ".cache" / "genai" / "reference"


@pytest.mark.slow
def test_two_processes_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "from genai_cli.data.sources import load\n"
        "from genai_cli.evaluation import classifier, reference\n"
        "classifier.FEWEST = classifier.MOST = 10\n"
        "classifier.RECIPES.clear()\n"
        "print(reference.reference(load({'name': 'digits'}, 7), lambda text: None).hash)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    hashes = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(hashes) == 1
    (path,) = (tmp_path / "cache" / "reference").iterdir()  # and nothing half written beside it
    assert path.suffix == ".safetensors"
    assert os.access(path, os.R_OK)
