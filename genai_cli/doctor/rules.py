"""The rules: each looks at one run and finds one phrase, or nothing.

The limits, with their reasons, stand in limits.py. Shares are of the fall: from the first epoch's
loss to the best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from genai_cli.doctor import limits, signs
from genai_cli.doctor.advice import found
from genai_cli.doctor.curve import TAIL
from genai_cli.doctor.finding import Finding, below, beyond
from genai_cli.doctor.healthy import healthy
from genai_cli.doctor.reading import Reading
from genai_cli.system.text import format_number

Rule = Callable[[Reading], Finding | None]


def examine(r: Reading) -> list[Finding]:
    """What a run shows: a wrong pair of loss and activation, and the first rule of `order` that
    finds anything, for what follows from a finding is none of its own. A healthy run gets one of
    the two healthy phrases and nothing else; no run gets nothing.
    """
    if over := diverged(r):
        return [over]
    first = next(filter(None, (rule(r) for rule in order(r))), None)
    return [f for f in (unfit(r), first) if f] or [healthy(r)]


def order(r: Reading) -> tuple[Rule, ...]:
    """Causes before what they cause. What a network has not learned says nothing of one that has
    hardly begun."""
    inside = (
        *(generator_vanishing, discriminator_won, mode_collapse, inverse_error),
        rate_far_too_high,  # a dead network ignores its code, too
        *(posterior_collapse, code_ignored, mean_collapse),
    )
    return (
        *(rate_too_low, ema_too_young),  # everything is then as it was before the training
        *(inside if r.steps >= limits.BEGUN else ()),
        *((overfitting, plateau, jumps) if signs.learned(r) else ()),  # shapes of a fall
        *(rate_too_high, validation_below),
    )


def unfit(r: Reading) -> Finding | None:
    loss, activation = r.setting("loss.name"), r.setting("model.output_activation")
    if loss not in limits.FITS or activation in (None, "auto"):
        return None
    fits = limits.FITS[loss]
    if "test/accuracy" in r.numbers and loss not in ("bce", "cce", "kl"):
        fits = ()
    if activation in fits:
        return None
    goes = f"{loss} goes with {' or '.join(fits)}" if fits else f"{loss} is no loss for classes"
    return found(
        "loss does not fit the activation", r, f"{loss} on {activation} outputs; {goes}", 1
    )


def diverged(r: Reading) -> Finding | None:
    if r.failure:
        return found("diverged", r, r.failure, 1)
    for name in ("train/loss", "val/loss"):
        values = r.column(name)
        if values is None or not len(values):
            continue
        lost = np.isinf(values) | (np.isnan(values) & np.isnan(values[-1]))  # or cells left empty
        if lost.any() and (name == "train/loss" or not lost.all()):
            epoch = r.epochs[lost][0]
            told = f"{name} is no number from epoch {int(epoch)}"
            return found("diverged", r, told, 1, epoch)
    c = r.train
    if c is None or len(c) < 2:
        return None
    size = max(abs(c.start), c.fall)
    if c.end - c.start > limits.BLOWN * size:
        ratio = (c.end - c.start) / size
        told = f"training loss {format_number(c.start)} → {format_number(c.end)}"
        return found("diverged", r, told, beyond(ratio, limits.BLOWN), c.best_epoch)
    return None


def rate_too_low(r: Reading) -> Finding | None:
    c, rate = r.val or r.train, signs.rate(r)  # validation: its noise is the same in every epoch
    if c is None or len(c) < 4 or (rate is not None and rate > 1 / 3):
        return None
    known = rate is not None and rate <= 1 / limits.FAR_BELOW
    whole = c.start - c.end
    if whole <= limits.ABOVE_NOISE * c.noise or c.unrest > limits.RESTLESS / 2:
        return None
    early = (c.start - c.level(0.5)) / whole
    limit = 0.85 if known else limits.EARLY
    if not early < limit:
        return None
    if not known and (early < limits.STRAIGHT or c.fall > limits.SLIGHT * abs(c.start)):
        return None
    told = f"the loss falls on a straight line: {early:.0%} of its fall in half of the epochs"
    if known:
        told += f", at {rate:.3g} times the usual rate of {limits.USUAL:g}"
    return found("learning rate too low", r, told, 0.95 if known else below(early - 0.4, 0.4))


def rate_far_too_high(r: Reading) -> Finding | None:
    """`rate_too_high` where the rate says so, too."""
    return rate_too_high(r) if (signs.rate(r) or 0.0) >= limits.FAR_ABOVE else None


def rate_too_high(r: Reading) -> Finding | None:
    c, rate = r.train, signs.rate(r)
    if c is None or len(c) < 4:
        return None
    known = rate is not None and rate >= limits.FAR_ABOVE
    blast, limit = signs.blast(r), limits.BLAST if r.family else limits.BLAST_UNKNOWN
    stays = r.val is not None and r.val.start - r.val.best < limits.STAYS * abs(r.val.start)
    huge = r.family and blast > limits.BLAST_UNKNOWN  # ours are scaled: no large units
    if huge or (blast > limit and (known or (stays and (rate is None or rate > 3)))):
        told = (f"training began with {format_number(c.start)} on average of its first epoch, "
                f"after which validation had {format_number(r.val.start)}")  # fmt: skip
        return found("learning rate too high", r, told, beyond(blast, limit))
    if known and signs.climb(c) > limits.BLOWN:
        told = (f"at {rate:.3g} times the usual rate of {limits.USUAL:g} the training loss rose "
                f"from {format_number(c.start)} to {format_number(c.values.max())} "
                "before it fell")  # fmt: skip
        return found("learning rate too high", r, told, 0.9)
    if known and c.level(0.2) - c.end < limits.STUCK * c.fall:
        told = (f"at {rate:.3g} times the usual rate of {limits.USUAL:g} nothing is gained after "
                "the first fifth of the epochs")  # fmt: skip
        return found("learning rate too high", r, told, 0.9)
    limit, unrest = limits.RESTLESS / 3 if known else limits.RESTLESS, signs.unrest(r)
    if unrest > limit and (known or signs.learned(r)):
        told = f"one epoch in five rises by {unrest:.1%} of the whole fall and more"
        if known:
            told += f", at {rate:.3g} times the usual rate of {limits.USUAL:g}"
        return found("learning rate too high", r, told, beyond(unrest, limit))
    return None


def jumps(r: Reading) -> Finding | None:
    curves = [c for c in (r.train, r.val) if c is not None and len(c) >= 8]
    if not curves or signs.unrest(r) > limits.RESTLESS:
        return None
    leaps = [c.spikes(max(limits.LEAP * c.fall, limits.NOISES * c.noise)) for c in curves]
    c, rows = max(zip(curves, leaps, strict=True), key=lambda pair: len(pair[1]))
    if len(rows) < 2:
        return None
    highest = max(c.values[i] - c.values[i - 1] for i in rows) / c.fall
    told = f"{len(rows)} leaps of up to {highest:.0%} of the fall, each recovered"
    return found("jumps", r, told, beyond(len(rows), 1), c.epochs[rows[0]])


def plateau(r: Reading) -> Finding | None:
    c = r.train
    if c is None or len(c) < 5:
        return None
    first, last, behind = c.flat
    share = (last - first) / max(1, c.learned)
    if share < limits.PLATEAU or last - first < 2:
        return None
    told = (f"no fall from epoch {int(c.epochs[first])} to {int(c.epochs[last])}, then "
            f"{behind:.0%} of the whole")  # fmt: skip
    return found("plateau then fall", r, told, beyond(share, limits.PLATEAU), c.epochs[last])


def overfitting(r: Reading) -> Finding | None:
    t, v = r.train, r.val
    if t is None or v is None or len(v) < 4:
        return None
    fall = max(signs.fall_of_validation(t, v), 1e-30)
    rose = (v.end - v.best) / fall
    at = int(v.smooth.argmin())
    noise = 3 * v.noise / np.sqrt(max(1, len(v) // TAIL))  # of the level of the end
    learned = t.end < t.smooth[min(at, len(t) - 1)]
    if rose < limits.ROSE or not learned or v.end < t.end or v.end - v.best < noise:
        return None
    told = (f"validation {format_number(v.best)} → {format_number(v.end)} while training fell to "
            f"{format_number(t.end)}")  # fmt: skip
    return found("overfitting", r, told, beyond(rose, limits.ROSE), v.best_epoch)


def validation_below(r: Reading) -> Finding | None:
    t, v = r.train, r.val
    if t is None or v is None or len(t) != len(v) or len(v) < 4:
        return None
    later = t.values[1:] - v.values[:-1]  # of the next epoch: an epoch's mean lags behind its end
    later = later[len(later) // 2 :]
    gap = float(np.median(later)) / max(signs.fall(r), 1e-30)
    limit = limits.GAP if signs.regularised(r) else limits.GAP_UNKNOWN
    if (r.family and not signs.regularised(r)) or gap < limit or (later > 0).mean() < 0.8:
        return None
    told = (f"validation {format_number(v.end)}, training {format_number(t.end)}: "
            f"{gap:.0%} of the fall between")  # fmt: skip
    return found("validation below training", r, told, beyond(gap, limit))


def posterior_collapse(r: Reading) -> Finding | None:
    nats, active = r.number("test/kl"), r.number("test/active_units")
    if nats is None or active is None or nats > limits.NATS or active > 0:
        return None
    beta = float(r.setting("model.beta") or 1)
    if beta < limits.FAR_BETA and signs.on_its_way(r):
        return None
    told = f"{format_number(nats)} nats in the code, no active unit" + f", beta {beta:g}" * (
        beta != 1
    )
    return found("posterior collapse", r, told, below(nats, limits.NATS))


def code_ignored(r: Reading) -> Finding | None:
    own, swapped, deviation = map(r.number, ("own_mse", "swapped_mse", "code_deviation"))
    if (
        None in (own, swapped, deviation)
        or deviation < limits.DEVIATION
        or swapped > limits.SWAPPED * own
    ):
        return None
    if "test/kl" in r.numbers:  # posterior collapse says it
        return None
    told = (f"with another example's code the error is {format_number(swapped)}, "
            f"with its own {format_number(own)}")  # fmt: skip
    return found(
        "decoder ignores the code", r, told, below(abs(swapped / own - 1), limits.SWAPPED - 1)
    )


def mean_collapse(r: Reading) -> Finding | None:
    own, mean = signs.errors(r)
    if own is None or mean is None or signs.on_its_way(r):
        return None
    if not limits.MEAN * mean < own < limits.ABOVE_MEAN * mean:
        return None
    told = f"error {own / mean:.0%} of that of {signs.constant(r)}"
    return found("mean collapse", r, told, beyond(own / mean, limits.MEAN))


def generator_vanishing(r: Reading) -> Finding | None:
    p = signs.players(r)
    if (
        p is None
        or r.setting("loss.name") != "minimax"
        or p[1] > limits.FAINT
        or not signs.poor_samples(r)
    ):
        return None
    told = (
        f"D(G(z)) {format_number(p[1])}: so small is the gradient that minimax gives the generator"
    )
    return found("generator vanishing", r, told, below(p[1], limits.FAINT))


def discriminator_won(r: Reading) -> Finding | None:
    p = signs.players(r)
    if p is None or p[1] > limits.SURE or p[0] < 1 - limits.SURE or not signs.poor_samples(r):
        return None
    told = f"D(x) {format_number(p[0])}, D(G(z)) {format_number(p[1])}"
    return found("discriminator won", r, told, below(max(p[1], 1 - p[0]), limits.SURE))


def mode_collapse(r: Reading) -> Finding | None:
    covered, spread = r.number("sample_coverage"), r.number("sample_spread")
    if (
        covered is None
        or spread is None
        or not (covered < limits.UNCOVERED or spread < limits.NARROW)
    ):
        return None
    told = f"samples reach {covered:.0%} of the test examples, with {spread:.0%} of their variance"
    return found(
        "mode collapse", r, told, below(min(covered / limits.UNCOVERED, spread / limits.NARROW), 1)
    )


def inverse_error(r: Reading) -> Finding | None:
    error = r.number("inverse_error")
    if error is None or error < limits.INVERSE:
        return None
    told = f"there and back changes an example by {format_number(error)} deviations of the data"
    return found("inverse error", r, told, beyond(error, limits.INVERSE))


def ema_too_young(r: Reading) -> Finding | None:
    decay, raw = r.setting("trainer.ema"), r.number("raw_loss")
    if not decay or raw is None or r.val is None or r.train is None:
        return None
    fall = max(signs.fall(r), max(r.train.start, r.val.start) - raw)
    behind = (float(r.val.values[-1]) - raw) / max(fall, 1e-30)
    if behind < limits.LAG:
        return None
    told = (f"{r.steps:.0f} steps for an average over {1 / (1 - decay):.0f}: validation "
            f"{format_number(float(r.val.values[-1]))}, "
            f"without averaging {format_number(raw)}")  # fmt: skip
    return found("EMA too young", r, told, beyond(behind, limits.LAG))
