"""The multilayer perceptron: targets of its losses, predictions, accuracy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models.mlp import MLP

THREE = Spec(event_shape=(4,), target="labels", classes=("a", "b", "c"))
TWO = THREE._replace(classes=("no", "yes"))
VALUES = Spec(event_shape=(4,), target="values", target_shape=(2,))
OUTPUT = {"cce": "softmax", "kl": "softmax", "bce": "sigmoid", "mse": "linear"}


@pytest.fixture
def mlp(build: Callable[..., MLP]) -> Callable[..., MLP]:
    def make(data: Spec, loss: str, **keys) -> MLP:
        keys = {"widths": [6], "output_activation": OUTPUT[loss]} | keys
        return build("mlp", data, {"name": loss}, 5, **keys)

    return make


@pytest.fixture
def x() -> Tensor:
    return torch.randn(9, 4)


def test_size_is_counted_by_hand(mlp):
    model = mlp(THREE, "cce", widths=[6, 7])
    wanted = (4 * 6 + 6) + (6 * 7 + 7) + (7 * 5 + 5) + (5 * 3 + 3)
    assert sum(p.numel() for p in model.parameters()) == wanted


@pytest.mark.parametrize("loss", ["cce", "kl"])
def test_classes_are_learned_by_cross_entropy(mlp, loss: str, x: Tensor):
    model, y = mlp(THREE, loss), torch.arange(9) % 3
    wanted = F.cross_entropy(model.network(x), y, reduction="none")
    torch.testing.assert_close(model.loss(Batch(x, y), {})["loss"], wanted)


def test_two_classes_with_bce_have_one_logit_of_the_second(mlp, x: Tensor):
    model, y = mlp(TWO, "bce"), torch.arange(9) % 2
    logit = model.network(x)
    assert logit.shape == (9, 1)
    terms = model.loss(Batch(x, y), {})
    wanted = F.binary_cross_entropy_with_logits(logit[:, 0], y.double(), reduction="none")
    torch.testing.assert_close(terms["loss"], wanted)
    p = model.predict(x)
    torch.testing.assert_close(p[:, 1], logit[:, 0].sigmoid())
    torch.testing.assert_close(p.sum(1), torch.ones(9))


def test_values_are_learned_by_squared_error(mlp, x: Tensor):
    model, y = mlp(VALUES, "mse"), torch.randn(9, 2)
    terms = model.loss(Batch(x, y), {})
    wanted = (model.predict(x) - y).square().mean(1)
    torch.testing.assert_close(terms, {"loss": wanted})


@pytest.mark.parametrize(("data", "loss"), [(THREE, "cce"), (TWO, "bce"), (TWO, "cce")])
def test_accuracy_counts_the_most_probable_class(mlp, data: Spec, loss: str, x: Tensor):
    model, y = mlp(data, loss), torch.arange(9) % len(data.classes)
    wanted = (model.predict(x).argmax(1) == y).double()
    torch.testing.assert_close(model.loss(Batch(x, y), {})["accuracy"], wanted)


@pytest.mark.parametrize("s", [0.1, 0.5])
def test_label_smoothing_is_torchs_in_training_and_off_outside(mlp, s: float, x: Tensor):
    model, y = mlp(THREE, "cce", label_smoothing=s), torch.arange(9) % 3
    for training, smoothing in ((True, s), (False, 0.0)):
        model.train(training)
        wanted = F.cross_entropy(model.network(x), y, reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(model.loss(Batch(x, y), {})["loss"], wanted)


def test_a_smoothed_single_logit_spreads_the_same_share(mlp, x: Tensor):
    model = mlp(TWO, "bce", label_smoothing=0.2)
    loss = model.loss(Batch(x, torch.ones(9, dtype=torch.int64)), {})["loss"]
    wanted = F.binary_cross_entropy_with_logits(
        model.network(x), torch.full((9, 1), 0.9), reduction="none"
    )
    torch.testing.assert_close(loss, wanted[:, 0])


def test_input_noise_moves_x_in_training_only(mlp, x: Tensor):
    model, y = mlp(VALUES, "mse", input_noise=0.3), torch.randn(9, 2)
    noise = model.noise(9, torch.Generator().manual_seed(0))
    wanted = (model.predict(x + 0.3 * noise["eps"]) - y).square().mean(1)
    torch.testing.assert_close(model.loss(Batch(x, y), noise)["loss"], wanted)
    assert model.eval().noise(9, torch.Generator()) == {}


@pytest.mark.parametrize("standardise", [True, False])
def test_x_is_standardised_by_what_was_measured_before_the_first_step(
    mlp, standardise: bool, x: Tensor
):
    model, y, seen = mlp(VALUES, "mse", standardise=standardise), torch.randn(9, 2), 5 + 3 * x
    model.prepare(Batch(seen, y))
    mean, std = (seen.mean(), seen.std()) if standardise else (0.0, 1.0)
    new = torch.randn(9, 4)
    scaled = (new - mean) / std
    torch.testing.assert_close(model.predict(new), model.network(scaled))
    wanted = (model.network(scaled) - y).square().mean(1)
    torch.testing.assert_close(model.loss(Batch(new, y), {})["loss"], wanted)
    hidden = model.encode(new)
    torch.testing.assert_close(model.network.layers[-1](hidden), model.network(scaled))
    twin = mlp(VALUES, "mse", standardise=standardise)
    twin.load_state_dict(model.state_dict())  # the measures are part of the weights
    assert torch.equal(twin.predict(new), model.predict(new))


def test_constant_data_is_standardised_to_finite_numbers(mlp):
    model = mlp(VALUES, "mse")
    model.prepare(Batch(torch.full((9, 4), 0.5), None))
    assert model.predict(torch.full((2, 4), 0.5)).isfinite().all()


def test_encode_is_the_last_hidden_layer(mlp, x: Tensor):
    model = mlp(VALUES, "mse")
    code = model.encode(x)
    assert code.shape == (9, 5)
    torch.testing.assert_close(model.network.layers[-1](code), model.predict(x))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Spec(event_shape=(4,)), ("predicts labels or values",)),
        (THREE._replace(classes=("cat",)), ("tells classes apart", "has 1: cat; choose another")),
        (Spec(event_shape=(1, 8, 8), target="image", target_shape=(1, 8, 8)), ("autoencoder",)),
    ],
)
def test_data_without_something_to_predict_is_refused(mlp, data: Spec, words: tuple[str, ...]):
    with pytest.raises(UserError) as caught:
        mlp(data, "mse")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
