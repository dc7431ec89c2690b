"""Features of a run that several rules use."""

from __future__ import annotations

import numpy as np

from genai_cli.doctor import limits
from genai_cli.doctor.curve import Curve
from genai_cli.doctor.reading import Reading


def rate(r: Reading) -> float | None:
    """Return the learning rate over the usual one; None where there is no usual one."""
    lr = r.setting("optimizer.lr")
    if r.setting("optimizer.name") not in limits.ADAPTIVE or not lr:
        return None
    return float(lr) / limits.USUAL_RATE


def fall(r: Reading) -> float:
    """Return the fall from the higher of the two first losses to the best of either."""
    curves = [c for c in (r.train, r.val) if c is not None]
    return max(c.start for c in curves) - min(c.best for c in curves)


def fall_of_validation(t: Curve, v: Curve) -> float:
    return max(t.start, v.start) - v.best


def unrest(r: Reading) -> float:
    """Return the unrest of the calmer of training and validation; the other's may be its noise."""
    return min(c.unrest for c in (without_first_epoch(r), r.val) if c is not None)


def without_first_epoch(r: Reading) -> Curve | None:
    """Return the training curve without an outlying first epoch.

    Its mean then lies further above the loss after it than all that was gained from then on, so
    that shares of the fall would show nothing else.
    """
    t, v = r.train, r.val
    if t is None or v is None or len(t) < 5 or t.start - v.start <= v.start - v.best:
        return t
    return Curve(t.epochs[1:], t.values[1:])


def climb(c: Curve) -> float:
    """Return the rise of the loss above its first value, relative to that value or the fall."""
    return (float(c.values.max()) - c.start) / max(abs(c.start), c.fall)


def blast(r: Reading) -> float:
    """Return the excess of the first epoch's mean over the loss after it.

    It is relative to that loss or to what was gained from then on.
    """
    if r.train is None or r.val is None:
        return 0.0
    size = max(abs(r.val.start), r.val.start - r.val.best)
    return (r.train.start - r.val.start) / max(size, 1e-30)


def has_regulariser(r: Reading) -> bool:
    """Return True if a regulariser acts in training only."""
    return any(r.setting(key) for key in limits.REGULARISERS)


def errors(r: Reading) -> tuple[float | None, float | None]:
    """Return the squared errors of the model and of the mean example or mean target."""
    if (r2 := r.number("test/r2")) is not None:
        return 1 - r2, 1.0
    return r.number("own_mse"), r.number("mean_mse")


def constant(r: Reading) -> str:
    """Return the name of the constant prediction that the error is compared with."""
    return "the shares of the classes" if "test/accuracy" in r.numbers else "the mean example"


def has_fallen(c: Curve) -> bool:
    """Return True if a curve ends below its first row by more than its noise explains."""
    return c.start - c.end > limits.FALL_OVER_NOISE * c.noise


def has_learned(r: Reading) -> bool:
    """Return True if training or validation loss fell."""
    return any(has_fallen(c) for c in (r.train, r.val) if c is not None)


def passes_mean_error(r: Reading) -> bool:
    """Return True while the error still passes that of the mean image, as it does in every run."""
    error, mean = errors(r)
    dead = (rate(r) or 0.0) >= limits.RATE_FAR_ABOVE  # it will not get there
    if error is not None and mean and error > limits.ABOVE_MEAN_ERROR * mean and not dead:
        return True
    c = r.val or r.train
    return c is not None and c.late > limits.LEAVING_MEAN and has_fallen(c)


def players(r: Reading) -> tuple[float, float] | None:
    """Return D's mean outputs for real and generated examples in the last fifth of the epochs."""
    if r.setting("loss.name") not in ("minimax", "nonsaturating"):
        return None
    columns = [r.column(f"train/discriminator/d_{name}") for name in ("real", "fake")]
    if any(c is None or not len(c) for c in columns):
        return None
    real, fake = (float(np.mean(c[-max(1, len(c) // 5) :])) for c in columns)
    return real, fake


def poor_samples(r: Reading) -> bool:
    covered = r.number("sample_coverage")
    return covered is None or covered < limits.SAMPLE_COVERAGE
