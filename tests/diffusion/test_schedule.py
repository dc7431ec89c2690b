"""Noise schedules: published end points, moments of q, its posterior against Bayes' rule."""

from __future__ import annotations

import math

import pytest
import torch

from genai_cli.diffusion.schedule import Schedule, betas

NAMES = ["linear", "cosine", "sigmoid"]


@pytest.mark.parametrize("name", NAMES)
def test_the_signal_only_falls(name: str):
    for steps in [1, 10, 1000]:
        schedule = Schedule(name, steps)
        log = schedule.log_alpha_bar
        assert log.shape == (steps + 1,), steps
        assert log[0] == 0, steps
        assert (log.diff() < 0).all(), steps
        assert log.isfinite().all(), steps


def test_linear_has_the_betas_of_ho():
    beta = betas("linear", 1000)
    assert beta[0].item() == pytest.approx(1e-4)
    assert beta[-1].item() == pytest.approx(0.02)
    torch.testing.assert_close(beta.diff(), torch.full((999,), (0.02 - 1e-4) / 999))
    # the same total noise for another number of steps
    few, many = Schedule("linear", 250), Schedule("linear", 1000)
    assert few.log_alpha_bar[-1].item() == pytest.approx(many.log_alpha_bar[-1].item(), rel=0.05)


def test_cosine_is_equation_17_before_the_clip():
    def f(t: int) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    schedule = Schedule("cosine", 1000)
    for t in (1, 10, 500, 990):
        assert schedule.alpha(t).item() ** 2 == pytest.approx(f(t) / f(0), rel=1e-9)
    assert betas("cosine", 1000)[-1].item() == 0.999


def test_sigmoid_is_a_logistic_curve_between_its_ends():
    schedule = Schedule("sigmoid", 1000)
    low, high = (1 / (1 + math.exp(-x)) for x in (-3, 3))
    for t in (1, 250, 500, 900):
        wanted = (1 / (1 + math.exp(-(3 - 6 * t / 1000))) - low) / (high - low)
        assert schedule.alpha(t).item() ** 2 == pytest.approx(wanted, rel=1e-9)
    assert schedule.alpha(500).item() ** 2 == pytest.approx(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_tables_agree_with_each_other(name: str):
    s, t = Schedule(name, 100), torch.arange(1, 101)
    alpha, sigma = s.alpha(t), s.sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(100))
    torch.testing.assert_close(s.snr(t), (alpha / sigma) ** 2)
    torch.testing.assert_close(s.level(t), sigma / alpha)
    torch.testing.assert_close(s.beta(t, t - 1), betas(name, 100))
    assert s.sigma(0) == 0
    assert s.alpha(0) == 1


def test_single_precision_keeps_the_first_steps():
    exact = Schedule("cosine", 1000)
    torch.set_default_dtype(torch.float32)
    single = Schedule("cosine", 1000)
    t = torch.arange(1, 1000)
    for name in ("sigma", "snr", "level"):
        found, wanted = getattr(single, name)(t), getattr(exact, name)(t)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=0)


def test_many_small_steps_have_the_moments_of_one_large_one():
    schedule, n = Schedule("linear", 20), 200_000
    draws = torch.Generator().manual_seed(0)
    x0 = torch.tensor([1.5])
    x = x0.expand(n)
    for beta in betas("linear", 20)[:7]:
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(n, generator=draws)
    alpha, sigma = schedule.alpha(7), schedule.sigma(7)
    assert abs(x.mean() - alpha * 1.5) < 5 * sigma / math.sqrt(n)
    assert abs(x.var() / sigma**2 - 1) < 5 * math.sqrt(2 / n)
    eps = torch.randn(n, 1, generator=draws)
    at_once = schedule.diffuse(x0.expand(n, 1), eps, torch.full((n,), 7))
    torch.testing.assert_close(at_once, alpha * x0 + sigma * eps)


@pytest.mark.parametrize(("t", "s"), [(50, 49), (100, 99), (80, 20), (2, 1)])
def test_posterior_is_the_product_of_gaussians(t: int, s: int):
    """q(x_s | x_t, x_0) ∝ q(x_t | x_s) q(x_s | x_0), by completing the square."""
    schedule = Schedule("cosine", 100)
    x0, x = torch.tensor([[0.7]]), torch.tensor([[-0.4]])
    beta, shrink = schedule.beta(t, s), (1 - schedule.beta(t, s)).sqrt()
    precision = shrink**2 / beta + 1 / schedule.sigma(s) ** 2
    weighted = shrink * x / beta + schedule.alpha(s) * x0 / schedule.sigma(s) ** 2
    mean, variance = schedule.posterior(x0, x, t, s)
    torch.testing.assert_close(mean, weighted / precision)
    torch.testing.assert_close(variance, 1 / precision)


def test_posterior_of_the_first_step_is_the_example():
    mean, variance = Schedule("linear", 100).posterior(torch.ones(1, 1), torch.zeros(1, 1), 1, 0)
    torch.testing.assert_close(mean, torch.ones(1, 1))
    assert variance == 0


@pytest.mark.parametrize("name", NAMES)
def test_levels_and_steps_are_inverse(name: str):
    schedule, t = Schedule(name, 50), torch.arange(1, 51)
    torch.testing.assert_close(schedule.time_of(schedule.level(t)), t.double())
    assert torch.equal(schedule.nearest(schedule.level(t) * 1.0001), t)
    outside = schedule.time_of(torch.tensor([1e-9, 1e9]))
    assert outside.tolist() == [1, 50]
    between = (schedule.level(10) * schedule.level(11)).sqrt()
    assert schedule.time_of(between).item() == pytest.approx(10.5)
    assert Schedule(name, 1).time_of(torch.tensor(1.0)) == 1
