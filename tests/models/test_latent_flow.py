"""The latent flow: the divergence by one sample, the prior it samples from, bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genai_cli.data.dataset import Batch, Spec
from genai_cli.models.latent_flow import LatentFlow
from genai_cli.models.vae import kl_to_standard_normal
from genai_cli.rng import RowGenerator

DATA = Spec(event_shape=(5,))
LOSS = {"name": "gaussian", "sigma": 0.5}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(model: LatentFlow) -> LatentFlow:
    """With a flow that is not the identity."""
    for i, p in enumerate(model.flow.parameters()):
        p.data += 0.1 * draw(*p.shape, seed=i)
    return model


@pytest.fixture
def latent_flow(build: Callable[..., LatentFlow]) -> Callable[..., LatentFlow]:
    def make(bottleneck: int = 2, **keys) -> LatentFlow:
        return build("latent_flow", DATA, LOSS, bottleneck, widths=[8], **keys).eval()

    return make


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize("bottleneck", [1, 2])
def test_the_prior_is_a_density_that_integrates_to_one(latent_flow, coupling, bottleneck):
    model = shaken(latent_flow(bottleneck, coupling=coupling))
    line = torch.linspace(-10, 10, 251)
    grid = torch.cartesian_prod(*[line] * bottleneck).view(-1, bottleneck)
    with torch.no_grad():
        total = model.log_prior(grid).exp().sum() * (line[1] - line[0]) ** bottleneck
    assert total.item() == pytest.approx(1, abs=0.01)


def test_the_sampled_divergence_has_the_closed_forms_mean(latent_flow):
    """A flow that only shifts and scales: p(z) = N(−shift, e^(−2 log_scale)), KL in closed form."""
    model = latent_flow(2, flow_steps=1)
    with torch.no_grad():
        for name, p in model.flow.named_parameters():
            if "log_scale" not in name and "shift" not in name:
                continue
            p.copy_(torch.tensor([0.3, -0.2]))
    mu, logvar = draw(1, 2, seed=1), draw(1, 2, seed=2)
    eps = draw(100_000, 2)
    with torch.no_grad():
        kl, charged = model.divergence(mu.expand_as(eps), logvar.expand_as(eps), eps)
    assert torch.equal(kl, charged)
    u_mean, volume = model.flow(mu)  # affine: the posterior stays normal behind it
    spread = torch.autograd.functional.jacobian(lambda z: model.flow(z[None])[0][0], mu[0])
    cov = spread @ torch.diag(logvar[0].exp()) @ spread.T
    wanted = 0.5 * (cov.trace() + u_mean.square().sum() - 2 - torch.logdet(cov))
    assert volume.item() == pytest.approx(torch.linalg.slogdet(spread).logabsdet.item())
    assert kl.mean().item() == pytest.approx(wanted.item(), abs=0.02)


def test_samples_come_from_the_flow(latent_flow):
    model = shaken(latent_flow(2))
    z = model.prior(4, torch.Generator().manual_seed(0))
    u = model.flow(z)[0]
    torch.testing.assert_close(u, draw(4, 2), rtol=1e-9, atol=1e-9)
    again = model.sample(4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again, model.decode(z))


def test_temperature_zero_is_the_middle_of_the_flow(latent_flow):
    model = shaken(latent_flow(2))
    still = model.sample(3, generator=RowGenerator(0, "sample", 0, 3), temperature=0.0)
    middle = model.decode(model.flow.inverse(torch.zeros(1, 2)))
    torch.testing.assert_close(still, middle.expand_as(still))


def test_more_importance_samples_tighten_the_bound(latent_flow):
    model, x = shaken(latent_flow(2)), draw(32, 5, seed=3)
    bounds = [
        model.log_prob(x, samples=k, generator=torch.Generator().manual_seed(0)).mean().item()
        for k in (1, 10, 100)
    ]
    assert bounds == sorted(bounds)


def test_loss_is_the_negative_bound(latent_flow):
    model, x, eps = shaken(latent_flow(2)), draw(6, 5, seed=4), draw(6, 2, seed=5)
    terms = model.loss(Batch(x, None), {"eps": eps})
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])
    mu, logvar = model.posterior(x)
    z = mu + (0.5 * logvar).exp() * eps
    log_q = torch.distributions.Normal(mu, (0.5 * logvar).exp()).log_prob(z).sum(1)
    torch.testing.assert_close(terms["kl"], log_q - model.log_prior(z))


def test_prepare_starts_the_flow_at_the_codes(latent_flow):
    model, x = latent_flow(3), 3 + 2 * draw(2000, 5)
    model.prepare(Batch(x, None))
    mu, logvar = model.posterior(x)
    u = model.flow(mu + (0.5 * logvar).exp() * draw(2000, 3, seed=6))[0]
    torch.testing.assert_close(u.mean(0), torch.zeros(3), atol=0.1, rtol=0)
    torch.testing.assert_close(u.std(0), torch.ones(3), atol=0.1, rtol=0)


@pytest.mark.trains
def test_a_flow_learns_a_prior_that_a_normal_cannot_be(
    latent_flow, train_seed: int, assert_below: Callable
):
    """Codes on two far clusters: the flow's KL falls below the standard normal's."""
    torch.manual_seed(train_seed)
    model = latent_flow(2, coupling="spline", flow_steps=3, flow_widths=[32])
    side = torch.randint(0, 2, (128, 1), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    mu, logvar = 2.5 * side + 0.1 * draw(128, 2), torch.full((128, 2), -4.0)
    optimizer = torch.optim.Adam(model.flow.parameters(), 1e-2)
    for step in range(80):
        optimizer.zero_grad()
        model.divergence(mu, logvar, draw(128, 2, seed=1000 * train_seed + step))[
            0
        ].mean().backward()
        optimizer.step()
    learned = model.divergence(mu, logvar, draw(128, 2, seed=999))[0].mean()
    plain = kl_to_standard_normal(mu, logvar).sum(1).mean()
    assert_below(learned.item(), 0.6 * plain.item())
