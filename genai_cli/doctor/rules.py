"""The rules of the doctor: each gives one finding for a run, or none.

The limits, with their reasons, stand in limits.py. Shares are of the fall: from the first epoch's
loss to the best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genai_cli.doctor import limits, signs
from genai_cli.doctor.advice import make_finding
from genai_cli.doctor.curve import TAIL
from genai_cli.doctor.finding import Finding, below, beyond
from genai_cli.doctor.healthy import healthy
from genai_cli.doctor.reading import Reading
from genai_cli.system.text import format_number

Rule = Callable[[Reading], Finding | None]


def examine(r: Reading) -> list[Finding]:
    """Return the findings of a run: a misfit of loss and activation, and the first rule that holds.

    Later rules of `order` would report only effects of the first. A healthy run gets exactly one
    of the two healthy phrases.
    """
    if over := diverged(r):
        return [over]
    first = next(filter(None, (rule(r) for rule in order(r))), None)
    return [f for f in (unfit(r), first) if f] or [healthy(r)]


def order(r: Reading) -> tuple[Rule, ...]:
    """Return the rules in order, causes before their effects.

    A network that has not learned shows nothing about one that has hardly begun.
    """
    inside = (
        *(generator_vanishing, discriminator_won, mode_collapse, inverse_error),
        rate_far_too_high,  # a dead network ignores its code, too
        *(posterior_collapse, code_ignored, mean_collapse),
    )
    return (
        *(rate_too_low, ema_too_young),  # everything is then as it was before the training
        *(inside if r.steps >= limits.FEWEST_STEPS else ()),
        *((overfitting, plateau, jumps) if signs.has_learned(r) else ()),  # shapes of a fall
        *(rate_too_high, validation_below),
    )


def unfit(r: Reading) -> Finding | None:
    loss, activation = r.setting("loss.name"), r.setting("model.output_activation")
    if loss not in limits.ACTIVATIONS_OF_LOSS or activation in (None, "auto"):
        return None
    fits = limits.ACTIVATIONS_OF_LOSS[loss]
    if "test/accuracy" in r.numbers and loss not in ("bce", "cce", "kl"):
        fits = ()
    if activation in fits:
        return None
    goes = f"{loss} goes with {' or '.join(fits)}" if fits else f"{loss} is no loss for classes"
    return make_finding(
        "loss does not fit the activation", r, f"{loss} on {activation} outputs; {goes}", 1
    )


def diverged(r: Reading) -> Finding | None:
    if r.failure:
        return make_finding("diverged", r, r.failure, 1)
    for name in ("train/loss", "val/loss"):
        values = r.column(name)
        if values is None or not len(values):
            continue
        lost = np.isinf(values) | (np.isnan(values) & np.isnan(values[-1]))  # or cells left empty
        if lost.any() and (name == "train/loss" or not lost.all()):
            epoch = r.epochs[lost][0]
            evidence = f"{name} is no number from epoch {int(epoch)}"
            return make_finding("diverged", r, evidence, 1, epoch)
    c = r.train
    if c is None or len(c) < 2:
        return None
    size = max(abs(c.start), c.fall)
    if c.end - c.start > limits.LOSS_RISE * size:
        ratio = (c.end - c.start) / size
        evidence = f"training loss {format_number(c.start)} → {format_number(c.end)}"
        return make_finding("diverged", r, evidence, beyond(ratio, limits.LOSS_RISE), c.best_epoch)
    return None


def rate_too_low(r: Reading) -> Finding | None:
    c, rate = r.val or r.train, signs.rate(r)  # validation: its noise is the same in every epoch
    if c is None or len(c) < 4 or (rate is not None and rate > 1 / 3):
        return None
    known = rate is not None and rate <= 1 / limits.RATE_FAR_BELOW
    whole = c.start - c.end
    if whole <= limits.FALL_OVER_NOISE * c.noise or c.unrest > limits.UNREST / 2:
        return None
    early = (c.start - c.level(0.5)) / whole
    limit = 0.85 if known else limits.EARLY_FALL
    if not early < limit:
        return None
    if not known and (early < limits.STRAIGHT_LINE or c.fall > limits.SLIGHT_FALL * abs(c.start)):
        return None
    evidence = f"the loss falls on a straight line: {early:.0%} of its fall in half of the epochs"
    if known:
        evidence += f", at {rate:.3g} times the usual rate of {limits.USUAL_RATE:g}"
    return make_finding(
        "learning rate too low", r, evidence, 0.95 if known else below(early - 0.4, 0.4)
    )


def rate_far_too_high(r: Reading) -> Finding | None:
    """Return `rate_too_high` only where the learning rate is far above the usual one."""
    return rate_too_high(r) if (signs.rate(r) or 0.0) >= limits.RATE_FAR_ABOVE else None


def rate_too_high(r: Reading) -> Finding | None:
    c, rate = r.train, signs.rate(r)
    if c is None or len(c) < 4:
        return None
    known = rate is not None and rate >= limits.RATE_FAR_ABOVE
    blast, limit = (
        signs.blast(r),
        limits.FIRST_EPOCH_EXCESS if r.family else limits.FIRST_EPOCH_EXCESS_CSV,
    )
    stays = r.val is not None and r.val.start - r.val.best < limits.GAIN_AFTER_EXCESS * abs(
        r.val.start
    )
    huge = r.family and blast > limits.FIRST_EPOCH_EXCESS_CSV  # ours are scaled: no large units
    if huge or (blast > limit and (known or (stays and (rate is None or rate > 3)))):
        evidence = (
            f"training began with {format_number(c.start)} on average of its first epoch, "
            f"after which validation had {format_number(r.val.start)}"
        )
        return make_finding("learning rate too high", r, evidence, beyond(blast, limit))
    if known and signs.climb(c) > limits.LOSS_RISE:
        evidence = (
            f"at {rate:.3g} times the usual rate of {limits.USUAL_RATE:g} the training loss rose "
            f"from {format_number(c.start)} to {format_number(c.values.max())} before it fell"
        )
        return make_finding("learning rate too high", r, evidence, 0.9)
    if known and c.level(0.2) - c.end < limits.GAIN_AFTER_FIFTH * c.fall:
        evidence = (
            f"at {rate:.3g} times the usual rate of {limits.USUAL_RATE:g} nothing is gained after "
            "the first fifth of the epochs"
        )
        return make_finding("learning rate too high", r, evidence, 0.9)
    limit, unrest = limits.UNREST / 3 if known else limits.UNREST, signs.unrest(r)
    if unrest > limit and (known or signs.has_learned(r)):
        evidence = f"one epoch in five rises by {unrest:.1%} of the whole fall and more"
        if known:
            evidence += f", at {rate:.3g} times the usual rate of {limits.USUAL_RATE:g}"
        return make_finding("learning rate too high", r, evidence, beyond(unrest, limit))
    return None


def jumps(r: Reading) -> Finding | None:
    curves = [c for c in (r.train, r.val) if c is not None and len(c) >= 8]
    if not curves or signs.unrest(r) > limits.UNREST:
        return None
    leaps = [
        c.spikes(max(limits.SPIKE_RISE * c.fall, limits.SPIKE_NOISES * c.noise)) for c in curves
    ]
    c, rows = max(zip(curves, leaps, strict=True), key=lambda pair: len(pair[1]))
    if len(rows) < 2:
        return None
    highest = max(c.values[i] - c.values[i - 1] for i in rows) / c.fall
    evidence = f"{len(rows)} leaps of up to {highest:.0%} of the fall, each recovered"
    return make_finding("jumps", r, evidence, beyond(len(rows), 1), c.epochs[rows[0]])


def plateau(r: Reading) -> Finding | None:
    c = r.train
    if c is None or len(c) < 5:
        return None
    first, last, behind = c.flat
    share = (last - first) / max(1, c.learned)
    if share < limits.PLATEAU_EPOCHS or last - first < 2:
        return None
    evidence = (
        f"no fall from epoch {int(c.epochs[first])} to {int(c.epochs[last])}, then "
        f"{behind:.0%} of the whole"
    )
    return make_finding(
        "plateau then fall", r, evidence, beyond(share, limits.PLATEAU_EPOCHS), c.epochs[last]
    )


def overfitting(r: Reading) -> Finding | None:
    t, v = r.train, r.val
    if t is None or v is None or len(v) < 4:
        return None
    fall = max(signs.fall_of_validation(t, v), 1e-30)
    rose = (v.end - v.best) / fall
    at = int(v.smooth.argmin())
    noise = 3 * v.noise / np.sqrt(max(1, len(v) // TAIL))  # of the level of the end
    learned = t.end < t.smooth[min(at, len(t) - 1)]
    if rose < limits.VALIDATION_RISE or not learned or v.end < t.end or v.end - v.best < noise:
        return None
    evidence = (
        f"validation {format_number(v.best)} → {format_number(v.end)} "
        f"while training fell to {format_number(t.end)}"
    )
    return make_finding(
        "overfitting", r, evidence, beyond(rose, limits.VALIDATION_RISE), v.best_epoch
    )


def validation_below(r: Reading) -> Finding | None:
    t, v = r.train, r.val
    if t is None or v is None or len(t) != len(v) or len(v) < 4:
        return None
    later = t.values[1:] - v.values[:-1]  # of the next epoch: an epoch's mean lags behind its end
    later = later[len(later) // 2 :]
    gap = float(np.median(later)) / max(signs.fall(r), 1e-30)
    limit = limits.VALIDATION_GAP if signs.has_regulariser(r) else limits.VALIDATION_GAP_CSV
    if (r.family and not signs.has_regulariser(r)) or gap < limit or (later > 0).mean() < 0.8:
        return None
    evidence = (
        f"validation {format_number(v.end)}, training {format_number(t.end)}: "
        f"{gap:.0%} of the fall between"
    )
    return make_finding("validation below training", r, evidence, beyond(gap, limit))


def posterior_collapse(r: Reading) -> Finding | None:
    nats, active = r.number("test/kl"), r.number("test/active_units")
    if nats is None or active is None or nats > limits.CODE_NATS or active > 0:
        return None
    beta = float(r.setting("model.beta") or 1)
    if beta < limits.LARGE_BETA and signs.passes_mean_error(r):
        return None
    evidence = f"{format_number(nats)} nats in the code, no active unit" + f", beta {beta:g}" * (
        beta != 1
    )
    return make_finding("posterior collapse", r, evidence, below(nats, limits.CODE_NATS))


def code_ignored(r: Reading) -> Finding | None:
    error, swapped, deviation = map(r.number, ("own_mse", "swapped_mse", "code_deviation"))
    if (
        None in (error, swapped, deviation)
        or deviation < limits.CODE_DEVIATION
        or swapped > limits.SWAPPED_ERROR * error
    ):
        return None
    if "test/kl" in r.numbers:  # posterior collapse says it
        return None
    evidence = (
        f"with another example's code the error is {format_number(swapped)}, "
        f"with its own {format_number(error)}"
    )
    return make_finding(
        "decoder ignores the code",
        r,
        evidence,
        below(abs(swapped / error - 1), limits.SWAPPED_ERROR - 1),
    )


def mean_collapse(r: Reading) -> Finding | None:
    error, mean = signs.errors(r)
    if error is None or mean is None or signs.passes_mean_error(r):
        return None
    if not limits.MEAN_ERROR * mean < error < limits.ABOVE_MEAN_ERROR * mean:
        return None
    evidence = f"error {error / mean:.0%} of that of {signs.constant(r)}"
    return make_finding("mean collapse", r, evidence, beyond(error / mean, limits.MEAN_ERROR))


def generator_vanishing(r: Reading) -> Finding | None:
    p = signs.players(r)
    if (
        p is None
        or r.setting("loss.name") != "minimax"
        or p[1] > limits.VANISHING_D_FAKE
        or not signs.poor_samples(r)
    ):
        return None
    evidence = (
        f"D(G(z)) {format_number(p[1])}: so small is the gradient that minimax gives the generator"
    )
    return make_finding("generator vanishing", r, evidence, below(p[1], limits.VANISHING_D_FAKE))


def discriminator_won(r: Reading) -> Finding | None:
    p = signs.players(r)
    if (
        p is None
        or p[1] > limits.CERTAIN_D
        or p[0] < 1 - limits.CERTAIN_D
        or not signs.poor_samples(r)
    ):
        return None
    evidence = f"D(x) {format_number(p[0])}, D(G(z)) {format_number(p[1])}"
    return make_finding(
        "discriminator won", r, evidence, below(max(p[1], 1 - p[0]), limits.CERTAIN_D)
    )


def mode_collapse(r: Reading) -> Finding | None:
    covered, spread = r.number("sample_coverage"), r.number("sample_spread")
    if (
        covered is None
        or spread is None
        or not (covered < limits.SAMPLE_COVERAGE or spread < limits.SAMPLE_VARIANCE)
    ):
        return None
    evidence = (
        f"samples reach {covered:.0%} of the test examples, with {spread:.0%} of their variance"
    )
    return make_finding(
        "mode collapse",
        r,
        evidence,
        below(min(covered / limits.SAMPLE_COVERAGE, spread / limits.SAMPLE_VARIANCE), 1),
    )


def inverse_error(r: Reading) -> Finding | None:
    error = r.number("inverse_error")
    if error is None or error < limits.INVERSE_ERROR:
        return None
    evidence = f"there and back changes an example by {format_number(error)} deviations of the data"
    return make_finding("inverse error", r, evidence, beyond(error, limits.INVERSE_ERROR))


def ema_too_young(r: Reading) -> Finding | None:
    decay, raw = r.setting("trainer.ema"), r.number("raw_loss")
    if not decay or raw is None or r.val is None or r.train is None:
        return None
    fall = max(signs.fall(r), max(r.train.start, r.val.start) - raw)
    behind = (float(r.val.values[-1]) - raw) / max(fall, 1e-30)
    if behind < limits.EMA_LAG:
        return None
    evidence = (
        f"{r.steps:.0f} steps for an average over {1 / (1 - decay):.0f}: validation "
        f"{format_number(float(r.val.values[-1]))}, without averaging {format_number(raw)}"
    )
    return make_finding("EMA too young", r, evidence, beyond(behind, limits.EMA_LAG))
