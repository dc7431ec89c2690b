"""Diagnostic numbers of a trained model that no loss curve shows, for `genai doctor`.

They are no measures of quality: few examples, no interval, nothing is ranked by them. One pass
through `EXAMPLES` test examples each, some milliseconds in all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genai_cli.data.dataset import Batch, Dataset, Split
from genai_cli.models.base import Model
from genai_cli.rng import generator
from genai_cli.training.loop import calibrate, evaluate
from genai_cli.training.state import Training

EXAMPLES = 256  # a share of variance is then known to some 10 %, and doctor's limits are far apart
PAIRED = 500  # validation examples on which weights and their average are compared
NEIGHBOURS = 5  # k of the coverage
LARGEST = 1e30  # JSON has no infinity


@torch.no_grad()
def measure(model: Model, data: Dataset, seed: int) -> dict[str, float]:
    """Return the diagnostics the family has, in data space; {} without a test split:

    - ``own_mse``, ``mean_mse``, ``swapped_mse``: mean squared error per element of the
      reconstruction, of the mean training example in its place, and of the reconstruction from
      the code of another example. Of class probabilities (Brier 1950, eq. 2, over the classes)
      the first two: the predicted ones, and the shares of the training classes in their place.
    - ``code_deviation``: largest standard deviation of a number of the code over the examples.
    - ``inverse_error``: largest |x − f⁻¹(f(x))| over the standard deviation of the data.
    - ``sample_spread``: variance of samples over that of test examples, of all elements together.
    - ``sample_coverage``: share of test examples that have a sample nearer than their 5th nearest
      test example (Naeem et al. 2020, eq. 6, in data space). About 0.97 for perfect samples.
    """
    if len(data.test) < 2:
        return {}
    model.eval()
    batch = _first(data.test)
    x = batch.x
    out: dict[str, float] = {}
    coded = hasattr(model, "reconstruct") and model.reconstructs_by == "code"
    if coded and hasattr(model, "encode") and hasattr(model, "decode"):
        pair = data.spec.target == "image"
        first = _first(data.train, 4 * EXAMPLES)
        target, mean = (batch.y, first.y.mean(0)) if pair else (x, first.x.mean(0))
        codes = model.encode(x)
        out["own_mse"] = _mse(model.decode(codes), target)
        out["mean_mse"] = _mse(mean, target)
        out["swapped_mse"] = _mse(model.decode(codes.roll(1, 0)), target)
        out["code_deviation"] = float(codes.std(0).max())
    if data.spec.target == "labels" and hasattr(model, "predict"):
        classes = len(data.spec.classes)
        shares = one_hot(_first(data.train, len(data.train)).y.long(), classes).float().mean(0)
        target = one_hot(batch.y.long(), classes).float()
        out["own_mse"] = _mse(model.predict(x), target)
        out["mean_mse"] = _mse(shares, target)
    if hasattr(model, "reconstruct") and model.reconstructs_by == "inversion":
        error = (model.reconstruct(x) - x).abs().max() / x.std().clamp_min(1e-12)
        out["inverse_error"] = float(error.nan_to_num(nan=LARGEST, posinf=LARGEST))
    if len(model.players()) > 1 and hasattr(model, "sample"):  # others' samples cost many passes
        out |= _of_samples(model, x, seed)
    return {name: value for name, value in out.items() if math.isfinite(value)}


def unaveraged_loss(
    run: Training, data: Dataset, seed: int, precision: str, averaged: float
) -> dict[str, float]:
    """Return ``raw_loss``, the validation loss without weight averaging, of a short run.

    Short is a run of fewer steps than the average is long, 1 / (1 − decay).

    Of a large split it is ``averaged``, the validation loss of the averaged weights, plus the
    difference of the two on the first `PAIRED` examples, with the same noise.
    """
    if run.ema is None or run.step * (1 - run.ema.decay) >= 1 or len(run.players) > 1:
        return {}
    few = PAIRED if len(data.val) > 2 * PAIRED else None

    def validated() -> float:
        calibrate(run, data, seed)
        means = evaluate(run, data.val, seed, "validation", precision, few)
        return means.get("loss", math.nan)

    loss = validated()
    if few is not None:
        with run.averaged():
            loss += averaged - validated()
    return {"raw_loss": loss} if math.isfinite(loss) else {}


def _mse(prediction: Tensor, target: Tensor) -> float:
    return float((prediction - target).square().mean())


def _first(split: Split, n: int = EXAMPLES) -> Batch:
    return split.batch(torch.arange(min(n, len(split))))


def _of_samples(model: Model, x: Tensor, seed: int) -> dict[str, float]:
    """Of as many samples as x (n, *event) has examples."""
    drawn = model.sample(len(x), generator=generator(seed, "evidence", 0, x.device)).flatten(1)
    real = x.flatten(1)
    radius = torch.cdist(real, real).kthvalue(min(NEIGHBOURS + 1, len(real)), dim=1).values
    covered = torch.cdist(real, drawn).min(1).values <= radius
    spread = drawn.var(0).sum() / real.var(0).sum().clamp_min(1e-12)
    return {"sample_spread": float(spread), "sample_coverage": float(covered.float().mean())}
