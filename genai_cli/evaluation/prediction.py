"""Quality of a supervised model: accuracy and calibration of classes, errors of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.intervals import RESAMPLES
from genai_cli.models.base import Model
from genai_cli.rng import derive_seed

BINS = 15  # of the confidence (Guo et al. 2017)
TINY = 1e-37  # least probability of a class: what float32 cannot hold costs 85 nats, not infinity


class Prediction(NamedTuple):
    """Numbers of a test split."""

    values: dict[str, Tensor]  # per example, (n,) double
    whole: dict[str, tuple[float, float, float]]  # of all at once: value and 95 % interval
    tables: dict[str, Any]  # confusion, calibration: plain lists
    true: np.ndarray  # (n,) classes, or (n, K) values in the table's units
    predicted: np.ndarray


@torch.no_grad()
def prediction(
    model: Model, data: Dataset, *, n: int, batch: int, tick: Callable[[int], None]
) -> Prediction:
    """Measure predictions: accuracy, nll, brier, calibration of labels; mse, mae, r2 of values.

    Args:
        model: in evaluation mode, with a `predict`.
        data: on the model's device.
        n: test examples, see `subset`.
        batch: examples in the model at once.
        tick: called with how many more are done.
    """
    outputs, targets = [], []
    for part in data.test.batches(subset(data.test, n).split(batch)):
        outputs.append(model.predict(part.x).cpu().double())
        targets.append(part.y.cpu())
        tick(len(part.x))
    predicted, target = torch.cat(outputs), torch.cat(targets)
    return (
        _classes(predicted, target)
        if data.spec.target == "labels"
        else _numbers(predicted, target, data)
    )


# ---- classes


def _classes(p: Tensor, y: Tensor) -> Prediction:
    """From probabilities (n, C) and labels (n,)."""
    p = p.clamp_min(0) / p.clamp_min(0).sum(1, keepdim=True).clamp_min(TINY)  # one sigmoid a class
    top = p.max(1)
    right = (top.indices == y).double()
    ones = torch.nn.functional.one_hot(y, p.shape[1]).double()
    values = {
        "accuracy": right,
        "nll": -p.gather(1, y[:, None])[:, 0].clamp_min(TINY).log(),
        "brier": (p - ones).square().sum(1),  # over the classes: 0 … 2 (Brier 1950, eq. 2)
    }
    confidence, hit = top.values.numpy(), right.numpy()
    counts = torch.bincount(y * p.shape[1] + top.indices, minlength=p.shape[1] ** 2)
    tables = {
        "confusion": counts.view(p.shape[1], -1).tolist(),
        "calibration": calibration_table(confidence, hit),
    }
    whole = {"calibration": calibration_error(confidence, hit)}
    return Prediction(values, whole, tables, y.numpy(), top.indices.numpy())


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """(n,) the bin of each confidence, ((b) / 15, (b + 1) / 15], b = 0 … 14."""
    return np.clip(np.ceil(np.nan_to_num(confidence) * BINS).astype(int) - 1, 0, BINS - 1)


def calibration_table(confidence: np.ndarray, right: np.ndarray) -> dict[str, list]:
    """Mean confidence, accuracy and count of each of 15 equal bins; None where a bin is empty."""
    bins = bin_of(confidence)
    count = np.bincount(bins, minlength=BINS)
    columns: dict[str, list] = {}
    for name, values in (("confidence", confidence), ("accuracy", right)):
        sums = np.bincount(bins, values, BINS)
        means = zip(sums.tolist(), count.tolist(), strict=True)
        columns[name] = [s / c if c and np.isfinite(s) else None for s, c in means]
    return columns | {"count": count.tolist()}


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """Expected calibration error Σ_b n_b / n |acc_b − conf_b| (Guo et al. 2017, eq. 3), interval.

    Args:
        confidence: (n,) probability of the class that was chosen.
        right: (n,) 1 where it was the right one, else 0.
        seed: of the resamples.

    Sums of absolute values grow with their noise: the error is biased upwards by about 1 / √n, and
    its resamples again. The interval is the bias-corrected percentile one (Efron & Tibshirani
    1993, section 14.3), which undoes the latter.
    """
    bins, gap = bin_of(confidence), right - confidence

    def statistic(times: np.ndarray) -> float:
        return np.abs(np.bincount(bins, times * gap, BINS)).sum() / len(bins)

    return bootstrap_classes(statistic, len(bins), "calibration", seed)


def bootstrap_classes(
    statistic: Callable[[np.ndarray], float], n: int, purpose: str, seed: int = 0
) -> tuple[float, float, float]:
    """(value, low, high): the bias-corrected 95 % percentile interval of ``statistic(times)``.

    ``times`` (n,) says how often each example counts: once for the value.
    """
    rng = np.random.default_rng(derive_seed(seed, purpose))
    value = statistic(np.ones(n))
    drawn = np.array(
        [
            statistic(np.bincount(rng.integers(0, n, n), minlength=n).astype(float))
            for _ in range(RESAMPLES)
        ]
    )
    drawn = drawn[np.isfinite(drawn)]  # a resample of one value has no r2
    if not (np.isfinite(value) and len(drawn)):  # a diverged model
        return float(value), float("nan"), float("nan")
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    z0 = ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    low, high = np.quantile(drawn, ndtr(2 * z0 + ndtri([0.025, 0.975])))
    # the value may lie outside of all its resamples: a perfect classifier, or three examples
    return float(value), float(min(low, value)), float(max(high, value))


# ---- values


def _numbers(predicted: Tensor, target: Tensor, data: Dataset) -> Prediction:
    """From values (n, K), standardised or not, to errors in the table's own units."""
    spec = data.spec
    std = torch.tensor(spec.target_std or (1.0,), dtype=torch.float64)
    mean = torch.tensor(spec.target_mean or (0.0,), dtype=torch.float64)
    predicted, target = predicted * std + mean, target.double() * std + mean
    error = predicted - target
    values = {"mse": error.square().mean(1), "mae": error.abs().mean(1)}
    square, y = error.square().numpy(), target.numpy()

    def r2(times: np.ndarray) -> float:
        """1 − Σ error² / Σ (y − mean)², the mean over the targets."""
        weights = times / times.sum()
        spread = weights @ np.square(y - weights @ y)
        return float((1 - weights @ square / np.where(spread > 0, spread, np.nan)).mean())

    whole = {}
    if (y != y[0]).any(0).all():  # a constant has nothing to explain
        whole["r2"] = bootstrap_classes(r2, len(y), "r2")
    return Prediction(values, whole, {}, y, predicted.numpy())
