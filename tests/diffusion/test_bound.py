"""The variational bound: its terms against textbook ones, the whole against exact densities."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from genai_cli.diffusion import bound
from genai_cli.diffusion.schedule import Schedule


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_prior_term_is_a_divergence_from_the_standard_normal():
    schedule, x0 = Schedule("linear", 100), draw(4, 3)
    q = Independent(Normal(schedule.alpha(100) * x0, schedule.sigma(100)), 1)
    p = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    torch.testing.assert_close(bound.prior_kl(schedule, x0), kl_divergence(q, p))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("t", [2, 3, 50, 100])
def test_a_step_is_the_divergence_of_two_posteriors(t: int, large: bool):
    schedule = Schedule("cosine", 100)
    x0, guess, x = draw(4, 3), draw(4, 3, seed=1), draw(4, 3, seed=2)
    mean, variance = schedule.posterior(x0, x, t, t - 1)
    other, _ = schedule.posterior(guess, x, t, t - 1)
    q = Independent(Normal(mean, variance.sqrt()), 1)
    p = Independent(Normal(other, (schedule.beta(t, t - 1) if large else variance).sqrt()), 1)
    times = torch.full((4,), t)
    found = bound.step_kl(schedule, x0, guess, times, large)
    if large:
        found = found + bound.variance_kl(schedule, times, 3)
    torch.testing.assert_close(found, kl_divergence(q, p))


@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0])
def test_discrete_probabilities_sum_to_one(sigma: float):
    for levels in [2, 17, 256]:
        grid = torch.linspace(-1, 1, levels)[:, None]
        for mean in (-1.2, -0.3, 0.0, 0.97):
            nll = bound.discrete_nll(grid, torch.full_like(grid, mean), torch.tensor(sigma), levels)
            assert nll.neg().exp().sum().item() == pytest.approx(1), levels


def test_discrete_probability_is_the_mass_of_its_bin():
    sigma, half = torch.tensor(0.1), 1 / 16
    normal = Normal(0.3, 0.1)
    grid = torch.linspace(-1, 1, 17)
    for x in grid[[9, 10, 11, 12]]:
        wanted = (normal.cdf(x + half) - normal.cdf(x - half)).log()
        found = bound.discrete_nll(x.view(1, 1), torch.full((1, 1), 0.3), sigma, 17)
        torch.testing.assert_close(found, -wanted.view(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_discrete_nll_is_finite_far_away_and_pulls_back(dtype: torch.dtype):
    grid = torch.linspace(-1, 1, 256, dtype=dtype)[:, None]
    for value in (-30.0, -1.0, 0.0, 2.0, 30.0):
        mean = torch.full_like(grid, value, requires_grad=True)
        nll = bound.discrete_nll(grid, mean, torch.tensor(0.0064, dtype=dtype), 256)
        nll.sum().backward()
        assert nll.isfinite().all()
        assert mean.grad.isfinite().all()
        # outermost bins are open on one side
        away = ((mean - grid).abs() > 0.1) & (grid.abs() < 1)
        assert away.any()
        assert torch.equal(mean.grad[away].sign(), (mean - grid)[away].sign())


@pytest.mark.parametrize("levels", [None, 17])
@pytest.mark.parametrize("steps", [1, 2, 40])
def test_one_random_step_is_the_whole_bound_on_average(levels: int | None, steps: int):
    schedule = Schedule("cosine", steps)
    x0 = (draw(1, 3) * 8).round().clamp(-8, 8).div(8).expand(steps, 3)
    eps = draw(steps, 3, seed=1)
    if levels is None:  # L_0 uses the mean of ‖eps‖², so give it just that
        eps = eps * math.sqrt(3) / eps.norm(dim=1, keepdim=True)
    t, guess = torch.arange(1, steps + 1), x0 + 0.1 * draw(steps, 3, seed=2)
    one = bound.one_step(schedule, x0, guess, eps, t, levels)
    whole = bound.every_step(schedule, x0, guess, t, levels).sum()
    torch.testing.assert_close(one.mean(), whole + bound.prior_kl(schedule, x0)[0])


def _bound(oracle, steps: int, n: int) -> tuple[float, float]:
    """(mean bound, mean −log density) of Gaussian data in nats, with the exact denoiser."""
    schedule = Schedule("cosine", steps)
    truth = oracle(schedule)
    torch.manual_seed(0)
    x0 = truth.data.sample((n,))
    total = bound.prior_kl(schedule, x0)
    for t in range(1, steps + 1):
        times = torch.full((n,), t)
        x = schedule.diffuse(x0, torch.randn(n, 2), times)
        total = total + bound.every_step(schedule, x0, truth.at_step(x, t), times, None)
    return total.mean().item(), -truth.data.log_prob(x0).mean().item()


def test_the_bound_of_the_exact_denoiser_is_tight_with_many_steps(oracle):
    gaps = []
    for steps in (10, 100, 1000):
        found, exact = _bound(oracle, steps, 2000)
        gaps.append(found - exact)
    assert gaps[0] > gaps[1] > gaps[2] > -0.03
    assert gaps[2] < 0.06
    assert gaps[0] > 0.05


def test_a_worse_denoiser_has_a_worse_bound(oracle):
    schedule = Schedule("cosine", 50)
    truth, n = oracle(schedule), 5000
    torch.manual_seed(0)
    x0 = truth.data.sample((n,))
    for t in (1, 5, 25, 50):
        times = torch.full((n,), t)
        x = schedule.diffuse(x0, torch.randn(n, 2), times)
        best = truth.at_step(x, t)
        off = best + 0.1 * schedule.sigma(t)
        good, bad = (bound.every_step(schedule, x0, g, times, None).mean() for g in (best, off))
        assert good < bad
