"""The losses against independent formulas; what fits what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, kl_divergence

from genai_cli.errors import UserError
from genai_cli.losses import elementwise

ACTIVATIONS = ("linear", "sigmoid", "softmax")
PROBABILITY = ("cce", "kl")  # sums over classes; the others are means over elements
FUSED = (("bce", "sigmoid"), ("cce", "softmax"), ("kl", "softmax"))


def loss(name: str, activation: str, raw: Tensor, target: Tensor) -> Tensor:
    return elementwise.make({"name": name}, activation)(raw, target)


def normal(*shape: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


@pytest.fixture
def raw() -> Tensor:
    """Outputs (B, 5), negative ones among them."""
    return 2 * normal(6, 5)


@pytest.fixture
def target() -> Tensor:
    """A probability vector for each example."""
    return normal(6, 5, seed=1).softmax(1)


def keras_normalised(p: np.ndarray) -> np.ndarray:
    """p / Σ p, cut to [1e-7, 1 − 1e-7]: keras.ops.categorical_crossentropy."""
    return np.clip(p / p.sum(1, keepdims=True), 1e-7, 1 - 1e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mse", lambda p, t: F.mse_loss(p, t, reduction="none").mean(1)),
        ("mae", lambda p, t: F.l1_loss(p, t, reduction="none").mean(1)),
        ("huber", lambda p, t: F.smooth_l1_loss(p, t, reduction="none", beta=1.0).mean(1)),
        ("msle", lambda p, t: ((1 + p.clamp_min(0)).log() - (1 + t).log()).pow(2).mean(1)),
    ],
)
def test_regression_losses_are_means_over_elements(name, reference, activation, raw, target):
    prediction = {"linear": raw, "sigmoid": raw.sigmoid(), "softmax": raw.softmax(1)}[activation]
    torch.testing.assert_close(loss(name, activation, raw, target), reference(prediction, target))


@pytest.mark.parametrize("delta", [0.1, 1.0, 3.0])
def test_huber_delta_is_where_it_turns_linear(delta: float):
    error = torch.tensor([[0.5], [2.0], [-7.0]], dtype=torch.float64)
    a = error.abs()
    wanted = torch.where(a <= delta, a**2 / 2, delta * (a - delta / 2))[:, 0]
    found = elementwise.make({"name": "huber", "delta": delta}, "linear")(
        error, torch.zeros_like(error)
    )
    torch.testing.assert_close(found, wanted)


def test_msle_takes_negative_predictions_and_targets_as_zero():
    raw = torch.tensor([[-0.5, -9.0, 3.0]], dtype=torch.float64)
    target = torch.tensor([[-2.0, 0.0, 1.0]], dtype=torch.float64)
    wanted = np.array([(np.log(4) - np.log(2)) ** 2 / 3])
    np.testing.assert_allclose(loss("msle", "linear", raw, target), wanted)


def test_bce_on_sigmoid_is_minus_the_bernoulli_log_likelihood(raw: Tensor):
    bits = (normal(6, 5, seed=2) > 0).double()
    wanted = -Bernoulli(logits=raw).log_prob(bits).mean(1)
    torch.testing.assert_close(loss("bce", "sigmoid", raw, bits), wanted)


def test_bce_of_grey_targets_is_torchs(raw: Tensor, target: Tensor):
    wanted = F.binary_cross_entropy(raw.sigmoid(), target, reduction="none").mean(1)
    torch.testing.assert_close(loss("bce", "sigmoid", raw, target), wanted)


def test_bce_without_sigmoid_cuts_at_keras_epsilon():
    raw = torch.tensor([[-3.0, 0.25, 7.0]], dtype=torch.float64)
    target = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    wanted = -(np.log(1e-7) + np.log(0.25) + np.log1p(-(1 - 1e-7))) / 3
    np.testing.assert_allclose(loss("bce", "linear", raw, target), [wanted], rtol=1e-9)


def test_cce_of_labels_is_torchs_cross_entropy(raw: Tensor):
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    one_hot = F.one_hot(labels, 5).double()
    wanted = F.cross_entropy(raw, labels, reduction="none")
    torch.testing.assert_close(loss("cce", "softmax", raw, one_hot), wanted)
    torch.testing.assert_close(loss("kl", "softmax", raw, one_hot), wanted)  # entropy of t is 0


def test_cce_of_probabilities_is_torchs_cross_entropy(raw: Tensor, target: Tensor):
    wanted = F.cross_entropy(raw, target, reduction="none")
    torch.testing.assert_close(loss("cce", "softmax", raw, target), wanted)


def test_cce_divides_other_outputs_by_their_sum_as_keras(raw: Tensor, target: Tensor):
    p = raw.sigmoid().numpy()
    wanted = -(target.numpy() * np.log(keras_normalised(p))).sum(1)
    np.testing.assert_allclose(loss("cce", "sigmoid", raw, target), wanted, rtol=1e-12)


def test_kl_is_that_of_two_categoricals(raw: Tensor, target: Tensor):
    wanted = kl_divergence(Categorical(probs=target), Categorical(logits=raw))
    torch.testing.assert_close(loss("kl", "softmax", raw, target), wanted)


def test_kl_is_zero_where_prediction_is_target_and_positive_elsewhere(raw: Tensor):
    same = loss("kl", "softmax", raw, raw.softmax(1))
    torch.testing.assert_close(same, torch.zeros(6, dtype=torch.float64), atol=1e-14, rtol=0)
    assert (loss("kl", "softmax", raw, raw.roll(1, 1).softmax(1)) > 1e-3).all()


def test_kl_is_cce_minus_the_entropy_of_the_target(raw: Tensor, target: Tensor):
    entropy = Categorical(probs=target).entropy()
    difference = loss("cce", "softmax", raw, target) - loss("kl", "softmax", raw, target)
    torch.testing.assert_close(difference, entropy)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_loss_gives_one_value_for_each_example_alone(activation):
    for name in elementwise.LOSSES:
        for shape in [(4,), (1, 3, 5)]:
            raw = normal(7, *shape)
            target = normal(7, *shape, seed=1).flatten(1).softmax(1).view(7, *shape)
            together = loss(name, activation, raw, target)
            assert together.shape == (7,), (name, shape)
            alone = [loss(name, activation, raw[i : i + 1], target[i : i + 1]) for i in range(7)]
            torch.testing.assert_close(
                together, torch.cat(alone), msg=f"{name}, {shape}: {{}}".format
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "activation"), FUSED)
def test_fused_pairs_are_exact_at_huge_logits(name: str, activation: str, dtype: torch.dtype):
    raw = torch.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype=dtype, requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=dtype)
    values = loss(name, activation, raw, target)
    wrong = 1000.0 if name == "bce" else 2000.0
    torch.testing.assert_close(values, torch.tensor([0.0, wrong], dtype=dtype))
    (gradient,) = torch.autograd.grad(values.sum(), raw)
    share = 0.5 if name == "bce" else 1.0
    torch.testing.assert_close(
        gradient, torch.tensor([[0.0, 0.0], [-share, share]], dtype=dtype), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_pair_is_finite_with_finite_gradients(activation: str):
    for name in elementwise.LOSSES:
        for size in [0.0, 1e-30, 1.0, 1000.0]:
            raw = torch.tensor([[size, -size, 0.0]], dtype=torch.float32, requires_grad=True)
            target = torch.tensor([[0.0, 1.0, 0.0]])
            value = loss(name, activation, raw, target)
            (gradient,) = torch.autograd.grad(value.sum(), raw)
            assert value.isfinite().all(), (name, size)
            assert gradient.isfinite().all(), (name, size)


@pytest.mark.parametrize(("name", "activation"), [("mse", "sigmoid"), ("huber", "linear"), *FUSED])
def test_gradients_are_those_of_finite_differences(name, activation, raw: Tensor, target: Tensor):
    raw = raw.requires_grad_()
    assert torch.autograd.gradcheck(lambda r: loss(name, activation, r, target), (raw,))


def test_softmax_runs_over_all_elements_of_an_image():
    image = elementwise.activate(normal(3, 2, 4, 5), "softmax")
    torch.testing.assert_close(image.sum((1, 2, 3)), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("task", "unit_interval", "table"),
    [
        ("multiclass", False, {"cce": ["softmax"], "kl": ["softmax"], "bce": ["sigmoid"]}),
        ("binary", False, {"bce": ["sigmoid"], "cce": ["softmax"], "kl": ["softmax"]}),
        ("regression", False, {"mse": ["linear"], "mae": ["linear"], "huber": ["linear"]}),
        ("reconstruction", False, {"mse": ["linear"], "mae": ["linear"], "huber": ["linear"]}),
        (
            "reconstruction",
            True,
            {name: ["sigmoid", "linear"] for name in ("mse", "mae", "huber", "msle")}
            | {"bce": ["sigmoid"]},
        ),
    ],
)
def test_what_fits_a_task_best_first(task, unit_interval: bool, table: dict[str, list[str]]):
    fits = elementwise.fitting(task, unit_interval)
    assert {name: list(activations) for name, activations in fits.items()} == table
    assert list(fits) == list(table)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "msee"}, ("loss=msee", "did you mean 'mse'", "huber")),
        ({"name": "gaussian"}, ("loss=gaussian", "choose from")),
        ({"name": "mse", "delta": 1.0}, ("loss.delta",)),
        ({"name": "huber", "delta": 0.0}, ("loss.delta=0.0", "> 0")),
        ({"name": "huber", "activation": "linear"}, ("loss.activation",)),
    ],
)
def test_a_wrong_loss_is_one_line(node: dict, words: tuple[str, ...]):
    with pytest.raises(UserError) as caught:
        elementwise.make(node, "linear")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
