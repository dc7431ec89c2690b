"""Signs that several rules ask for; each a number or a yes, of one run."""

from __future__ import annotations

import numpy as np

from genai_cli.doctor import limits
from genai_cli.doctor.curve import Curve
from genai_cli.doctor.reading import Reading


def rate(r: Reading) -> float | None:
    """The rate over the usual one; None where there is no usual one."""
    lr = r.setting("optimizer.lr")
    if r.setting("optimizer.name") not in limits.ADAPTIVE or not lr:
        return None
    return float(lr) / limits.USUAL


def fall(r: Reading) -> float:
    """From the higher of the two first losses to the best of either."""
    curves = [c for c in (r.train, r.val) if c is not None]
    return max(c.start for c in curves) - min(c.best for c in curves)


def fall_of_validation(t: Curve, v: Curve) -> float:
    return max(t.start, v.start) - v.best


def unrest(r: Reading) -> float:
    """Of training and validation the calmer: what only one shows is its own noise."""
    return min(c.unrest for c in (r.train, r.val) if c is not None)


def blast(r: Reading) -> float:
    """How far the first epoch's mean lies above the loss after it, in sizes of that loss or of
    what was gained from then on."""
    if r.train is None or r.val is None:
        return 0.0
    size = max(abs(r.val.start), r.val.start - r.val.best)
    return (r.train.start - r.val.start) / max(size, 1e-30)


def regularised(r: Reading) -> bool:
    """Whether something acts in training only."""
    return any(r.setting(key) for key in limits.REGULARISERS)


def errors(r: Reading) -> tuple[float | None, float | None]:
    """Squared errors of the model and of the mean example, or mean target, in its place."""
    if (r2 := r.number("test/r2")) is not None:
        return 1 - r2, 1.0
    return r.number("own_mse"), r.number("mean_mse")


def on_its_way(r: Reading) -> bool:
    """Still falling to the mean image, or away from it: every run passes it."""
    own, mean = errors(r)
    dead = (rate(r) or 0.0) >= limits.FAR_ABOVE  # it will not get there
    if own is not None and mean and own > limits.ABOVE_MEAN * mean and not dead:
        return True
    c = r.val or r.train
    return c is not None and c.late > limits.LEAVING


def players(r: Reading) -> tuple[float, float] | None:
    """D's mean probabilities for real and generated examples in the last fifth of the epochs."""
    if r.setting("loss.name") not in ("minimax", "nonsaturating"):
        return None
    columns = [r.column(f"train/discriminator/d_{name}") for name in ("real", "fake")]
    if any(c is None or not len(c) for c in columns):
        return None
    real, fake = (float(np.mean(c[-max(1, len(c) // 5) :])) for c in columns)
    return real, fake


def poor_samples(r: Reading) -> bool:
    covered = r.number("sample_coverage")
    return covered is None or covered < limits.UNCOVERED
