"""Predictions against scikit-learn, calibration against a loop and what a perfect one has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from torch import Tensor

from genai_cli.data.dataset import Dataset, Spec, Split
from genai_cli.evaluation import prediction as measured
from genai_cli.figures.calibration import reliability
from genai_cli.models.base import Model

RNG = np.random.default_rng(0)
CLASSES = ("a", "b", "c")


class Table(Model):
    """Predicts what stands in x."""

    def loss(self, batch, noise, player="model"):
        raise AssertionError("measuring asks for no loss")

    def predict(self, x: Tensor) -> Tensor:
        return x


def dataset(x: np.ndarray, y: np.ndarray, spec: Spec) -> Dataset:
    split = Split(torch.from_numpy(x), torch.from_numpy(y))
    return Dataset("table", spec, split, split, split, "h", "s")


def predicted(x: np.ndarray, y: np.ndarray, batch: int = 50, **spec) -> measured.Prediction:
    ticks = []
    kind = {"target": "labels", "classes": CLASSES} if y.ndim == 1 else {"target": "values"}
    data = dataset(x, y, Spec(event_shape=x.shape[1:], **kind, **spec))
    found = measured.prediction(Table(), data, n=len(x), batch=batch, tick=ticks.append)
    assert sum(ticks) == len(x)
    return found


@pytest.fixture
def guesses() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (200, 3) and labels that follow them."""
    p = RNG.dirichlet([0.5, 0.7, 0.9], 200)
    y = np.array([RNG.choice(3, p=row) for row in p])
    return p.astype(np.float32), y


def test_classes_are_scored_as_scikit_learn_scores_them(guesses):
    p, y = guesses
    found = predicted(p, y)
    p = p.astype(float) / p.astype(float).sum(1, keepdims=True)
    mean = {name: values.mean().item() for name, values in found.values.items()}
    assert mean["accuracy"] == pytest.approx(accuracy_score(y, p.argmax(1)))
    assert mean["nll"] == pytest.approx(log_loss(y, p), rel=1e-6)
    one = [brier_score_loss(y == c, p[:, c]) for c in range(3)]
    assert mean["brier"] == pytest.approx(sum(one), rel=1e-6)
    assert found.tables["confusion"] == confusion_matrix(y, p.argmax(1)).tolist()
    assert all(len(values) == 200 for values in found.values.values())
    assert np.array_equal(found.true, y)
    assert np.array_equal(found.predicted, p.argmax(1))


def test_a_batch_changes_nothing(guesses):
    whole, parts = predicted(*guesses, batch=500), predicted(*guesses, batch=3)
    for name, values in whole.values.items():
        assert torch.equal(values, parts.values[name])
    assert whole.whole == parts.whole


def test_one_sigmoid_a_class_is_made_a_distribution():
    found = predicted(np.array([[0.8, 0.2, 0.6], [0.0, 0.0, 0.0]]), np.array([2, 0]))
    assert found.values["nll"][0].item() == pytest.approx(-np.log(0.6 / 1.6))
    assert found.values["nll"].isfinite().all()  # a class that was excluded costs 85 nats
    assert 85 < found.values["nll"][1] < 86


def test_calibration_error_is_the_mean_gap_of_fifteen_bins(guesses):
    p, y = guesses
    value, low, high = predicted(p, y).whole["calibration"]
    p = p.astype(float) / p.astype(float).sum(1, keepdims=True)
    confidence, right = p.max(1), p.argmax(1) == y
    wanted = 0.0
    for b in range(15):
        here = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if here.any():
            wanted += here.mean() * abs(right[here].mean() - confidence[here].mean())
    assert value == pytest.approx(wanted, rel=1e-9)
    assert low <= value <= high
    assert high - low < 0.2


def test_calibration_table_has_the_bins(guesses):
    p, y = guesses
    table = predicted(p, y).tables["calibration"]
    assert sum(table["count"]) == 200
    assert table["confidence"][0] is None  # of three classes one has a third at least
    for b, (confidence, accuracy, count) in enumerate(zip(*table.values(), strict=True)):
        assert (confidence is None) == (accuracy is None) == (count == 0)
        assert count == 0 or b / 15 <= confidence <= (b + 1) / 15
    assert measured.bin_of(np.array([0.0, 1 / 15, 0.5, 1.0])).tolist() == [0, 0, 7, 14]


def test_calibration_tells_the_calibrated_from_the_boaster():
    n = 4000
    confidence = RNG.uniform(0.4, 1, n)
    honest = (RNG.random(n) < confidence).astype(float)
    boaster = (RNG.random(n) < confidence - 0.2).astype(float)
    value, _, high = measured.calibration_error(confidence, honest)
    assert value < high < 0.05
    value, low, high = measured.calibration_error(confidence, boaster)
    assert low < 0.2 < high
    assert 0.17 < low < value < high < 0.23


def test_calibration_of_the_perfect_is_zero():
    assert measured.calibration_error(np.ones(20), np.ones(20)) == (0.0, 0.0, 0.0)
    value, low, high = measured.calibration_error(np.array([0.9]), np.array([1.0]))
    assert value == pytest.approx(0.1)
    assert low <= value <= high


def test_values_are_scored_in_the_tables_own_units():
    y = RNG.normal(size=(60, 2))
    x = y + 0.5 * RNG.normal(size=(60, 2))
    std, mean = (10.0, 0.1), (100.0, -3.0)
    found = predicted(x, y, target_std=std, target_mean=mean)
    own, guess = y * std + mean, x * std + mean
    assert found.values["mse"].mean().item() == pytest.approx(mean_squared_error(own, guess))
    assert found.values["mae"].mean().item() == pytest.approx(mean_absolute_error(own, guess))
    value, low, high = found.whole["r2"]
    assert value == pytest.approx(r2_score(own, guess))
    assert low < value < high
    assert not found.tables
    assert np.allclose(found.true, own)
    assert np.allclose(found.predicted, guess)


def test_a_constant_target_has_no_r2():
    found = predicted(RNG.normal(size=(10, 1)), np.ones((10, 1)))
    assert "r2" not in found.whole
    assert set(found.values) == {"mse", "mae"}


def test_a_diverged_model_has_no_interval():
    found = predicted(np.full((10, 1), np.nan), RNG.normal(size=(10, 1)))
    assert np.isnan(found.whole["r2"]).all()
    found = predicted(np.full((10, 3), np.nan), RNG.integers(0, 3, 10))
    assert np.isnan(found.whole["calibration"][0])


# ---- the figure


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.slow), 20_000])
def test_reliability_diagram(n, tmp_path):
    confidence = 1 - RNG.uniform(0, 1, n) ** 3 * 0.8
    right = (RNG.random(n) < confidence - 0.1).astype(float)
    path = tmp_path / "calibration.png"
    table = measured.calibration_table(confidence, right)
    bounds = np.full(len(table["count"]), 0.4), np.full(len(table["count"]), 0.6)
    reliability(path, table, bounds, title="mlp on digits")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert image.width < 900
        assert len(image.convert("L").getcolors()) > 20
