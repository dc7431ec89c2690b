"""Where exponentials, logarithms and roots come to their ends, values and gradients stay right."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from genai_cli.data.dataset import Batch, Spec
from genai_cli.losses import adversarial, elementwise, likelihoods
from genai_cli.models.autoencoder import Autoencoder
from genai_cli.models.ddpm import DDPM
from genai_cli.models.mlp import MLP
from genai_cli.networks.flow import spline
from genai_cli.networks.flow.inputs import Logit

GREY = Spec((1, 4, 4), levels=256, unit_interval=True)
LABELS = GREY._replace(target="labels", classes=("a", "b", "c"))
ENDS = torch.tensor([0.0, 1e-30, 1e-3, 1.0, 20.0, 100.0, 1e5, 1e12])
RAW = torch.cat([-ENDS.flip(0), ENDS])  # (16,) of a network's outputs


@pytest.fixture(autouse=True)
def _single_precision() -> Iterator[None]:
    """Unlike the other tests of models: rounding is what these are about."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


def of_levels(name: str, parameter: float, dtype: torch.dtype, **keys: object) -> list[Tensor]:
    """−log p of the darkest, a middle and the brightest level for every `RAW`, its gradients."""
    model = likelihoods.make({"name": name, **keys}, GREY).to(dtype)
    for p in model.parameters():
        p.data.fill_(parameter)
    x = torch.tensor([0, 128, 255], dtype=dtype).div(255).repeat_interleave(len(RAW))[:, None]
    raw = RAW.to(dtype).repeat(3)[:, None].requires_grad_()
    nll = model.nll(raw, x)
    return [nll, *torch.autograd.grad(nll.sum(), [raw, *model.parameters()])]


@pytest.mark.parametrize(
    ("name", "keys"), [("logistic", {}), ("gaussian", {"sigma": "learned"}), ("bernoulli", {})]
)
def test_a_likelihood_and_its_gradient_are_those_of_double_precision(name: str, keys: dict) -> None:
    for parameter in [-1e30, -50, -8.5, -2, 5, 88.7, 100, 1e4]:
        for single, wanted in zip(
            of_levels(name, parameter, torch.float32, **keys),
            of_levels(name, parameter, torch.float64, **keys),
            strict=True,
        ):
            assert single.isfinite().all(), parameter
            # a gradient that a sigmoid leaves of 1e-9 is no matter
            atol = 1e-6 * float(wanted.detach().abs().max()) + 1e-30
            torch.testing.assert_close(
                single.double(), wanted, rtol=1e-3, atol=atol, msg=f"{parameter}: {{}}".format
            )


@pytest.mark.parametrize(
    ("name", "keys", "floor"),
    [("logistic", {}, -8.0), ("gaussian", {"sigma": "learned"}, math.log(0.5 / 255))],
)
def test_a_scale_below_its_floor_can_come_back(name: str, keys: dict, floor: float) -> None:
    model = likelihoods.make({"name": name, **keys}, GREY).double()
    (scale,) = model.parameters()
    scale.data.fill_(floor - 1)
    wrong = torch.zeros(4, 16).double()  # means of 0.5, far from the data: a wider scale is right
    before = model.nll(wrong, torch.ones(4, 16).double()).sum()
    (slope,) = torch.autograd.grad(before, scale)
    assert slope < 0
    scale.data.add_(1e-4)
    after = model.nll(wrong, torch.ones(4, 16).double()).sum()
    assert float(after - before) == pytest.approx(1e-4 * float(slope), rel=1e-2)


def test_above_its_floor_a_scale_is_itself() -> None:
    scales = torch.linspace(-3, 50, 100)
    torch.testing.assert_close(likelihoods.floored(scales, -8.0), scales, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("below", "slope"), [(3, 3.775e-11), (10, 1.805e-35), (12, 0)])
def test_how_far_below_its_floor_a_scale_can_come_back(below: int, slope: float) -> None:
    scale = torch.tensor(-8.0 - below, requires_grad=True)
    (found,) = torch.autograd.grad(likelihoods.floored(scale, -8.0), scale)
    assert float(found) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "bce", "msle"])
def test_losses_are_not_taken_in_half_precision(loss: str) -> None:
    torch.manual_seed(0)
    model = Autoencoder(GREY, {"name": loss}, 2, widths=[8], output_activation="sigmoid")
    batch = Batch(torch.rand(8, 1, 4, 4), None)
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.loss(batch, {})
    assert {v.dtype for v in terms.values()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        raw = model.decoder(model.encoder(batch.x))
    assert raw.dtype == torch.bfloat16  # there was something to lose
    wanted = elementwise.make({"name": loss}, "sigmoid")(raw.double(), batch.x.double())
    torch.testing.assert_close(terms["loss"].double(), wanted, rtol=1e-5, atol=0)


def test_a_classifier_is_sure_in_half_precision_and_finite() -> None:
    torch.manual_seed(0)
    model = MLP(LABELS, {"name": "cce"}, 2, widths=[8], output_activation="sigmoid")
    for p in model.parameters():
        p.data.mul_(300)
    batch = Batch(torch.rand(64, 1, 4, 4), torch.randint(3, (64,)))
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.loss(batch, {})
    assert terms["loss"].dtype == torch.float32
    assert terms["loss"].isfinite().all()


@pytest.mark.parametrize("alpha", [0.05, 1e-6, 1e-9, 1e-30])
def test_a_logit_keeps_its_ends(alpha: float) -> None:
    v = torch.tensor([0.0, 1e-9, 0.5, 1 - 2**-24, 1.0])
    z, slope = Logit(alpha)(v[:, None])
    a = alpha + (1 - 2 * alpha) * v.double()
    b = alpha + (1 - 2 * alpha) * (1 - v.double())
    torch.testing.assert_close(z[:, 0].double(), a.log() - b.log(), rtol=1e-5, atol=1e-6)
    wanted = math.log(1 - 2 * alpha) - a.log() - b.log()
    torch.testing.assert_close(slope.double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bins", [2, 8, 64])
def test_a_spline_is_inverted_to_rounding(bins: int) -> None:
    for scale in [1, 10, 100, 1e4, 1e8]:
        raw = scale * torch.randn(2000, 3 * bins - 1, generator=torch.Generator().manual_seed(0))
        at = spline.knots(raw, bins, 4.0)
        y = torch.linspace(-3.99, 3.99, 2000)
        exact = tuple(knot.double() for knot in at)
        low, high = (torch.full((2000,), end, dtype=torch.float64) for end in (-4.0, 4.0))
        for _ in range(80):  # bisection needs no formula
            middle = (low + high) / 2
            above = spline.forward(middle, exact)[0] > y.double()
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        torch.testing.assert_close(
            spline.inverse(y, at).double(), low, rtol=0, atol=1e-3, msg=f"{scale}: {{}}".format
        )


@pytest.mark.parametrize(("steps", "schedule"), [(10, "linear"), (1000, "cosine"), (1, "sigmoid")])
@pytest.mark.parametrize("data", [GREY, Spec((2,))])
def test_the_bound_has_a_gradient_at_every_step(data: Spec, steps: int, schedule: str) -> None:
    for prediction in ["eps", "x0", "v"]:
        found = []
        for dtype in (torch.float32, torch.float64):
            torch.set_default_dtype(dtype)
            try:
                model = DDPM(
                    data, {"name": "vlb"}, 4, network="mlp", widths=[8], timesteps=steps,
                    noise_schedule=schedule, prediction=prediction,
                )  # fmt: skip
                draws = torch.Generator().manual_seed(0)
                for p in model.parameters():
                    p.data.copy_(0.3 * torch.randn(p.shape, generator=draws, dtype=torch.float64))
                shape = (16, *data.event_shape)
                x = (
                    torch.rand(shape, generator=draws, dtype=torch.float64)
                    .mul(255)
                    .round()
                    .div(255)
                )
                eps = torch.randn(shape, generator=draws, dtype=torch.float64)
                t = torch.linspace(0, 1 - 2**-20, 16, dtype=torch.float64)
                model.prepare(Batch(x.to(dtype), None))
                loss = model.loss(
                    Batch(x.to(dtype), None), {"t": t.to(dtype), "eps": eps.to(dtype)}
                )
                (gradient,) = torch.autograd.grad(
                    loss["loss"].sum(), model.denoiser.network.last.bias
                )
                found.append((loss["loss"].double(), gradient.double()))
            finally:
                torch.set_default_dtype(torch.float32)
        for single, wanted in zip(*found, strict=True):
            assert single.isfinite().all(), prediction
            atol = 3e-2 * float(wanted.abs().mean())
            torch.testing.assert_close(
                single, wanted, rtol=3e-2, atol=atol, msg=f"{prediction}: {{}}".format
            )


@pytest.mark.parametrize("penalty", [adversarial.one_centred, adversarial.zero_centred])
@pytest.mark.parametrize("slope", [0.0, 1e-25, 1.0, 1e9])
def test_a_penalty_on_a_flat_discriminator_has_a_gradient(penalty: object, slope: float) -> None:
    weight = torch.full((3,), slope, requires_grad=True)
    value = penalty(lambda x: (x * weight).sum(1), torch.randn(4, 3))
    (gradient,) = torch.autograd.grad(value.sum(), weight)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    w = weight.detach().double()
    norm = w.norm()
    wanted = 4 * (2 * (norm - 1) * w / norm.clamp_min(1e-300))
    if penalty is adversarial.zero_centred:
        wanted = 4 * w
    if slope != 1e-25 or penalty is adversarial.zero_centred:  # whose square is 0 in fp32
        torch.testing.assert_close(gradient.double(), wanted, rtol=1e-5, atol=1e-20)


@pytest.mark.parametrize("name", adversarial.LOSSES)
def test_scores_of_any_size_have_a_loss_and_a_gradient(name: str) -> None:
    real, fake = (
        side.flatten().requires_grad_() for side in torch.meshgrid(RAW, RAW, indexing="ij")
    )
    for player in adversarial.make({"name": name})[:2]:
        value = player(real, fake)
        slopes = torch.autograd.grad(value.sum(), [real, fake], allow_unused=True)
        assert all(v.isfinite().all() for v in (value, *slopes) if v is not None)
