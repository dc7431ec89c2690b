"""Quality of samples: fidelity, diversity, classes and memorisation over fresh sets.

Memory is bounded whatever n: moments are accumulated, what needs all pairs looks at the first
MOST samples of a set, and of an image only its features and its nearest training image are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset, Split
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.drawing import NotFinite, SampleSets
from genai_cli.evaluation.energy import energy_distance
from genai_cli.evaluation.extractor import Extractor, drawn_shape
from genai_cli.evaluation.fidelity import Moments, Real, Running, frechet_distance, kernel_distance
from genai_cli.evaluation.memorisation import (
    TILE,
    Memorisation,
    Nearest,
    closest,
    compare_distances,
    nearest_of,
)
from genai_cli.evaluation.modes import class_shares
from genai_cli.rng import generator
from genai_cli.training.loop import EVALUATION_BATCH

MOST = 10_000  # examples of a side of all that looks at pairs
TRAINING = 50_000  # training examples of the Fréchet reference and the search for copies
KEPT = 2**28  # numbers of training examples that are kept: 1 GiB
CLOSEST_PAIRS = 10  # closest pairs


def examples(split: Split, order: Tensor, image_target: bool) -> Iterator[Tensor]:
    """Yield examples as a model draws them, on the CPU: x, of pairs the target."""
    for batch in split.batches(order.split(EVALUATION_BATCH)):
        yield (batch.y if image_target else batch.x).cpu()


class Side(NamedTuple):
    """The features, moments and classes that are kept of a set of examples."""

    moments: Moments
    features: Tensor  # (min(n, MOST), D)
    shares: Tensor | None  # (classes,) by the extractor's word
    n: int


def side(parts: Iterable[Tensor], extractor: Extractor, classes: int) -> Side:
    """Compute the features of examples that come in parts.

    Raises:
        NotFinite: a feature is no number.
    """
    running, kept, counts, n = Running(extractor.width), [], torch.zeros(classes), 0
    for x in parts:
        features = extractor.features(x)
        if not features.isfinite().all():
            raise NotFinite
        running.add(features)
        if n < MOST:
            kept.append(features[: MOST - n])
        if classes and (predicted := extractor.classes_of(features)) is not None:
            counts += class_shares(predicted, classes) * len(x)
        n += len(x)
    shares = counts / n if counts.sum() else None
    return Side(running.moments(), torch.cat(kept), shares, n)


@dataclass
class TrainingReference:
    """Hold the features of real examples, computed once for all runs on the same data."""

    data: Dataset
    extractor: Extractor
    k: int
    train: Side
    near: dict[int, Real]  # of the first n training examples, by n
    floors: dict[int, dict[str, float]]  # of test examples, by n
    held_out: Nearest | None = None  # test examples' nearest training examples
    images: Tensor | None = None  # the training examples themselves, where they are small

    @classmethod
    def make(
        cls, data: Dataset, extractor: Extractor, k: int, tick: Callable[[int], None]
    ) -> TrainingReference:
        """Compute features of the training split: of all examples, or of TRAINING random ones."""
        order = torch.randperm(len(data.train), generator=generator(0, "reference"))[:TRAINING]
        parts = with_progress(examples(data.train, order, data.spec.target == "image"), tick)
        return cls(data, extractor, k, side(parts, extractor, len(data.spec.classes)), {}, {})

    @property
    def order(self) -> Tensor:
        n = len(self.data.train)
        return torch.randperm(n, generator=generator(0, "reference"))[:TRAINING]

    def neighbours(self, n: int) -> Real:
        """Return the k-nearest-neighbour balls of n training examples."""
        n = min(n, len(self.train.features))
        if n not in self.near:
            self.near = {n: Real(self.train.features[:n], self.k)}  # the last one is kept
        return self.near[n]

    def test(self, n: int) -> Iterator[Tensor]:
        return examples(self.data.test, subset(self.data.test, n), self.data.spec.target == "image")

    def floor(self, n: int) -> dict[str, float]:
        """Return the measures of n real test examples (of all at most) in place of samples.

        Without what so few cannot have: neighbours, or a covariance.
        """
        n = min(n, len(self.data.test))
        if n < 2:
            return {}
        if n not in self.floors:
            real = side(self.test(n), self.extractor, len(self.data.spec.classes))
            self.floors[n] = distances(real, self)
            if not self.data.spec.is_image:
                self.floors[n]["energy"] = self.energy(torch.cat(list(self.test(min(n, MOST)))))
        return self.floors[n]

    def energy(self, x: Tensor) -> float:
        """Return the energy distance of examples (m, D) to as many training examples."""
        return energy_distance(self.select(torch.arange(min(len(x), self.train.n))), x)

    def training(self) -> Iterator[Tensor]:
        """Return the training examples in the reference's order; small ones are kept in memory."""
        parts = examples(self.data.train, self.order, self.data.spec.target == "image")
        if len(self.order) * math.prod(drawn_shape(self.data)) > KEPT:
            yield from parts
        else:
            self.images = torch.cat(list(parts)) if self.images is None else self.images
            yield from self.images.split(TILE[1])

    def select(self, index: Tensor) -> Tensor:
        """Return training examples by their index in the reference's order."""
        return torch.cat(
            list(examples(self.data.train, self.order[index], self.data.spec.target == "image"))
        )

    def copies(self, samples: Tensor) -> Memorisation:
        """Test samples for copies: are they closer to training examples than test examples are?"""
        if self.held_out is None or len(self.held_out.distance) < len(samples):
            self.held_out = nearest_of(torch.cat(list(self.test(len(samples)))), self.training())
        return compare_distances(nearest_of(samples, self.training()), self.held_out)

    def closest(self, x: Tensor, near: Nearest) -> Pairs:
        """Return the `CLOSEST_PAIRS` of x that lie closest to their training example."""
        of, its = closest(near, CLOSEST_PAIRS).T
        return Pairs(x[of], self.select(its), near.distance[of])


def with_progress(parts: Iterable[Tensor], tick: Callable[[int], None]) -> Iterator[Tensor]:
    for part in parts:
        yield part
        tick(len(part))


def distances(fake: Side, real: TrainingReference) -> dict[str, float]:
    """Return the measures of one set of samples, in the extractor's space."""
    out = {
        "frechet": frechet_distance(real.train.moments, fake.moments),
        "kernel": kernel_distance(real.train.features, fake.features),
    }
    if min(len(fake.features), len(real.train.features)) > real.k:  # or there is no neighbour
        out |= real.neighbours(len(fake.features)).against(fake.features)._asdict()
    if fake.shares is not None and real.train.shares is not None:
        out["classes"] = float((fake.shares > 0).sum())
        out["class_distance"] = 0.5 * (fake.shares - real.train.shares).abs().sum().item()
    return out


class Pairs(NamedTuple):
    """The closest pairs of two sets, the closest first."""

    examples: Tensor  # (P, *event)
    nearest: Tensor  # (P, *event) of the training split
    distance: Tensor  # (P,)


class SampleMeasurements(NamedTuple):
    """The measures of all sets of samples."""

    sets: list[dict[str, float]]
    shares: list[Tensor]  # (classes,) of each set; empty without a classifier
    copies: Memorisation  # of the first set
    pairs: Pairs  # the closest samples and their training examples
    control: Pairs  # the same of held-out test examples


def measure(
    drawing: SampleSets,
    real: TrainingReference,
    n: int,
    seeds: Iterable[int],
    tick: Callable[[int], None],
) -> SampleMeasurements:
    """Draw every set and measure it.

    Args:
        drawing: the model and its options.
        real: the training side.
        n: samples of a set.
        seeds: one a set.
        tick: told how many more samples are done.

    Raises:
        NotFinite: a sample is not.
    """
    sets, shares, first = [], [], None
    classes, flat = len(real.data.spec.classes), not real.data.spec.is_image
    for seed in seeds:
        kept: list[Tensor] = []  # of the first set: for copies; of points: for the energy distance
        need = flat or first is None

        def parts(seed: int = seed, kept: list[Tensor] = kept, need: bool = need):
            for x in drawing.batches(n, seed, tick):
                if need and sum(map(len, kept)) < MOST:
                    kept.append(x)
                yield x

        fake = side(parts(), real.extractor, classes)
        numbers = distances(fake, real)
        if flat:
            numbers["energy"] = real.energy(torch.cat(kept)[:MOST])
        sets.append(numbers)
        if fake.shares is not None:
            shares.append(fake.shares)
        if first is None:
            whole = torch.cat(kept)[:MOST]
            first = real.copies(whole)
            pairs = real.closest(whole, first.near)
    assert first is not None
    assert real.held_out is not None
    test = torch.cat(list(real.test(len(real.held_out.distance))))
    return SampleMeasurements(sets, shares, first, pairs, real.closest(test, real.held_out))


def shares_table(
    data: Dataset, result: SampleMeasurements, real: TrainingReference
) -> dict[str, Any] | None:
    """Return class shares with intervals over the sets, beside those of the training images."""
    from genai_cli.evaluation.intervals import over_sets

    if not result.shares or real.train.shares is None:
        return None
    columns = torch.stack(result.shares).T.tolist()
    means, lows, highs = zip(*(over_sets(column, 0.0, 1.0) for column in columns), strict=True)
    return {
        "names": list(data.spec.classes),
        "samples": list(means),
        "low": list(lows),
        "high": list(highs),
        "real": real.train.shares.tolist(),
    }
