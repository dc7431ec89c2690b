"""One run by class: shares of its samples, fates of its reconstructions, asked classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genai_cli.audit.shares import (
    Share,
    among_clear,
    apparent,
    confusion_of,
    difference,
    marks,
    of_counts,
    quantile,
)
from genai_cli.audit.world import Biased, World
from genai_cli.data.dataset import Dataset
from genai_cli.evaluation import reconstruction
from genai_cli.evaluation.drawing import ALIGN, Drawing, NotFinite, stored
from genai_cli.evaluation.intervals import of_means
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator
from genai_cli.training.loop import EVALUATION_BATCH

SHOWN = 10  # images of a class that a figure shows
Stage = Callable[[str, int], Callable[[int], None]]


class Samples(NamedTuple):
    """What is read off a set of samples."""

    counts: np.ndarray  # (R,)
    share: Share  # (K,) among the clear ones
    expected: Share  # (K,) the same of images drawn as in training
    marks: np.ndarray  # (K,) 1 over, −1 under, 0 neither
    unclear: tuple[float, float, float]  # share of all samples, low, high
    unclear_expected: float
    how: str  # "without a label" where the model can be given one


class Fates(NamedTuple):
    """What becomes of test examples of each class."""

    n: np.ndarray  # (K,) examples of each
    error: Share | None  # (K,) mean squared error; None for a model that predicts
    reads: np.ndarray | None  # (K, R) true class by what is read off what comes back
    real: np.ndarray | None  # (K, R) the same off the originals
    images: tuple[np.ndarray, ...] = ()  # inputs (and targets) and outputs of the focus class
    fates: tuple[int, ...] = ()  # the class read off each of the outputs

    def kept(self) -> Share:
        """(K,) share that is still read as its own class."""
        assert self.reads is not None
        whole = of_counts(self.reads)
        return Share(*(part.diagonal() for part in whole))

    def into(self) -> tuple[np.ndarray, Share, np.ndarray]:
        """(the most frequent other class (K,), its share, that share among the originals)."""
        assert self.reads is not None
        k = len(self.reads)
        others = self.reads[:, :k] * (1 - np.eye(k, dtype=int))
        top, rows = others.argmax(1), np.arange(k)
        share = Share(*(part[rows, top] for part in of_counts(self.reads)))
        real = others if self.real is None else self.real
        return top, share, of_counts(real).value[rows, top]

    def unclear(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) share of which no class is clear, and that share among the originals."""
        assert self.reads is not None
        real = self.reads if self.real is None else self.real
        ours, theirs = (of_counts(counts).value[:, -1] for counts in (self.reads, real))
        return ours, theirs

    def lost(self) -> np.ndarray:
        """(K,) whether a class is read as itself less often than its originals, beyond chance."""
        if self.reads is None or self.real is None:
            return np.zeros(len(self.n), bool)
        z = quantile(len(self.n))
        rows = [of_counts(counts, z) for counts in (self.reads, self.real)]
        ours, real = (Share(*(part.diagonal() for part in row)) for row in rows)
        return difference(ours, real).high < 0


@dataclass
class Audit:
    """One run; a part that is None has its reason under its name in ``reasons``."""

    world: World
    biased: Biased
    samples: Samples | None = None
    asked: np.ndarray | None = None  # (K, R) class asked for by what is read
    fates: Fates | None = None
    predicts: bool = False  # the fates are predictions, not reconstructions
    drawn: np.ndarray | None = None  # samples (n, C, H, W) read as the focus class
    focus: int = 0  # the class a figure looks at: the rare one, else the most distorted
    reasons: dict[str, str] = field(default_factory=dict)


def audit(
    model: Model, data: Dataset, world: World, biased: Biased, how: dict[str, Any], stage: Stage
) -> Audit:
    """Measure one run.

    Args:
        model: in evaluation mode, on the device of ``data``.
        data: the run's own, with pairs where it has them.
        world, biased: of the run.
        how: n, seed, batch_size of the samples and the family's options.
        stage: begins a part of so many examples, gives what to call with progress.
    """
    found = Audit(world, biased, predicts=hasattr(model, "predict"))
    first: dict[int, Tensor] = {}  # samples of each class, for the figure
    _samples(found, model, data, how, stage, first)
    outputs = _outputs(found, model, data, stage)
    _focus(found)
    found.drawn = first[found.focus].numpy() if found.focus in first else None
    if outputs is not None and found.fates is not None and not found.predicts:
        found.fates = _pictured(found.fates, model, data, world, found.focus)
    return found


def _samples(
    found: Audit,
    model: Model,
    data: Dataset,
    how: dict[str, Any],
    stage: Stage,
    first: dict[int, Tensor],
) -> None:
    world, k = found.world, len(found.world.readings)
    if not hasattr(model, "sample"):
        found.reasons["samples"] = "its class defines no sample"
        return
    if world.reader is None or world.confusion is None:
        found.reasons["samples"] = world.why_not
        return
    options, n, seed = dict(how["options"]), how["n"], how["seed"]
    labelled = bool(getattr(model, "conditional", False))
    free = labelled and "guidance" in options
    if free:  # what it draws when nobody asks for a class
        options["guidance"] = 0.0
    drawing = Drawing(model, data, options, how["batch_size"])
    counts, tick = np.zeros(k, int), stage("samples", n)
    try:
        for x in drawing.batches(n, seed, tick):
            read = world.reader(x)
            counts += np.bincount(read, minlength=k)
            for label in set(read.tolist()):
                mine = x[torch.from_numpy(read == label)]
                first[label] = torch.cat([first.get(label, mine[:0]), mine])[:SHOWN]
    except NotFinite:
        found.reasons["samples"] = "samples hold numbers that are not finite"
        return
    found.samples = counted(found, counts)._replace(
        how="" if not labelled else "without a label" if free else "with labels as in training"
    )
    if labelled:
        found.asked = _asked(model, data, world, how, stage)


def counted(found: Audit, counts: np.ndarray) -> Samples:
    """``counts`` (R,) of samples held against images drawn as in training."""
    confusion = found.world.confusion
    assert confusion is not None
    drawn = found.biased.drawn
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
def _asked(
    model: Model, data: Dataset, world: World, how: dict[str, Any], stage: Stage
) -> np.ndarray:
    """(K, R) what is read where a class is asked for: every class equally often."""
    shape, n, seed = (len(world.classes), len(world.readings)), how["n"], how["seed"]
    counts, tick = np.zeros(shape, int), stage("samples of every class", n)
    assert world.reader is not None
    step = max(ALIGN, how["batch_size"] // ALIGN * ALIGN)
    for start in range(0, n, step):
        y = torch.arange(start, start + step) % shape[0]
        x = model.sample(
            step, y.to(next(model.parameters()).device), RowGenerator(seed, "asked", start, step),
            **how["options"],
        )  # fmt: skip
        size = min(step, n - start)
        read = world.reader(_as_data(x[:size], world))
        counts += confusion_of(y[:size].numpy(), read, shape)
        tick(size)
    return counts


@torch.no_grad()
def _outputs(found: Audit, model: Model, data: Dataset, stage: Stage) -> bool | None:
    """Fates of all test examples; None, with a reason, for a family that has none."""
    world, truth = found.world, found.world.truth
    k = len(world.classes)
    n = np.bincount(truth, minlength=k)
    if not found.predicts:
        reason = reconstruction.reason(model)
        if reason:
            found.reasons["reconstruction"] = reason
            return None
    tick = stage("predictions" if found.predicts else "reconstructions", len(truth))
    errors, read = [], []
    for batch in data.test.batches(torch.arange(len(truth)).split(EVALUATION_BATCH)):
        if found.predicts:
            read.append(model.predict(batch.x).argmax(1).cpu().numpy())
        else:
            image = batch.y if data.spec.target == "image" else batch.x
            out = model.reconstruct(batch.x)
            errors.append((out - image).square().flatten(1).mean(1).cpu().double().numpy())
            if world.reader is not None:
                read.append(world.reader(_as_data(out, world)))
        tick(len(batch.x))
    error = _by_class(np.concatenate(errors), truth, k) if errors else None
    reads = world.counted(np.concatenate(read)) if read else None
    # a prediction is read by nobody: the reader's own errors are another ruler
    found.fates = Fates(n, error, reads, None if found.predicts else world.confusion)
    if reads is None:
        found.reasons["fates"] = world.why_not
    return True


def _as_data(x: Tensor, world: World) -> Tensor:
    """Images as the data's own file would hold them, on the CPU; what is not finite is nan."""
    x = x.cpu()
    return stored(x.where(x.isfinite(), torch.nan), world.data.spec)


def _by_class(errors: np.ndarray, truth: np.ndarray, k: int) -> Share:
    """(K,) mean of each class with its interval; nan for a class without test examples."""
    out = np.full((3, k), np.nan)
    for label in range(k):
        own = errors[truth == label]
        if len(own) and np.isfinite(own).all():
            mean, low, high = of_means({"error": own})["error"]
            out[:, label] = mean, np.nan if low is None else low, np.nan if high is None else high
    return Share(*out)


def _focus(found: Audit) -> None:
    """The rare class; else the one whose reconstructions or samples are furthest off."""
    if found.biased.rare is not None:
        found.focus = found.biased.rare
    elif found.fates is not None and found.fates.reads is not None:
        found.focus = int(np.nan_to_num(found.fates.kept().value, nan=1.0).argmin())
    elif found.samples is not None:
        ratio = found.samples.share.value / np.maximum(found.samples.expected.value, 1e-9)
        found.focus = int(np.nan_to_num(ratio, nan=1.0).argmin())


@torch.no_grad()
def _pictured(fates: Fates, model: Model, data: Dataset, world: World, label: int) -> Fates:
    """The same with the first test examples of a class and what comes back."""
    index = torch.from_numpy(np.flatnonzero(world.truth == label)[:SHOWN])
    if not len(index) or not data.spec.is_image:
        return fates
    batch = data.test.batch(index)
    out = model.reconstruct(batch.x).cpu()
    rows = [batch.x.cpu(), *([batch.y.cpu()] if data.spec.target == "image" else []), out]
    read = [] if world.reader is None else world.reader(_as_data(out, world)).tolist()
    return fates._replace(images=tuple(x.float().numpy() for x in rows), fates=tuple(read))
