"""Confusion matrices and predicted against true."""

import numpy as np
import pytest
from PIL import Image

from genai_cli.figures.predictions import confusion, predicted_vs_true

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(0)


def check(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert 4_000 < path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert image.width <= 2000
        assert len(image.convert("L").getcolors()) > 20


@pytest.mark.parametrize(
    ("n", "k"), [(0, 10), (1, 2), (500, 10), pytest.param(90, 50, marks=pytest.mark.slow)]
)
def test_confusion(n, k, tmp_path):
    true = RNG.integers(0, k, n)
    guess = np.where(RNG.random(n) < 0.2, 0, true)
    names = [f"class {i} with a long name" for i in range(k)]
    confusion(tmp_path / "predictions.png", true, guess, names, title="MLP on digits")
    check(tmp_path / "predictions.png")


def test_a_class_number_outside_the_classes_is_refused(tmp_path):
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="predicted: class numbers must be in 0…2"):
            confusion(tmp_path / "a.png", np.array([0]), np.array([wrong]), "abc", title="t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("n", "k"), [(0, 1), (1, 1), (2000, 1), (40, 7)])
def test_predicted_vs_true(n, k, tmp_path):
    true = RNG.normal(size=(n, k)) * 10.0 ** np.arange(k)
    guess = true + RNG.normal(size=true.shape)
    names = [f"target_{i} ($)" for i in range(k)]
    predicted_vs_true(tmp_path / "predictions.png", true, guess, names, title="MLP")
    check(tmp_path / "predictions.png")


def test_predicted_vs_true_of_constants_and_nan(tmp_path):
    guess = np.array([3.0, np.nan]) * np.ones((5, 2))
    predicted_vs_true(tmp_path / "a.png", np.ones((5, 2)), guess, ["y", "z"], title="MLP")
    check(tmp_path / "a.png")


@pytest.mark.slow  # test_curves.py and _grids.py ask it of a chart and of a sheet
def test_the_same_arrays_give_the_same_bytes(tmp_path):
    y = RNG.integers(0, 3, 50)
    for name in "ab":
        confusion(tmp_path / f"c{name}", y, y, "abc", title="t")
        predicted_vs_true(tmp_path / f"p{name}", y[:, None], y[:, None], ["y"], title="t")
    for kind in "cp":
        assert (tmp_path / f"{kind}a").read_bytes() == (tmp_path / f"{kind}b").read_bytes()
