"""The scripts under benchmarks/ that run these measures, on real run folders."""

from __future__ import annotations

import csv
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from genai_cli.config import compose
from genai_cli.data.sources import load
from genai_cli.errors import UserError
from genai_cli.evaluation.drawing import quantize
from genai_cli.runner.prepare import prepare, start
from genai_cli.store import run_folder
from genai_cli.training import checkpoint, setup

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a script as Python does when it is run: with its own folder on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A run folder of an untrained VAE with one checkpoint: nothing here depends on training."""
    root = tmp_path_factory.mktemp("outputs")

    @functools.cache
    def make(dataset: str) -> str:
        words = ["model=vae", "model.widths=[8]", "bottleneck=2", f"dataset={dataset}"]
        cells = compose.compose_cells("train", compose.parse_line([*words, f"outputs={root}"]))
        prepared = prepare(cells[0].config, lambda text: None)
        folder = start(prepared, "test")
        state = setup.new_training(prepared.cfg, prepared.data, torch.device("cpu"))
        checkpoint.save(folder / run_folder.CHECKPOINTS, state, keep=1, mark_best=True)
        return str(folder)

    return make


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_samples_toys(run: Callable, script: Callable, tmp_path: Path) -> None:
    main, out = script("samples_toys").main, tmp_path / "new" / "toys.csv"
    words = [run("moons"), "--n", "200", "--sets", "3", "--csv", str(out)]
    assert main(words) == 0
    assert main([*words, "--option", "temperature=0"]) == 0
    first, still = rows_of(out)
    assert 1 < float(first["ratio"]) <= float(first["worst_set"])
    assert float(first["real_to_real"]) == float(still["real_to_real"])
    assert float(still["ratio"]) > float(first["ratio"])  # all samples in one point


def test_fresh_sets_are_the_distribution_and_not_the_training_set(script: Callable) -> None:
    node = {"name": "moons", "n": 1000, "noise": 0.1, "val_fraction": 0.1}
    sets = script("samples_toys").fresh(node, 100, 10)
    assert [len(x) for x in sets] == [100] * 10
    joined = torch.cat(sets)
    trained = load(node).train.x
    assert not (joined[:, None] == trained[None]).all(2).any()
    assert joined.mean(0) == pytest.approx(trained.mean(0), abs=0.1)
    with pytest.raises(UserError, match="cannot be drawn afresh"):
        script("samples_toys").fresh({"name": "digits"}, 10, 2)


def test_ring(
    run: Callable, script: Callable, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "ring.csv"
    words = [run("gaussians"), "--n", "400", "--csv", str(out)]
    assert script("ring").main(words) == 0
    assert "0 of 1 runs" in capsys.readouterr().out  # untrained
    assert script("ring").main([*words, "--sigma", "100", "--least", "0"]) == 0
    assert "all 8 modes and ≥ 90% inside 3 sigma: 1 of 1 runs" in capsys.readouterr().out
    assert [row["passed"] for row in rows_of(out)] == ["False", "True"]
    with pytest.raises(UserError, match="say --radius and --sigma"):
        script("ring").main([run("moons")])


def test_samples_digits(run: Callable, script: Callable, tmp_path: Path) -> None:
    out = tmp_path / "digits.csv"
    words = [run("digits"), "--seeds", "1", "--csv", str(out)]
    assert script("samples_digits").main(words) == 0
    real, _, pixels, features = rows_of(out)
    assert (real["run"], real["cover_ratio"], real["classes"]) == ("test images", "1.0", "10")
    assert float(real["p_copied"]) == pytest.approx(0.5, abs=0.01)  # against themselves
    assert [pixels["space"], features["space"]] == ["pixels", "features"]
    assert float(pixels["cover_ratio"]) < 0.5  # untrained
    assert float(pixels["p_copied"]) > 0.99  # nothing near a digit


def test_samples_fashion_on_digits(run: Callable, script: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    words = [run("digits"), "--n", "300", "--sets", "2", "--csv", str(out)]
    assert script("samples_fashion").main(words) == 0
    real, pca, model = rows_of(out)
    assert (real["images"], pca["images"]) == ("real", "pca-16")
    assert float(real["high"]) < float(pca["low"])
    assert float(pca["high"]) < float(model["low"])  # untrained
    assert real["n"] == model["n"] == "300"
    assert real["extractor"] == model["extractor"] != ""


def test_pca_gaussian_has_the_moments_of_its_components(script: Callable) -> None:
    x = torch.randn(500, 1, 2, 3, dtype=torch.float64) * 0.02 + 0.5
    draw = script("samples_fashion").pca_gaussian(x, components=6)
    drawn = draw(20000, 0)
    assert drawn.shape == (20000, 1, 2, 3)
    assert drawn.mean(0) == pytest.approx(x.mean(0), abs=1e-3)
    assert torch.allclose(drawn.flatten(1).T.cov(), x.flatten(1).T.cov(), atol=2e-5)
    assert torch.equal(draw(10, 3), draw(10, 3))
    few = script("samples_fashion").pca_gaussian(x, components=2)(100, 0).flatten(1)
    assert torch.linalg.matrix_rank(few - few.mean(0), rtol=1e-6) == 2


def test_subsets_of_training_images_do_not_overlap(script: Callable) -> None:
    draw = script("samples_fashion").subsets(torch.arange(100.0)[:, None])
    parts = torch.cat([draw(20, seed) for seed in range(5)])
    assert parts.flatten().sort().values.tolist() == list(range(100))


def test_samples_are_rounded_as_the_data_is_stored() -> None:
    spec = load({"name": "digits"}).spec
    rounded = quantize(torch.tensor([-0.3, 0.1, 0.99, 1.7]), spec)
    assert rounded.tolist() == [0, 2 / 16, 1, 1]
    vectors = spec._replace(levels=None, unit_interval=False)
    assert quantize(torch.tensor([-0.3, 1.7]), vectors).tolist() == pytest.approx([-0.3, 1.7])


def test_samples_do_not_depend_on_the_batch(run: Callable, script: Callable) -> None:
    drawing, folder = script("drawing"), run("digits")
    drawn = []
    for batch in ("7", "16", "1000"):
        args = drawing.parser("").parse_args([folder, "--batch", batch])
        drawn.append(next(drawing.opened(args)).draw(40, seed=3))
    assert torch.allclose(drawn[0], drawn[1], atol=1e-6)
    assert torch.allclose(drawn[0], drawn[2], atol=1e-6)


def test_options_and_mistakes_are_answered_in_words(
    run: Callable, script: Callable, tmp_path: Path
) -> None:
    drawing, folder = script("drawing"), run("digits")

    def opened(*words: str):
        return next(drawing.opened(drawing.parser("").parse_args([folder, *words])))

    assert opened("--option", "temperature=0.5").options == {"temperature": 0.5}
    with pytest.raises(UserError, match=r"option\.temprature"):
        opened("--option", "temprature=1")
    with pytest.raises(UserError, match="KEY=VALUE"):
        opened("--option", "temperature")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="other columns"):
        drawing.append(other, [{"a": 1, "c": 2}])
    assert other.read_text() == "a,b\n1,2\n"
