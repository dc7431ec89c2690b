"""Which extractor data gets, what it makes of an example, what a number's ruler holds of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from genai_cli.data.dataset import Dataset
from genai_cli.data.sources import load
from genai_cli.errors import UserError
from genai_cli.evaluation.features import make_extractor


def quiet(text: str) -> None:
    pytest.fail(f"said: {text}")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load({"name": "digits"})


def unlabelled(data: Dataset) -> Dataset:
    return replace(data, spec=data.spec._replace(target="none", classes=()))


def test_labelled_images_get_the_reference(digits: Dataset) -> None:
    found = make_extractor("auto", digits, say=quiet)
    assert (found.name, found.width, found.accuracy) == ("reference", 128, 355 / 360)
    assert found.note == (
        "features: 128 of the reference classifier 99d3e9894e62f781 (accuracy 0.986 on the test "
        "images of digits)"
    )
    assert found.passport() == {
        "extractor": "reference",
        "extractor_hash": "99d3e9894e62f781",
        "extractor_accuracy": 355 / 360,
    }
    assert make_extractor("reference", digits, say=quiet).passport() == found.passport()


def test_unlabelled_images_get_pixels_and_hear_why(digits: Dataset) -> None:
    found = make_extractor("auto", unlabelled(digits), say=quiet)
    assert found.note == "features: the 64 pixels, as digits has no labels"
    assert found.passport() == {
        "extractor": "pixels",
        "extractor_hash": None,
        "extractor_accuracy": None,
    }
    assert make_extractor("pixels", digits, say=quiet).note == "features: the 64 pixels"


def test_of_a_pair_the_target_is_what_is_drawn() -> None:
    data = load({"name": "digits", "pair": "superresolution", "factor": 2})
    found = make_extractor("auto", data, say=quiet)
    assert found.note == "features: the 64 pixels, as an image pair has no labels"
    batch = data.test.batch(torch.arange(3))
    assert batch.x.shape == (3, 1, 4, 4)
    assert found.features(batch.y).shape == (3, found.width)


@pytest.mark.parametrize(("name", "width"), [("moons", 2), ("wine", 13)])
def test_points_and_tables_get_their_values(name: str, width: int) -> None:
    data = load({"name": name})
    for asked in ("auto", "pixels"):
        found = make_extractor(asked, data, say=quiet)
        assert (found.name, found.width) == ("values", width)
        assert found.note == f"features: the {width} values"
    x = data.test.x[:5]
    assert torch.equal(found.features(x), x.float())
    assert found.predicted(x) is None
    assert found.classes_of(x) is None


@pytest.mark.parametrize("name", ["reference", "inception"])
def test_what_does_not_work_is_answered_in_a_line(name: str) -> None:
    for data in (load({"name": "moons"}), load({"name": "wine"})):
        with pytest.raises(UserError, match=f"features={name} .*features=pixels") as said:
            make_extractor(name, data, say=quiet)
        assert "\n" not in str(said.value)


def test_an_unknown_extractor_lists_the_known(digits: Dataset) -> None:
    with pytest.raises(UserError, match=r"features=vgg .*auto, inception, pixels, reference"):
        make_extractor("vgg", digits)


def test_features_and_classes_are_the_networks(digits: Dataset) -> None:
    found = make_extractor("reference", digits, say=quiet)
    x = digits.test.batch(torch.arange(40))
    features = found.features(x.x)
    assert features.shape == (40, 128)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    predicted = found.predicted(x.x)
    assert predicted.dtype == torch.int64
    assert (predicted == x.y).float().mean() > 0.9
    assert torch.equal(found.classes_of(features), predicted)


@pytest.mark.parametrize("name", ["reference", "pixels"])
def test_features_do_not_depend_on_batch_or_precision(name: str, digits: Dataset) -> None:
    found = make_extractor(name, digits, say=quiet)
    x = digits.test.batch(torch.arange(50)).x
    whole = found.features(x)
    assert torch.allclose(replace(found, batch=7).features(x), whole, rtol=1e-5, atol=1e-6)
    torch.set_default_dtype(torch.float64)
    try:
        double = make_extractor(name, digits, say=quiet).features(x.double())
    finally:
        torch.set_default_dtype(torch.float32)
    assert double.dtype == torch.float32
    assert torch.equal(double, whole)


def test_no_examples_have_no_features(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="no examples"):
        make_extractor("pixels", digits).features(torch.zeros(0, 1, 8, 8))
