"""Every sampler with the exact denoiser of Gaussian data: it must give those data back."""

from __future__ import annotations

import itertools
import math
from collections import deque

import pytest
import torch
from torch import Tensor

from genai_cli.diffusion import samplers
from genai_cli.diffusion.schedule import Schedule


def last(states) -> Tensor:
    return deque(states, maxlen=1)[0]


def standard(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def noises(n: int, seed: int = 1):
    draws = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, 2, generator=draws)


def never() -> Tensor:
    raise AssertionError("a deterministic sampler draws no noise")


def moments_of_affine(run) -> tuple[Tensor, Tensor]:
    """Mean and covariance of run(N(0, I)) for an affine map, without sampling."""
    images = run(torch.cat([torch.zeros(1, 2), torch.eye(2)]))
    a = images[1:] - images[0]  # rows: images of the unit vectors
    return images[0], a.T @ a


@pytest.mark.parametrize(
    ("name", "large"), [("linear", False), ("cosine", True), ("sigmoid", False)]
)
def test_ancestral_recovers_mean_and_covariance(oracle, name: str, large: bool):
    schedule, n = Schedule(name, 500), 10_000
    truth = oracle(schedule)
    steps = samplers.even_steps(500, 500)
    walk = samplers.ancestral(truth.at_step, schedule, standard(n), steps, noises(n), large)
    x = last(walk)
    error = 5 / math.sqrt(n)
    torch.testing.assert_close(x.mean(0), truth.mean, atol=error, rtol=0)
    torch.testing.assert_close(x.T.cov(), truth.covariance, atol=2 * error, rtol=0)


def test_noisy_ddim_recovers_mean_and_covariance(oracle):
    schedule, n = Schedule("cosine", 500), 10_000
    truth, steps = oracle(schedule), samplers.even_steps(500, 250)
    x = last(samplers.ddim(truth.at_step, schedule, standard(n), steps, noises(n), 0.3))
    error = 5 / math.sqrt(n)
    torch.testing.assert_close(x.mean(0), truth.mean, atol=error, rtol=0)
    torch.testing.assert_close(x.T.cov(), truth.covariance, atol=2 * error, rtol=0)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_ddim_without_noise_takes_the_normal_to_the_data(oracle, name: str):
    schedule = Schedule(name, 1000)
    truth, errors = oracle(schedule), []
    for count in (100, 1000):
        steps = samplers.even_steps(1000, count)
        mean, covariance = moments_of_affine(
            lambda x, s=steps: last(samplers.ddim(truth.at_step, schedule, x, s, never))
        )
        errors.append((covariance - truth.covariance).abs().max().item())
    torch.testing.assert_close(mean, truth.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(covariance, truth.covariance, atol=0.02, rtol=0)
    assert errors[1] < errors[0] / 4  # first order, or the end of the schedule


@pytest.mark.parametrize("count", [7, 50])
def test_ddim_with_eta_one_is_ancestral_step_by_step(oracle, count: int):
    """Song et al. 2021, section 4.1: for the same noise the same states, on any grid."""
    schedule = Schedule("cosine", 50)
    truth, x, steps = oracle(schedule), standard(5), samplers.even_steps(50, count)
    one = samplers.ddim(truth.at_step, schedule, x, steps, noises(5), 1.0)
    other = samplers.ancestral(truth.at_step, schedule, x, steps, noises(5))
    pairs = list(zip(one, other, strict=True))
    assert len(pairs) == count
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_large_variance_is_that_of_the_forward_step(oracle):
    schedule = Schedule("cosine", 50)
    truth, x, n = oracle(schedule), standard(1), 50_000
    for large, wanted in (
        (True, schedule.beta(30, 20)),
        (False, schedule.posterior(x, x, 30, 20)[1]),
    ):
        walk = samplers.ancestral(
            truth.at_step, schedule, x.expand(n, 2), [30, 20], noises(n), large
        )
        found = next(walk).var(0) / wanted
        assert ((found - 1).abs() < 5 * math.sqrt(2 / n)).all()


@pytest.mark.parametrize("solver", [samplers.heun, samplers.dpmpp])
def test_ode_solvers_are_of_second_order(oracle, solver):
    truth, low, high = oracle(), torch.tensor(0.01), torch.tensor(20.0)
    start = high * standard(4)
    exact = truth.on_the_path(start, high, low)
    errors = []
    for count in (40, 80, 160, 320):
        levels = samplers.karras_levels(low, high, count + 1)[:-1]
        end = last(solver(truth.at_level, start, levels)) * (1 + low**2).sqrt()
        errors.append((end - exact).abs().max().item())
    for rough, fine in itertools.pairwise(errors):
        assert 3 < rough / fine < 5.5
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("solver", [samplers.heun, samplers.dpmpp])
def test_ode_solvers_recover_mean_and_covariance(oracle, solver):
    truth = oracle()
    levels = samplers.karras_levels(torch.tensor(0.002), torch.tensor(80.0), 60)
    mean, covariance = moments_of_affine(
        lambda x: last(solver(truth.at_level, x * (1 + levels[0] ** 2).sqrt(), levels))
    )
    torch.testing.assert_close(mean, truth.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(covariance, truth.covariance, atol=0.01, rtol=0)


def test_karras_levels_are_equation_5():
    levels = samplers.karras_levels(torch.tensor(0.002), torch.tensor(80.0), 18)
    assert levels.shape == (19,)
    assert levels[-1] == 0
    assert levels[0].item() == pytest.approx(80)
    assert levels[17].item() == pytest.approx(0.002)
    wanted = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert levels[5].item() == pytest.approx(wanted)


@pytest.mark.parametrize(("name", "low", "high"), [("cosine", 0.00643, 80), ("linear", 0.01, 80)])
def test_levels_stay_within_the_schedule(name: str, low: float, high: float):
    levels = samplers.levels_of(Schedule(name, 1000), 10)
    assert levels[-2].item() == pytest.approx(low, rel=2e-2)
    assert levels[0].item() == pytest.approx(high)
    few = samplers.levels_of(Schedule("linear", 1000), 1)
    assert few.tolist() == [pytest.approx(80), 0]


@pytest.mark.parametrize(("start", "count"), [(1000, 1000), (1000, 50), (7, 3), (1, 1)])
def test_even_steps_go_down_to_zero_without_a_repeat(start: int, count: int):
    steps = samplers.even_steps(start, count)
    assert len(steps) == count + 1
    assert (steps[0], steps[-1]) == (start, 0)
    assert all(a > b for a, b in itertools.pairwise(steps))
    assert max(a - b for a, b in itertools.pairwise(steps)) <= math.ceil(start / count)
