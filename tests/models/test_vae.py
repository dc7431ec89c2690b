"""The VAE's mathematics: posterior, bound, weights of the KL term, importance weighting."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from genai_cli.config import compose
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models.vae import LOGVAR_BOUND, VAE, kl_to_standard_normal
from genai_cli.runner.prepare import prepare

Build = Callable[..., VAE]
SIGMA = 0.5
PLANE = Spec(event_shape=(3,))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def standard(n: int) -> Normal:
    return Independent(Normal(torch.zeros(n), torch.ones(n)), 1)


@pytest.fixture
def vae(build: Build) -> Callable[..., VAE]:
    """A small VAE on vectors of three with a fixed sigma."""

    def make(**keys) -> VAE:
        loss = keys.pop("loss", {"name": "gaussian", "sigma": SIGMA})
        return build("vae", keys.pop("data", PLANE), loss, keys.pop("bottleneck", 2), **keys)

    return make


def bias_of(vae: VAE) -> nn.Parameter:
    """Set the encoder to a constant; the bias (2 · bottleneck) that it is."""
    last = vae.encoder.mlp.layers[-1]
    nn.init.zeros_(last.weight)
    return last.bias


class Linear:
    """A linear-Gaussian VAE: x = W z + b + 0.5 ε with orthogonal columns of W, all in closed form.

    The posterior covariance (I + WᵀW / σ²)⁻¹ is then diagonal, so the encoder can be exact.
    """

    def __init__(self, vae: VAE, error: float = 0.0) -> None:
        w = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.5, 0.0]])
        b = torch.tensor([0.3, -1.0, 2.0])
        variance = 1 / (1 + (w * w).sum(0) / SIGMA**2)  # of q(z | x)
        to_mean = variance[:, None] * w.T / SIGMA**2
        (down,), (up,) = vae.encoder.mlp.layers, vae.decoder.mlp.layers
        with torch.no_grad():
            up.weight.copy_(w)
            up.bias.copy_(b)
            down.weight.copy_(torch.cat([to_mean, torch.zeros(2, 3)]))
            logvar = LOGVAR_BOUND * torch.atanh(variance.log() / LOGVAR_BOUND)
            down.bias.copy_(torch.cat([-to_mean @ b + error, logvar]))
        self.vae = vae
        self.marginal = MultivariateNormal(b, w @ w.T + SIGMA**2 * torch.eye(3))


@pytest.fixture
def linear(vae: Callable[..., VAE]) -> Callable[[float], Linear]:
    return lambda error=0.0: Linear(vae(widths=[]), error)


def test_kl_is_that_of_two_normals():
    mu, logvar = draw(5, 4), draw(5, 4, seed=1)
    wanted = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mu, logvar), wanted)
    assert kl_to_standard_normal(torch.zeros(2), torch.zeros(2)).tolist() == [0, 0]


def test_loss_at_beta_one_is_minus_the_elbo(vae):
    model, x, eps = vae(widths=[8]), draw(5, 3), draw(5, 2, seed=1)
    terms = model.loss(Batch(x, None), {"eps": eps})
    mu, logvar = model.posterior(x)
    q = Independent(Normal(mu, (logvar / 2).exp()), 1)
    z = mu + (logvar / 2).exp() * eps
    log_likelihood = Normal(model.decode(z), SIGMA).log_prob(x).sum(1)
    kl = kl_divergence(q, standard(2))
    torch.testing.assert_close(terms["loss"], -(log_likelihood - kl))
    torch.testing.assert_close(terms["reconstruction"], -log_likelihood)
    torch.testing.assert_close(terms["kl"], kl)


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weighs_the_kl_term(vae, beta: float):
    terms = vae(widths=[8], beta=beta).loss(Batch(draw(5, 3), None), {"eps": draw(5, 2)})
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + beta * terms["kl"])


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (1000, 1.0)])
def test_kl_warmup_grows_linearly_and_stays(vae, step: int, share: float):
    model = vae(beta=3.0, kl_warmup=10)
    model.step.fill_(step)
    assert float(model.kl_weight()) == pytest.approx(3.0 * share, abs=1e-15)
    terms = model.loss(Batch(draw(5, 3), None), {"eps": draw(5, 2)})
    wanted = terms["reconstruction"] + 3.0 * share * terms["kl"]
    torch.testing.assert_close(terms["loss"], wanted)
    assert model.warmup_steps == 10


def test_free_bits_leave_the_first_nats_of_each_dimension_unpunished(vae):
    model, free = vae(widths=[], free_bits=0.5), 0.5
    bias = bias_of(model)
    with torch.no_grad():
        bias.copy_(torch.tensor([3.0, 0.5, 0.0, 0.0]))  # KL 4.5 and 0.125 nats
    terms = model.loss(Batch(draw(5, 3), None), {"eps": draw(5, 2)})
    torch.testing.assert_close(terms["kl"], torch.full((5,), 4.625))  # logged as it is
    charged = terms["loss"] - terms["reconstruction"]
    torch.testing.assert_close(charged, torch.full((5,), 4.5 + free))
    (gradient,) = torch.autograd.grad(charged.sum(), bias)
    torch.testing.assert_close(gradient[:2], torch.tensor([5 * 3.0, 0.0]))


@pytest.mark.parametrize("raw", [-1e6, 1e6])
def test_logvar_is_bounded_for_any_encoder_output(vae, raw: float):
    model = vae(widths=[])
    bias = bias_of(model)
    with torch.no_grad():
        bias[2:] = raw
    logvar = model.posterior(draw(5, 3))[1]
    assert (logvar.abs() <= LOGVAR_BOUND).all()
    loss = model.loss(Batch(draw(5, 3), None), {"eps": draw(5, 2)})["loss"].sum()
    assert loss.isfinite()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(g.isfinite().all() for g in gradients)


def test_logvar_is_the_encoders_output_where_that_is_small(vae):
    model = vae(widths=[])
    bias = bias_of(model)
    with torch.no_grad():
        bias.copy_(torch.tensor([0.0, 0.0, -0.1, 0.1]))
    torch.testing.assert_close(
        model.posterior(draw(1, 3))[1], torch.tensor([[-0.1, 0.1]]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("samples", [1, 3])
def test_log_prob_is_exact_where_the_encoder_is_the_posterior(linear, samples: int):
    toy, x = linear(), draw(20, 3)
    found = toy.vae.log_prob(x, samples, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, toy.marginal.log_prob(x), rtol=0, atol=1e-6)


def test_the_elbo_falls_short_of_log_prob_by_the_kl_to_the_posterior(linear):
    toy, x, error = linear(0.2), draw(1, 3), 0.2
    variance = toy.vae.posterior(x)[1].exp()
    gap = 0.5 * (error**2 / variance).sum().item()
    eps = draw(200_000, 2)
    elbo = -toy.vae.loss(Batch(x.expand(len(eps), 3), None), {"eps": eps})["loss"]
    wanted = toy.marginal.log_prob(x).item() - gap
    assert abs(elbo.mean().item() - wanted) < 5 * elbo.std().item() / math.sqrt(len(eps))


def test_log_prob_rises_with_its_samples_towards_the_truth(linear):
    toy, x = linear(0.3), draw(2000, 3)
    draws = torch.Generator().manual_seed(0)
    bounds = [toy.vae.log_prob(x, k, draws).mean() for k in (1, 5, 100)]
    truth = toy.marginal.log_prob(x).mean()
    assert bounds[0] < bounds[1] < bounds[2] < truth + 0.01
    assert truth - bounds[2] < (truth - bounds[0]) / 20


def test_one_sample_of_log_prob_is_the_elbo_on_average(linear):
    toy, x = linear(0.3), draw(20_000, 3)
    single = toy.vae.log_prob(x, 1, torch.Generator().manual_seed(0))
    elbo = -toy.vae.loss(Batch(x, None), {"eps": draw(20_000, 2, seed=2)})["loss"]
    assert abs((single - elbo).mean()) < 5 * (single - elbo).std() / math.sqrt(len(x))


def test_log_prob_of_an_example_is_its_own(vae):
    """A density that is fitted to the very batch it measures is no bound on log p(x)."""
    model, x = vae(widths=[8], loss={"name": "gaussian", "sigma": "optimal"}), draw(4, 3)
    for p in model.decoder.parameters():  # z plays no part, so no sampling noise either
        nn.init.zeros_(p)
    nn.init.zeros_(model.encoder.mlp.layers[-1].weight)
    nn.init.zeros_(model.encoder.mlp.layers[-1].bias)
    torch.testing.assert_close(model.log_prob(x)[:1], model.log_prob(x[:1]))


def test_samples_are_decoded_from_the_prior(linear):
    toy = linear()
    x = toy.vae.sample(50_000, generator=torch.Generator().manual_seed(0))
    w = toy.vae.decoder.mlp.layers[0].weight
    torch.testing.assert_close(x.mean(0), toy.marginal.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(x.T.cov(), w @ w.T, atol=0.03, rtol=0)


def test_encode_is_the_posterior_mean(linear):
    toy, x = linear(), draw(4, 3)
    torch.testing.assert_close(toy.vae.encode(x), toy.vae.posterior(x)[0])
    torch.testing.assert_close(toy.vae.encode(toy.marginal.mean[None]), torch.zeros(1, 2))


def test_a_batch_dependent_loss_refuses_micro_batches():
    line = [
        "model=vae",
        "dataset=wine",
        "loss=gaussian",
        "loss.sigma=optimal",
        "trainer.accumulate=2",
    ]
    (cell,) = compose.compose_cells("train", compose.parse_line(line))
    with pytest.raises(UserError, match=r"trainer\.accumulate=2.*sigma=learned"):
        prepare(cell.config, lambda text: None)


def test_calibration_keeps_the_optimal_sigma_for_evaluation(vae):
    model, x = vae(widths=[8], loss={"name": "gaussian", "sigma": "optimal"}), draw(64, 3)
    noise, batch = {"eps": draw(64, 2, seed=2)}, Batch(x, None)
    model.calibrate(batch, noise)
    fitted = model.train().loss(batch, noise)["loss"]
    kept = model.eval().loss(batch, noise)["loss"]
    torch.testing.assert_close(fitted, kept)  # the same examples, so the same sigma
    single = model.loss(Batch(x[:1], None), {"eps": noise["eps"][:1]})["loss"]
    torch.testing.assert_close(single, kept[:1])  # and in evaluation an example's own
    assert "likelihood.log_var" in model.state_dict()


def test_log_weights_are_those_of_log_prob_and_never_above_it_in_the_mean(linear):
    toy, x = linear(0.3), draw(50, 3)
    weights = toy.vae.log_weights(x, 8, torch.Generator().manual_seed(0))
    assert weights.shape == (8, 50)
    bound = toy.vae.log_prob(x, 8, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights.exp().mean(0).log(), bound)
    assert (weights.mean(0) < bound).all()


@pytest.mark.slow
def test_log_weights_by_mass_estimate_a_distribution_over_the_levels(vae):
    """Σ_x exp(log P(x)) over all values of one pixel of three levels is one."""
    data = Spec(event_shape=(1,), levels=3, unit_interval=True)
    model = vae(data=data, loss={"name": "gaussian", "sigma": 0.3}, widths=[4], bottleneck=1)
    x = torch.tensor([[0.0], [0.5], [1.0]])
    draws = torch.Generator().manual_seed(0)
    weights = model.log_weights(x, 20_000, draws, mass=True)
    total = weights.exp().mean(0).sum().item()  # importance sampling is unbiased for P
    assert abs(total - 1) < 0.02
    density = model.log_weights(x, 1, draws)
    assert (density - model.log_weights(x, 1, draws, mass=True)).abs().max() > 0.1
