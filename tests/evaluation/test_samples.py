"""What is compared with what: sets of samples, training examples, test examples of equal number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.data.sources import load
from genai_cli.evaluation import features
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.drawing import SampleSets
from genai_cli.evaluation.energy import energy_distance
from genai_cli.evaluation.fidelity import frechet_distance, kernel_distance, neighbourhoods
from genai_cli.evaluation.memorisation import memorisation
from genai_cli.evaluation.samples import Side, TrainingReference, distances, measure

N = 40


@pytest.fixture(scope="module")
def moons() -> Dataset:
    return load({"name": "moons", "n": 400})


@pytest.fixture
def real(moons: Dataset) -> TrainingReference:
    extractor = features.make_extractor("pixels", moons, say=lambda text: None)
    return TrainingReference.make(moons, extractor, 3, lambda n: None)


def ordered(real: TrainingReference) -> Tensor:
    return real.data.train.batch(real.order).x


def expected(x: Tensor, real: TrainingReference) -> dict[str, float]:
    """Fréchet and kernel against all training examples, the rest against as many as x."""
    train = ordered(real)
    return {
        "frechet": frechet_distance(train, x),
        "kernel": kernel_distance(train, x),
        **neighbourhoods(train[: len(x)], x, 3)._asdict(),
        "energy": energy_distance(train[: len(x)], x),
    }


def test_the_floor_is_test_examples_against_training_examples_at_that_n(
    real: TrainingReference,
) -> None:
    test = real.data.test.batch(subset(real.data.test, N)).x
    assert real.floor(N) == pytest.approx(expected(test, real), rel=1e-6)
    everything = len(real.data.test)
    assert real.floor(10 * everything) == real.floor(everything)


def test_every_set_is_measured_by_itself_and_the_first_for_copies(real: TrainingReference) -> None:
    sets = {s: torch.randn(N, 2, generator=torch.Generator().manual_seed(s)) for s in (4, 5, 6)}
    drawing = SimpleNamespace(batches=lambda n, seed, tick: iter(sets[seed].split(16)))
    found = measure(drawing, real, N, [4, 5, 6], lambda n: None)
    assert len(found.sets) == 3
    for mine, x in zip(found.sets, sets.values(), strict=True):
        assert mine == pytest.approx(expected(x, real), rel=1e-6)
    test = real.data.test.batch(subset(real.data.test, N)).x
    own = memorisation(sets[4], ordered(real), test)
    assert (found.copies.p, found.copies.closer) == pytest.approx((own.p, own.closer))
    assert torch.equal(
        found.pairs.nearest, ordered(real)[own.near.index[own.near.distance.argsort()[:10]]]
    )


def test_class_distance_is_half_the_sum_of_differences(real: TrainingReference) -> None:
    def with_shares(side: Side, shares: list[float]) -> Side:
        return side._replace(shares=torch.tensor(shares))

    real.train = with_shares(real.train, [0.5, 0.25, 0.25, 0.0])
    found = distances(with_shares(real.train, [0.0, 0.75, 0.25, 0.0]), real)
    assert found["class_distance"] == pytest.approx(0.5)
    assert found["classes"] == 2


def test_labels_go_on_from_batch_to_batch(moons: Dataset) -> None:
    model = torch.nn.Linear(1, 1)
    model.conditional = True
    drawing = SampleSets(model, moons, {}, 64)
    whole = drawing.labels(500, 3, 0)
    assert torch.equal(drawing.labels(20, 3, 300), whole[300:320])
    train = moons.train.batch(torch.arange(len(moons.train))).y
    assert torch.equal(whole[: len(train)].sort().values, train.sort().values)  # in their shares
    assert not torch.equal(drawing.labels(500, 4, 0), whole)
