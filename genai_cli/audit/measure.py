"""Measure one run by class: shares of samples, outcomes of reconstructions, requested classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genai_cli.audit.shares import (
    ShareInterval,
    among_clear,
    apparent,
    confusion_of,
    difference,
    marks,
    of_counts,
    quantile,
)
from genai_cli.audit.world import Population, TrainingClasses
from genai_cli.data.dataset import Dataset
from genai_cli.evaluation import reconstruction
from genai_cli.evaluation.drawing import ALIGN, NotFinite, SampleSets, quantize
from genai_cli.evaluation.intervals import of_means
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator
from genai_cli.training.loop import EVALUATION_BATCH

EXAMPLES = 10  # images of a class that a figure shows
Stage = Callable[[str, int], Callable[[int], None]]


class Samples(NamedTuple):
    """The classes that the classifier reads off a set of samples."""

    counts: np.ndarray  # (R,)
    share: ShareInterval  # (K,) among the clear ones
    expected: ShareInterval  # (K,) the same of images drawn as in training
    marks: np.ndarray  # (K,) 1 over, −1 under, 0 neither
    unclear: tuple[float, float, float]  # share of all samples, low, high
    unclear_expected: float
    labelling: str  # "without a label" where the model can be given one


class Outcomes(NamedTuple):
    """The classes that reconstructions or predictions of test examples are read as."""

    n: np.ndarray  # (K,) examples of each
    error: ShareInterval | None  # (K,) mean squared error; None for a model that predicts
    reads: np.ndarray | None  # (K, R) true class by what is read off what comes back
    real: np.ndarray | None  # (K, R) the same off the originals
    images: tuple[np.ndarray, ...] = ()  # inputs (and targets) and outputs of the focus class
    labels: tuple[int, ...] = ()  # the class read off each of the outputs

    def kept(self) -> ShareInterval:
        """Return the share (K,) that is still read as its own class."""
        assert self.reads is not None
        whole = of_counts(self.reads)
        return ShareInterval(*(part.diagonal() for part in whole))

    def into(self) -> tuple[np.ndarray, ShareInterval, np.ndarray]:
        """Return the most frequent other class (K,), its share, and that share of the originals."""
        assert self.reads is not None
        k = len(self.reads)
        others = self.reads[:, :k] * (1 - np.eye(k, dtype=int))
        top, rows = others.argmax(1), np.arange(k)
        share = ShareInterval(*(part[rows, top] for part in of_counts(self.reads)))
        real = others if self.real is None else self.real
        return top, share, of_counts(real).value[rows, top]

    def unclear(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the share (K,) without a clear class, and that share among the originals."""
        assert self.reads is not None
        real = self.reads if self.real is None else self.real
        ours, theirs = (of_counts(counts).value[:, -1] for counts in (self.reads, real))
        return ours, theirs

    def lost(self) -> np.ndarray:
        """Return for each class (K,) if it is read as itself less often than its originals."""
        if self.reads is None or self.real is None:
            return np.zeros(len(self.n), bool)
        z = quantile(len(self.n))
        rows = [of_counts(counts, z) for counts in (self.reads, self.real)]
        ours, real = (ShareInterval(*(part.diagonal() for part in row)) for row in rows)
        return difference(ours, real).high < 0


@dataclass
class Audit:
    """The audit of one run; a part that is None has its reason under its name in ``reasons``."""

    population: Population
    training: TrainingClasses
    samples: Samples | None = None
    asked: np.ndarray | None = None  # (K, R) requested class by reading
    outcomes: Outcomes | None = None
    predicts: bool = False  # the outcomes are predictions, not reconstructions
    drawn: np.ndarray | None = None  # samples (n, C, H, W) read as the focus class
    focus: int = 0  # the class a figure looks at: the rare one, else the most distorted
    reasons: dict[str, str] = field(default_factory=dict)


def audit(
    model: Model,
    data: Dataset,
    population: Population,
    training: TrainingClasses,
    settings: dict[str, Any],
    stage: Stage,
) -> Audit:
    """Measure the shares, outcomes and errors of one run by class.

    Args:
        model: in evaluation mode, on the device of ``data``.
        data: the run's own, with pairs where it has them.
        population, training: the classes of all data, and of the run's training split.
        settings: n, seed, batch_size of the samples and the family's options.
        stage: begins a part of so many examples, gives what to call with progress.
    """
    result = Audit(population, training, predicts=hasattr(model, "predict"))
    first: dict[int, Tensor] = {}  # samples of each class, for the figure
    _measure_samples(result, model, data, settings, stage, first)
    outputs = _measure_outputs(result, model, data, stage)
    _choose_focus(result)
    result.drawn = first[result.focus].numpy() if result.focus in first else None
    if outputs is not None and result.outcomes is not None and not result.predicts:
        result.outcomes = _with_images(result.outcomes, model, data, population, result.focus)
    return result


def _measure_samples(
    result: Audit,
    model: Model,
    data: Dataset,
    settings: dict[str, Any],
    stage: Stage,
    first: dict[int, Tensor],
) -> None:
    population, k = result.population, len(result.population.readings)
    if not hasattr(model, "sample"):
        result.reasons["samples"] = "its class defines no sample"
        return
    if population.classifier is None or population.confusion is None:
        result.reasons["samples"] = population.why_not
        return
    options, n, seed = dict(settings["options"]), settings["n"], settings["seed"]
    labelled = bool(getattr(model, "conditional", False))
    free = labelled and "guidance" in options
    if free:  # what it draws when nobody asks for a class
        options["guidance"] = 0.0
    drawing = SampleSets(model, data, options, settings["batch_size"])
    counts, tick = np.zeros(k, int), stage("samples", n)
    try:
        for x in drawing.batches(n, seed, tick):
            read = population.classifier(x)
            counts += np.bincount(read, minlength=k)
            for label in set(read.tolist()):
                mine = x[torch.from_numpy(read == label)]
                first[label] = torch.cat([first.get(label, mine[:0]), mine])[:EXAMPLES]
    except NotFinite:
        result.reasons["samples"] = "samples hold numbers that are not finite"
        return
    result.samples = summarize_counts(result, counts)._replace(
        labelling="without a label" if free else "with labels as in training" if labelled else ""
    )
    if labelled:
        result.asked = _count_requested(model, data, population, settings, stage)


def summarize_counts(result: Audit, counts: np.ndarray) -> Samples:
    """Compare ``counts`` (R,) of samples with images drawn as in training."""
    confusion = result.population.confusion
    assert confusion is not None
    drawn = result.training.drawn
    shares, clear = among_clear(drawn, confusion)
    unclear = of_counts(counts)
    return Samples(
        counts,
        of_counts(counts[:-1]),
        apparent(shares, clear),
        marks(counts[:-1], shares, clear),
        (float(unclear.value[-1]), float(unclear.low[-1]), float(unclear.high[-1])),
        float(apparent(drawn, confusion).value[-1]),
        "",
    )


@torch.no_grad()
def _count_requested(
    model: Model, data: Dataset, population: Population, settings: dict[str, Any], stage: Stage
) -> np.ndarray:
    """(K, R) what is read where a class is asked for: every class equally often."""
    shape, n, seed = (
        (len(population.classes), len(population.readings)),
        settings["n"],
        settings["seed"],
    )
    counts, tick = np.zeros(shape, int), stage("samples of every class", n)
    assert population.classifier is not None
    step = max(ALIGN, settings["batch_size"] // ALIGN * ALIGN)
    for start in range(0, n, step):
        y = torch.arange(start, start + step) % shape[0]
        x = model.sample(
            step, y.to(next(model.parameters()).device), RowGenerator(seed, "asked", start, step),
            **settings["options"],
        )  # fmt: skip
        size = min(step, n - start)
        read = population.classifier(_as_data(x[:size], population))
        counts += confusion_of(y[:size].numpy(), read, shape)
        tick(size)
    return counts


@torch.no_grad()
def _measure_outputs(result: Audit, model: Model, data: Dataset, stage: Stage) -> bool | None:
    """Fates of all test examples; None, with a reason, for a family that has none."""
    population, truth = result.population, result.population.truth
    k = len(population.classes)
    n = np.bincount(truth, minlength=k)
    if not result.predicts:
        reason = reconstruction.reason(model)
        if reason:
            result.reasons["reconstruction"] = reason
            return None
    tick = stage("predictions" if result.predicts else "reconstructions", len(truth))
    errors, read = [], []
    for batch in data.test.batches(torch.arange(len(truth)).split(EVALUATION_BATCH)):
        if result.predicts:
            read.append(model.predict(batch.x).argmax(1).cpu().numpy())
        else:
            image = batch.y if data.spec.target == "image" else batch.x
            out = model.reconstruct(batch.x)
            errors.append((out - image).square().flatten(1).mean(1).cpu().double().numpy())
            if population.classifier is not None:
                read.append(population.classifier(_as_data(out, population)))
        tick(len(batch.x))
    error = _by_class(np.concatenate(errors), truth, k) if errors else None
    reads = population.count_by_class(np.concatenate(read)) if read else None
    # predictions are no readings: the classifier's errors are another ruler
    result.outcomes = Outcomes(n, error, reads, None if result.predicts else population.confusion)
    if reads is None:
        result.reasons["fates"] = population.why_not
    return True


def _as_data(x: Tensor, population: Population) -> Tensor:
    """Images as the data's own file would hold them, on the CPU; what is not finite is nan."""
    x = x.cpu()
    return quantize(x.where(x.isfinite(), torch.nan), population.data.spec)


def _by_class(errors: np.ndarray, truth: np.ndarray, k: int) -> ShareInterval:
    """(K,) mean of each class with its interval; nan for a class without test examples."""
    out = np.full((3, k), np.nan)
    for label in range(k):
        of_class = errors[truth == label]
        if len(of_class) and np.isfinite(of_class).all():
            mean, low, high = of_means({"error": of_class})["error"]
            out[:, label] = mean, np.nan if low is None else low, np.nan if high is None else high
    return ShareInterval(*out)


def _choose_focus(result: Audit) -> None:
    """The rare class; else the one whose reconstructions or samples are furthest off."""
    if result.training.rare is not None:
        result.focus = result.training.rare
    elif result.outcomes is not None and result.outcomes.reads is not None:
        result.focus = int(np.nan_to_num(result.outcomes.kept().value, nan=1.0).argmin())
    elif result.samples is not None:
        ratio = result.samples.share.value / np.maximum(result.samples.expected.value, 1e-9)
        result.focus = int(np.nan_to_num(ratio, nan=1.0).argmin())


@torch.no_grad()
def _with_images(
    outcomes: Outcomes, model: Model, data: Dataset, population: Population, label: int
) -> Outcomes:
    """The same with the first test examples of a class and what comes back."""
    index = torch.from_numpy(np.flatnonzero(population.truth == label)[:EXAMPLES])
    if not len(index) or not data.spec.is_image:
        return outcomes
    batch = data.test.batch(index)
    out = model.reconstruct(batch.x).cpu()
    rows = [batch.x.cpu(), *([batch.y.cpu()] if data.spec.target == "image" else []), out]
    read = []
    if population.classifier is not None:
        read = population.classifier(_as_data(out, population)).tolist()
    return outcomes._replace(images=tuple(x.float().numpy() for x in rows), labels=tuple(read))
