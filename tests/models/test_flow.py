"""The flow's mathematics: densities that integrate to one, offsets, codes, samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models.build import build_model
from genai_cli.models.flow import Flow
from genai_cli.networks.flow.images import Multiscale
from genai_cli.rng import RowGenerator

PLANE = Spec(event_shape=(2,))
GREY = Spec(event_shape=(1, 4, 4), levels=17, unit_interval=True)
SMALL = {"steps": 2, "widths": [8], "channels": 4, "depth": 1, "bins": 4, "activation": "tanh"}
LAYOUTS = ["flat", "multiscale"]


@pytest.fixture
def flow(build: Callable[..., Flow]) -> Callable[..., Flow]:
    """A small flow with all its weights moved away from the identity."""

    def make(data: Spec = PLANE, by: float = 0.2, **keys) -> Flow:
        model = build("flow", data, {"name": "nll"}, None, **(SMALL | keys))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(by * torch.randn_like(p))
        return model.eval()

    return make


def stored(n: int, spec: Spec = GREY) -> Tensor:
    """Random levels, with a few more at both ends, as data."""
    k = (torch.rand(n, *spec.event_shape) * (spec.levels + 4) - 2).floor()
    return k.clamp(0, spec.levels - 1) / (spec.levels - 1)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize("dim", [1, 2])
def test_the_density_integrates_to_one(flow, dim: int, coupling: str):
    model = flow(Spec(event_shape=(dim,)), coupling=coupling)
    model.first.prepare(2 * torch.randn(50, dim) + 1)
    axis = torch.linspace(-25, 25, 401)
    grid = torch.cartesian_prod(*[axis] * dim).view(-1, dim)
    with torch.no_grad():
        mass = model.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** dim
    assert mass.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_samples_follow_the_density(flow, coupling: str):
    """E over samples of g / p is 1 for any density g that p covers (importance sampling)."""
    model = flow(coupling=coupling)
    model.first.prepare(2 * torch.randn(50, 2) + 1)
    with torch.no_grad():
        x = model.sample(40_000, generator=torch.Generator().manual_seed(0))
        mean, std = x.mean(0), x.std(0)
        g = torch.distributions.Normal(mean, 0.5 * std)
        ratio = (g.log_prob(x).sum(1) - model.log_prob(x)).exp()
    assert ratio.std() < 20
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / math.sqrt(len(x))


def test_log_prob_is_that_of_the_jacobian(flow):
    model, x = flow(), torch.randn(4, 2)
    model.first.prepare(3 * torch.randn(50, 2) - 2)
    for row, found in zip(x, model.log_prob(x), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: model.encode(r[None])[0], row)
        z = model.encode(row[None])[0]
        normal = -0.5 * (z.square() + math.log(2 * math.pi)).sum()
        torch.testing.assert_close(found, normal + torch.linalg.slogdet(jacobian).logabsdet)
    assert model.log_prob_kind == "exact"
    assert model.test_draws == 1
    assert model.loss(Batch(x, None), {}).keys() == {"loss"}


@pytest.mark.parametrize("data", [PLANE, GREY], ids=["plane", "grey"])
@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_loss_is_minus_one_draw_of_log_prob(flow, layout, dequantisation, data):
    if data is PLANE and layout == "multiscale":
        return
    model = flow(data, layout=layout, dequantisation=dequantisation)
    x = torch.randn(5, 2) if data is PLANE else stored(5)
    noise = model.noise(5, torch.Generator().manual_seed(3))
    terms = model.loss(Batch(x, None), noise)
    found = model.log_prob(x, 1, torch.Generator().manual_seed(3))
    torch.testing.assert_close(terms["loss"], -found)
    if data is GREY:
        torch.testing.assert_close(terms["bits_per_dim"], -found / (16 * math.log(2)))
        assert model.log_prob_kind == "bound"
        assert model.test_draws == 8


class Uninformed(nn.Module):
    """A body that changes nothing."""

    droppable = 0

    def forward(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.flatten(1), torch.zeros(len(x))


def test_marginals_alone_give_the_entropy_of_the_histogram(flow):
    """P(k) is then the product of the learned frequencies, whatever the noise."""
    model, x = flow(GREY, by=0.0, layout="flat"), stored(200)
    model.body = Uninformed()
    model.first.prepare(((x * 16).round() + 0.5) / 17)
    p = model.first._table()[0]  # (D, 17)
    k = (x * 16).round().long().flatten(1)
    wanted = p.log().gather(1, k.T).sum(0)
    torch.testing.assert_close(model.log_prob(x, 3), wanted)


def test_the_logit_input_has_its_closed_form(flow):
    model, x = flow(GREY, by=0.0, input="logit", alpha=0.1, layout="flat"), stored(6)
    model.body = Uninformed()
    u = torch.rand(x.shape)
    s = 0.1 + 0.8 * (x * 16 + u) / 17
    z = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(0.0, 1.0), [torch.distributions.SigmoidTransform()]
    )
    wanted = (z.log_prob(s) + math.log(0.8) - math.log(17)).flatten(1).sum(1)
    torch.testing.assert_close(-model.loss(Batch(x, None), {"u": u})["loss"], wanted)


def test_the_affine_input_has_its_closed_form(flow):
    model, x = flow(GREY, by=0.0, input="affine", layout="flat"), stored(6)
    model.body = Uninformed()
    u = torch.rand(x.shape)
    v = (x * 16 + u) / 17
    normal = torch.distributions.Normal(0.5, 1 / math.sqrt(12))
    wanted = (normal.log_prob(v) - math.log(17)).flatten(1).sum(1)
    torch.testing.assert_close(-model.loss(Batch(x, None), {"u": u})["loss"], wanted)


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_masses_of_all_levels_sum_to_one(flow, layout: str, dequantisation: str):
    """E_u[p(k + u) / q(u)] is P(k), and Σ_k P(k) = 1; its logarithm is above the bound."""
    spec = Spec(event_shape=(1, 1, 2), levels=3, unit_interval=True)
    model = flow(spec, by=0.1, layout=layout, dequantisation=dequantisation)
    levels = torch.linspace(0, 1, 3)
    x = torch.cartesian_prod(levels, levels).view(9, 1, 1, 2)
    draws, rows = torch.Generator().manual_seed(0), 20_000
    with torch.no_grad():
        logs = torch.stack([model.log_prob(x.repeat(rows // 9, 1, 1, 1), 1, draws)]).view(-1, 9)
    mass = logs.exp()
    error = (mass.var(0) / len(mass)).sum().sqrt()
    assert error < 0.02
    assert abs(mass.mean(0).sum() - 1) < 5 * error
    assert (logs.mean(0) <= mass.mean(0).log()).all()


def test_variational_noise_starts_as_uniform_noise(flow):
    keys = {"by": 0.0, "layout": "flat"}
    learned, plain = flow(GREY, dequantisation="variational", **keys), flow(GREY, **keys)
    learned.load_state_dict(plain.state_dict(), strict=False)
    x, eps = stored(5), torch.randn(5, 1, 4, 4)
    u = torch.special.ndtr(eps)
    torch.testing.assert_close(
        learned.loss(Batch(x, None), {"u": eps})["loss"],
        plain.loss(Batch(x, None), {"u": u})["loss"],
    )


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip_returns_every_level(flow, layout: str, coupling: str):
    for name in ["marginals", "logit", "affine"]:
        model, x = flow(GREY, layout=layout, input=name, coupling=coupling), stored(20)
        torch.testing.assert_close(model.reconstruct(x), x, msg=f"{name}: {{}}".format)
        z = model.encode(x)
        assert z.shape == (20, model.code_size) == (20, 16), name


def test_round_trip_of_continuous_data(flow):
    model = flow(coupling="spline")
    model.first.prepare(3 * torch.randn(50, 2) - 2)
    x = 3 * torch.randn(100, 2)
    assert (model.reconstruct(x) - x).abs().max() < 1e-9
    z = torch.randn(100, 2)
    assert (model.encode(model.decode(z)) - z).abs().max() < 1e-9


@pytest.mark.parametrize("layout", LAYOUTS)
def test_samples_lie_on_the_levels(flow, layout: str):
    x = flow(GREY, layout=layout).sample(30, generator=torch.Generator().manual_seed(0))
    assert x.shape == (30, 1, 4, 4)
    assert x.min() >= 0
    assert x.max() <= 1
    torch.testing.assert_close(x * 16, (x * 16).round())


def test_temperature_scales_the_codes(flow):
    model = flow()
    z = model.prior(5, torch.Generator().manual_seed(1))
    for temperature in (0.0, 0.5, 1.0):
        x = model.sample(5, generator=torch.Generator().manual_seed(1), temperature=temperature)
        torch.testing.assert_close(x, model.decode(temperature * z))
    cold = model.sample(5, temperature=0.0)
    torch.testing.assert_close(cold, cold[:1].expand(5, 2))


def test_rows_of_a_sample_are_their_own(flow):
    model = flow()
    whole = model.sample(20, generator=RowGenerator(0, "sample", 0, 20))
    part = model.sample(7, generator=RowGenerator(0, "sample", 13, 7))
    torch.testing.assert_close(part, whole[13:])


def test_only_codes_that_are_split_off_can_be_left_out(flow):
    x = stored(4)
    multi = flow(GREY, layout="multiscale", scales=2)
    rows = multi.stages(x)
    assert list(rows) == ["round trip", "only the coarsest codes"]
    torch.testing.assert_close(rows["round trip"], x)
    z = multi.encode(x)
    assert multi.body.coarsest == 8
    z[:, 8:] = 0
    torch.testing.assert_close(rows["only the coarsest codes"], multi.decode(z))
    for keys in ({"layout": "flat"}, {"layout": "multiscale", "scales": 1}):
        assert list(flow(GREY, **keys).stages(x)) == ["round trip"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_trajectory_leads_from_codes_to_samples(flow, layout: str):
    model = flow(GREY, layout=layout)
    path = model.trajectory(3, generator=torch.Generator().manual_seed(0), frames=5)
    sample = model.sample(3, generator=torch.Generator().manual_seed(0))
    assert path.shape == (5, 3, 1, 4, 4)
    torch.testing.assert_close(path[-1], sample)
    assert not torch.allclose(path[0], sample)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_preparing_sets_every_data_dependent_start(flow, layout: str):
    model, x = flow(GREY, by=0.0, layout=layout), stored(300)
    model.prepare(Batch(x, None))
    before = [p.clone() for p in model.parameters()]
    model.prepare(Batch(x, None))  # a function of data and weights, not of a generator
    for a, b in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    z = model.encode(x)
    assert z.mean().abs() < 0.1
    assert abs(z.var() - 1) < 0.2


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 15, 9)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_of_any_size(flow, layout: str, shape: tuple[int, ...]):
    spec = Spec(event_shape=shape, levels=256, unit_interval=True)
    widths = [3] if layout == "flat" else [8]
    model = flow(spec, by=0.01, layout=layout, widths=widths, steps=1, mixing="permute")
    x = stored(2, spec)
    terms = model.loss(Batch(x, None), model.noise(2, torch.Generator()))
    assert terms["loss"].isfinite().all()
    torch.testing.assert_close(model.reconstruct(x), x)


def test_auto_takes_convolutions_for_larger_images(flow):
    small, large = ((1, s, s) for s in (8, 16))
    for shape, kind in ((small, False), (large, True), ((300,), False)):
        spec = Spec(event_shape=shape, levels=17 if len(shape) == 3 else None)
        assert isinstance(flow(spec, mixing="permute", steps=1).body, Multiscale) == kind


def test_refusals_name_what_is_allowed(flow):
    pair = Spec(event_shape=(1, 4, 4), target="image", target_shape=(1, 8, 8))
    with pytest.raises(UserError, match="model=autoencoder"):
        flow(pair)
    with pytest.raises(UserError, match=r"multiscale needs images.*2 columns.*layout=flat"):
        flow(PLANE, layout="multiscale")
    with pytest.raises(UserError, match=r"model.scales=3.*at most model.scales=2"):
        flow(GREY, layout="multiscale", scales=3)
    with pytest.raises(UserError, match=r"model\.bins=1 .*>= 2 and <= 64"):
        flow(PLANE, bins=1)
    with pytest.raises(UserError, match="flow has no bottleneck"):
        build_model(TrainConfig(model={"name": "flow"}, bottleneck=4), PLANE)


def test_pictures_get_dropout_and_the_plane_none(flow):
    assert "keep" in flow(GREY).train().noise(2, torch.Generator())
    assert "keep" not in flow(PLANE).train().noise(2, torch.Generator())
    assert "keep" in flow(PLANE, dropout=0.1).train().noise(2, torch.Generator())
    assert "keep" not in flow(GREY).eval().noise(2, torch.Generator())


@pytest.mark.parametrize("dequantisation", ["uniform", "variational"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropout_changes_a_loss_once_the_couplings_do_something(flow, layout, dequantisation):
    model = flow(GREY, layout=layout, dequantisation=dequantisation, dropout=0.5).train()
    x, noise = stored(5), model.noise(5, torch.Generator().manual_seed(0))
    masked = model.loss(Batch(x, None), noise)["loss"]
    keep = noise.pop("keep")
    plain = model.loss(Batch(x, None), noise)["loss"]
    assert keep.shape == (5, sum(m.droppable for m in model._networks()))
    torch.testing.assert_close(
        model.loss(Batch(x, None), noise | {"keep": torch.ones_like(keep)})["loss"], plain
    )
    assert not torch.allclose(masked, plain)


def test_autocast_changes_a_loss_little(flow):
    torch.set_default_dtype(torch.float32)
    model, x = flow(GREY, layout="multiscale"), stored(6).float()
    noise = model.noise(6, torch.Generator().manual_seed(0))
    plain = model.loss(Batch(x, None), noise)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(Batch(x, None), noise)["loss"]
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain, rtol=0.02, atol=0.5)
