"""`genai evaluate` on tiny, broken and contested runs."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_cli.cli.front_door import main
from genai_cli.evaluation import samples
from genai_cli.runner import load as load_module
from genai_cli.sampling import store

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=1", "device=cpu", "batch_size=16", "model.widths=[8]", "bottleneck=2")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "cache"))


def folder_of(root: Path, n: int) -> Path:
    """n noisy grey images of two classes."""
    rng = np.random.default_rng(0)
    for i in range(n):
        place = root / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 9), dtype=np.uint8)).save(place / f"{i:03}.png")
    return root


def trained(tmp_path: Path, *words: str) -> Path:
    out = tmp_path / "o"
    assert main(["train", *QUICK, *words, f"outputs={out}"]) == 0
    (run,) = out.glob("*/*")
    return run


def metrics(run: Path, *words: str) -> dict:
    assert main(["evaluate", str(run), *words]) == 0
    (file,) = run.glob("evaluation/*/evaluation.json")
    return json.loads(file.read_text())["metrics"]


@pytest.mark.parametrize(("n", "held"), [(16, 4), (8, 2), (5, 1)])
def test_a_test_split_smaller_than_k_leaves_floors_out(tmp_path: Path, n: int, held: int) -> None:
    data = f"dataset.path={folder_of(tmp_path / 'images', n)}"
    unwatched = ("dataset.val_fraction=0", "monitor=null")
    run = trained(tmp_path, "model=vae", "dataset=folder", data, *unwatched)
    found = metrics(run, "features=pixels", "draws=2", "only=[reconstruction,samples,memorisation]")
    assert found["samples/frechet"]["value"] > 0
    assert ("floor" in found["samples/frechet"]) == (held > 1)
    near = found["samples/coverage"]
    if n - held > 5:
        assert "floor" not in near
        assert near["value"] is not None
    else:
        assert near["reason"] == "k=5 needs more than 5 training examples"
    mse = found["reconstruction/mse"]
    assert mse["n"] == held
    assert (mse["low"] is None) == (held == 1)
    assert found["memorisation/closer"]["high"] - found["memorisation/closer"]["low"] > 0.1


def test_no_interval_leaves_the_range_of_its_number(tmp_path: Path) -> None:
    run = trained(tmp_path, "model=autoencoder", "dataset=digits")
    found = metrics(run, "n=20", "only=samples")
    for name, most in (("precision", 1), ("recall", 1), ("coverage", 1), ("classes", 10)):
        entry = found[f"samples/{name}"]
        assert 0 <= entry["low"] <= entry["high"] <= most, name


def test_one_infinite_value_is_not_measured_as_white(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path, "model=vae", "dataset=digits")
    load = load_module.load

    def broken(*args, **kwargs):
        loaded = load(*args, **kwargs)
        sample = loaded.model.sample

        def one_infinite(n, *rest, **options):
            x = sample(n, *rest, **options)
            x[-1, 0, 0, 0] = float("inf")
            return x

        loaded.model.sample = one_infinite
        return loaded

    monkeypatch.setattr(load_module, "load", broken)
    monkeypatch.setattr("genai_cli.evaluation.request.options_of", lambda *a: ({}, {}))
    found = metrics(run, "n=64", "only=[samples,memorisation]")
    for name in ("samples/frechet", "samples/coverage", "memorisation/p"):
        assert found[name]["reason"] == "samples hold numbers that are not finite"


def test_large_images_are_compared_without_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path, "model=vae", "dataset=digits")
    words = ("n=40", "only=memorisation")
    kept = metrics(run, *words)
    monkeypatch.setattr(samples, "KEPT", 0)
    assert metrics(run, *words) == kept


@pytest.mark.parametrize(
    ("option", "eta"), [("sampler=ddim", 0.5), ("sampler=heun", 0.0), ("eta=0.25", 0.25)]
)
def test_the_player_says_the_eta_that_was_used(tmp_path: Path, option: str, eta: float) -> None:
    small = ("model.timesteps=10", "model.sample_steps=2", "model.network=mlp", "model.eta=0.5")
    run = trained(tmp_path, "model=ddpm", "dataset=moons", "dataset.n=200", *small)
    found = metrics(run, "n=20", "only=samples", option)
    assert found["samples/energy"]["passport"]["player"]["eta"] == eta


def test_two_processes_may_publish_the_same_result(tmp_path: Path) -> None:
    start, wrong = threading.Barrier(4), []

    def publish(who: int) -> None:
        for _ in range(50):
            with store.Folder(tmp_path, "evaluation", "evaluation") as place:
                (place.path / "who").write_text(str(who))
                start.wait()
                try:
                    place.publish("same")
                except Exception as error:
                    wrong.append(error)
                start.wait()

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert [path.name for path in (tmp_path / "evaluation").iterdir()] == ["same"]
    assert (tmp_path / "evaluation" / "same" / "who").read_text() in "0123"
