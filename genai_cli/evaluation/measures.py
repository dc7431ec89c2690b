"""All measures of `genai evaluate` with name, unit and direction; imports no torch.

`value_entry` and `missing_entry` make the entries of summary.json and evaluation.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class Measure(NamedTuple):
    """One column of the comparison."""

    name: str  # "samples/frechet"
    label: str
    unit: str
    better: Literal["lower", "higher"] | None  # None: shown, not ranked
    means: str  # in half a sentence


MEASURES = (
    Measure("reconstruction/mse", "MSE", "", "lower", "squared error an element"),
    Measure("reconstruction/psnr", "PSNR", "dB", "higher", "−10 log₁₀ MSE, the mean over images"),
    Measure("reconstruction/ssim", "SSIM", "", "higher", "structural similarity, 1 = the same"),
    Measure("likelihood/nats", "NLL", "nats", "lower", "−log p of a test example"),
    Measure("likelihood/elbo", "−ELBO", "nats", "lower", "−ELBO, one sample of z"),
    Measure("likelihood/bits_per_dim", "bits/dim", "bits", "lower", "−log₂ P an element"),
    Measure("samples/frechet", "Fréchet", "", "lower", "distance of mean and covariance"),
    Measure("samples/kernel", "kernel", "", "lower", "MMD² with a cubic kernel, as KID"),
    Measure("samples/energy", "energy", "", "lower", "energy distance, no features"),
    Measure("samples/precision", "precision", "", "higher", "samples near real examples"),
    Measure("samples/recall", "recall", "", "higher", "real examples near samples"),
    Measure("samples/density", "density", "", "higher", "real balls a sample lies in, over k"),
    Measure("samples/coverage", "coverage", "", "higher", "real balls that hold a sample"),
    Measure("samples/classes", "classes", "", "higher", "classes among the samples"),
    Measure("samples/class_distance", "class TV", "", "lower", "total variation of class shares"),
    Measure("memorisation/p", "p copied", "", None, "that samples lie no closer than test data"),
    Measure("memorisation/closer", "closer", "", None, "P(sample closer to training), 0.5 ideal"),
    Measure("prediction/accuracy", "accuracy", "", "higher", "share of right classes"),
    Measure("prediction/nll", "NLL", "nats", "lower", "−log p of the right class"),
    Measure("prediction/brier", "Brier", "", "lower", "squared error of the probabilities"),
    Measure("prediction/calibration", "ECE", "", "lower", "confidence against accuracy, 15 bins"),
    Measure("prediction/mse", "MSE", "", "lower", "squared error, in the table's units"),
    Measure("prediction/mae", "MAE", "", "lower", "absolute error, in the table's units"),
    Measure("prediction/r2", "R²", "", "higher", "share of the variance explained"),
    Measure("speed/one", "batch 1", "samples/s", "higher", "samples a second, one at a time"),
    Measure("speed/many", "batch 1024", "samples/s", "higher", "samples a second, 1,024 at a time"),
    Measure("speed/calls", "calls", "", "lower", "network calls a sample"),
    Measure("cost/seconds", "training", "s", "lower", "seconds of training"),
    Measure("cost/images", "examples seen", "", None, "training examples seen"),
    Measure("cost/parameters", "parameters", "", None, "numbers learned"),
)
BY_NAME = {measure.name: measure for measure in MEASURES}
GROUPS = tuple(dict.fromkeys(measure.name.split("/")[0] for measure in MEASURES))


def value_entry(
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    n: int,
    passport: Mapping[str, Any],
    floor: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the entry of a number with its 95 % interval (None: it has none) and passport.

    ``floor`` is what to hold it against: ``{"value", "low", "high", "n", "what"}``, PCA for a
    reconstruction, test against training images for a distance.
    """
    entry = {"value": value, "low": low, "high": high, "n": n, "passport": dict(passport)}
    return entry | ({"floor": dict(floor)} if floor else {})


def missing_entry(reason: str) -> dict[str, Any]:
    """Return the entry of a number that is missing, with its reason: "a GAN has no density"."""
    return {"value": None, "low": None, "high": None, "n": 0, "reason": reason}
