"""Labels of the doctor's collection, from what the doctor does not see.

The construction says what should have gone wrong; the judge checks that it has, on test losses
of every epoch, on the same run with another rate, with more epochs, or on the samples' labels.
Between clearly so and clearly not lies a gap: a run in it is left out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from doctor_cases import Case

STILL, CONVERGED = "still learning", "converged"
Trained = Callable[[Sequence[str]], "Run"]
Verdict = tuple[Sequence[str], str]


@dataclass
class Run:
    """A run in memory, and what only the judge sees of it."""

    cfg: Any
    data: Any
    model: Any
    longer: bool = False  # it is trained on, for twice its epochs
    later: list[float] = field(default_factory=list)  # test losses then
    rows: list[dict[str, float]] = field(default_factory=list)
    test: dict[int, float] = field(default_factory=dict)  # epoch → loss; 0 is the untrained model
    train_loss: float | None = None  # without dropout or noise, after the last epoch
    metrics: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, float] = field(default_factory=dict)
    status: str = "finished"
    failure: str = ""

    @property
    def end(self) -> float:
        """Median of the last tenth of the test losses."""
        values = list(self.test.values())
        return float(np.median(values[-max(1, len(values) // 10) :]))

    @property
    def fall(self) -> float:
        """From the untrained model to the best test loss."""
        return self.test[0] - min(self.test.values())


def labels(case: Case, run: Run, trained: Trained) -> Verdict:
    """(labels, any of which is right; the judge's numbers); no label: leave it out."""
    return JUDGES[case.judge](case, run, trained)


def _rose(run: Run) -> float:
    """How far the test loss has risen from its best, as a share of the fall."""
    return (run.end - min(run.test.values())) / run.fall if run.fall > 0 else math.inf


def healthy(case: Case, run: Run, trained: Trained) -> Verdict:
    if run.status == "failed":
        return (), "failed"
    rose = _rose(run)
    gain = max(0.0, min(run.test.values()) - min(run.later)) / run.fall if run.longer else math.nan
    why = f"test rose by {rose:.3f}, twice the epochs gain {gain:.3f} of the fall"
    if rose > 0.03:
        return (), why
    if not run.longer:  # another horizon of a schedule is another run
        return (STILL, CONVERGED), why
    if gain > 0.04:
        return (STILL,), why
    return ((CONVERGED,) if gain < 0.01 else (STILL, CONVERGED)), why


def healthy_pair(case: Case, run: Run, trained: Trained) -> Verdict:
    modes, near = _modes(run)
    why = f"{modes} modes, samples {near:.2f} as far from real ones as these among themselves"
    good = modes >= len(run.data.spec.classes) - 1 and near < 1.5
    return ((STILL, CONVERGED) if good else ()), why


def too_high(case: Case, run: Run, trained: Trained) -> Verdict:
    usual = trained(replaced(case.words, **{"optimizer.lr": case.usual}))
    if run.status == "failed":
        return ("diverged", "learning rate too high"), run.failure
    excess = (run.end - usual.end) / usual.fall
    flat = run.evidence and run.evidence.get("own_mse", 0) > 0.97 * run.evidence.get("mean_mse", 1)
    why = f"ends {excess:.3f} of the fall above rate {case.usual}; mean image: {flat}"
    if not excess > 0.2:
        return (), why
    also = ("mean collapse", "decoder ignores the code", "posterior collapse") if flat else ()
    if run.evidence.get("inverse_error", 0) > 0.05:
        also = ("inverse error",)
    if excess > 3:
        also = ("diverged", *also)
    return ("learning rate too high", *also), why


def too_low(case: Case, run: Run, trained: Trained) -> Verdict:
    usual = trained(replaced(case.words, **{"optimizer.lr": case.usual}))
    excess = (run.end - usual.end) / usual.fall
    there = next((e for e, loss in usual.test.items() if loss <= run.end), run.cfg.epochs)
    why = f"ends {excess:.3f} above rate {case.usual}, which was there in epoch {there}"
    clear = excess > 0.15 and there <= max(1, 0.2 * run.cfg.epochs)
    return (("learning rate too low",) if clear else ()), why


def jumps(case: Case, run: Run, trained: Trained) -> Verdict:
    """The kicks are known; each must have cost the training a tenth of the fall before it, and
    five times what its epochs differ by."""
    losses = np.array([row["train/loss"] for row in run.rows])
    at = [round(share * run.cfg.epochs) for share in case.kicks]  # thrown off after these epochs
    fall = losses[0] - losses[: at[0]].min()
    noise = 1.4826 * np.median(np.abs(np.diff(losses[: at[0]], 2))) / np.sqrt(6)
    costs = losses[at] - losses[np.array(at) - 1]
    why = f"kicks cost {costs / fall} of the fall, {costs / noise} noises, end {_rose(run):.2f}"
    clear = costs.min() > 0.1 * fall and costs.min() > 5 * noise and _rose(run) < 0.3
    return (("jumps",) if clear else ()), why


def plateau(case: Case, run: Run, trained: Trained) -> Verdict:
    """With another activation the same network has no plateau; here a quarter of the run is."""
    relu = trained(replaced(case.words, **case.without))
    epochs = sorted(run.test)
    fell = next((e for e in epochs if run.test[0] - run.test[e] > 0.2 * run.fall), 0)
    other = next((e for e in sorted(relu.test) if relu.test[0] - relu.test[e] > 0.2 * relu.fall), 0)
    share = run.fall / abs(run.test[0])
    why = f"a fifth of the fall by epoch {fell}, without the plateau by {other}; falls {share:.2f}"
    clear = 0.25 * run.cfg.epochs <= fell <= 0.85 * run.cfg.epochs and other < 0.5 * fell
    return (("plateau then fall",) if clear and share > 0.15 else ()), why


def overfitting(case: Case, run: Run, trained: Trained) -> Verdict:
    rose = _rose(run)
    return (("overfitting",) if rose > 0.1 else ()), f"test rose by {rose:.3f} of the fall"


def below(case: Case, run: Run, trained: Trained) -> Verdict:
    logged, val = run.rows[-1]["train/loss"], run.rows[-1]["val/loss"]
    share = (logged - run.train_loss) / run.fall
    why = f"training loss without what regularises is {share:.3f} of the fall lower"
    return (("validation below training",) if share > 0.05 and val < logged else ()), why


def diverged(case: Case, run: Run, trained: Trained) -> Verdict:
    worst = run.test[0]
    if run.status == "failed":
        return ("diverged",), run.failure
    why = f"ends at {run.end:.3g} from {worst:.3g} untrained"
    return (("diverged",) if run.end > 2 * abs(worst) + worst else ()), why


def mean(case: Case, run: Run, trained: Trained) -> Verdict:
    if run.status == "failed":
        return (), "failed"
    share = run.end / _constant(run) if "test/accuracy" in run.metrics else _mse_share(run)
    also = ("posterior collapse",) if "test/kl" in run.metrics else ("decoder ignores the code",)
    late = run.test[sorted(run.test)[len(run.test) // 2]] - run.end
    why = f"{share:.3f} of the mean's error; second half gains {late / run.fall:.3f} of the fall"
    stays = 0.95 < share < 1.05 and late < 0.02 * max(run.fall, abs(run.end))
    return (("mean collapse", *also) if stays else ()), why


def _mse_share(run: Run) -> float:
    """Test error over that of the mean training example, or target, in its place."""
    x, y = run.data.train.batch(torch.arange(len(run.data.train)))
    test = run.data.test.batch(torch.arange(len(run.data.test)))
    seen, target = (y, test.y) if run.cfg.model["name"] == "mlp" else (x, test.x)
    return run.metrics["test/mse"] / float((target - seen.mean(0)).square().mean())


def _constant(run: Run) -> float:
    """Cross-entropy of the training classes' shares on the test split."""
    y, test = (s.batch(torch.arange(len(s))).y.long() for s in (run.data.train, run.data.test))
    shares = torch.bincount(y, minlength=len(run.data.spec.classes)) / len(y)
    return -float(shares.log()[test].mean())


def posterior(case: Case, run: Run, trained: Trained) -> Verdict:
    if run.status == "failed":
        return (), "failed"
    nats = run.metrics["test/kl"]
    why = f"{nats:.3g} nats in {run.cfg.bottleneck} numbers"
    return (("posterior collapse",) if nats < 0.1 else ()), why


def ignored(case: Case, run: Run, trained: Trained) -> Verdict:
    """Its input is cut; the codes must still differ."""
    if run.status == "failed":
        return (), "failed"
    codes = run.model.encode(run.data.test.batch(torch.arange(len(run.data.test))).x)
    spread = float(codes.std(0).max())
    return (
        ("decoder ignores the code",) if spread > 0.05 else ()
    ), f"codes deviate by {spread:.3g}"


def won(case: Case, run: Run, trained: Trained) -> Verdict:
    """D tells every test example from a sample, and samples are far from real ones."""
    auc = _auc(run)
    modes, near = _modes(run)
    why = f"D ranks {auc:.4f} right; {modes} modes, samples {near:.2f} as far as real ones"
    clear = auc > 0.99 and (near > 1.5 or modes < 0.7 * len(run.data.spec.classes))
    return ((case.says,) if clear else ()), why


def few_modes(case: Case, run: Run, trained: Trained) -> Verdict:
    if run.status == "failed":
        return (), "failed"
    modes, _ = _modes(run)
    why = f"{modes} of {len(run.data.spec.classes)} modes; D ranks {_auc(run):.4f} right"
    also = ("discriminator won",) if _auc(run) > 0.99 else ()  # both are true
    few = modes <= 0.5 * len(run.data.spec.classes)
    return (("mode collapse", *also) if few else ()), why


def inverse(case: Case, run: Run, trained: Trained) -> Verdict:
    """The round trip of all test examples fails in single precision and not in double."""
    if run.status == "failed":
        return (), "failed"
    x = run.data.test.batch(torch.arange(len(run.data.test))).x
    with torch.no_grad():
        single = float((run.model.reconstruct(x) - x).abs().mean() / x.std())
        exact = copy.deepcopy(run.model).double()
        double = float((exact.reconstruct(x.double()) - x).abs().mean() / x.std())
    why = f"mean error {single:.3g} of a deviation, {double:.3g} in double precision"
    if run.end > run.test[0] + 2 * abs(run.test[0]):
        return (), f"{why}; diverged"
    also = ("learning rate too high",)  # the construction
    return (("inverse error", *also) if double < 1e-6 and not single < 1e-3 else ()), why


def young(case: Case, run: Run, trained: Trained) -> Verdict:
    """The same run without averaging must be better by a twentieth of the fall."""
    raw = trained(replaced(case.words, **{"trainer.ema": "null"}))
    cost = (run.end - raw.end) / raw.fall
    return (("EMA too young",) if cost > 0.04 else ()), f"averaging costs {cost:.3f} of the fall"


def unfit(case: Case, run: Run, trained: Trained) -> Verdict:
    return ("loss does not fit the activation",), "by construction"


@torch.no_grad()
def _modes(run: Run) -> tuple[int, float]:
    """(Labels with at least 3 % of 500 samples, by the nearest training example; median distance
    of samples to their nearest real one over that of test examples)."""
    train = run.data.train.batch(torch.arange(len(run.data.train)))
    test = run.data.test.batch(torch.arange(min(500, len(run.data.test)))).x.flatten(1)
    real = train.x.flatten(1)
    drawn = run.model.sample(500, generator=torch.Generator().manual_seed(1)).flatten(1)
    nearest = torch.cdist(drawn, real).min(1)
    counts = torch.bincount(train.y[nearest.indices].long(), minlength=2)
    among = torch.cdist(test, real).min(1).values.median()
    return int((counts >= 15).sum()), float(nearest.values.median() / among)


@torch.no_grad()
def _auc(run: Run) -> float:
    """Share of pairs in which the last D scores the test example above the sample."""
    x = run.data.test.batch(torch.arange(min(360, len(run.data.test)))).x
    drawn = run.model.sample(len(x), generator=torch.Generator().manual_seed(2))
    scale = run.model.scaling
    real, fake = run.model.score(scale(x)), run.model.score(scale(drawn))
    return float((real[:, None] > fake[None]).float().mean())


def replaced(words: Sequence[str], **values: Any) -> tuple[str, ...]:
    """The words with other values of these keys."""
    kept = [w for w in words if w.partition("=")[0] not in values]
    return (*kept, *(f"{k}={v}" for k, v in values.items()))


JUDGES = {f.__name__: f for f in (
    healthy, healthy_pair, too_high, too_low, jumps, plateau, overfitting, below, diverged, mean,
    posterior, ignored, won, few_modes, inverse, young, unfit,
)}  # fmt: skip
