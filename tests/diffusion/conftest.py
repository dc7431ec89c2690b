"""Gaussian data, of which the best denoiser is known in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Oracle:
    """E[x_0 | α x_0 + σ eps] for x_0 ~ N(mean, covariance)."""

    def __init__(self, schedule=None) -> None:
        self.mean = torch.tensor([0.3, -0.5])
        self.covariance = torch.tensor([[0.5, 0.3], [0.3, 0.8]])
        self.schedule = schedule

    @property
    def data(self) -> MultivariateNormal:
        return MultivariateNormal(self.mean, self.covariance)

    def x0(self, x: Tensor, alpha: Tensor | float, sigma: Tensor) -> Tensor:
        marginal = alpha**2 * self.covariance + sigma**2 * torch.eye(2)
        gain = alpha * self.covariance @ torch.linalg.inv(marginal)
        return self.mean + (x - alpha * self.mean) @ gain.T

    def at_step(self, x: Tensor, t: int) -> Tensor:
        return self.x0(x, self.schedule.alpha(t), self.schedule.sigma(t))

    def at_level(self, x: Tensor, level: Tensor) -> Tensor:
        return self.x0(x, 1.0, level)

    def on_the_path(self, x: Tensor, high: Tensor, low: Tensor) -> Tensor:
        """Where the probability-flow ODE takes x_0 + high · eps, at noise level ``low``."""
        values, vectors = torch.linalg.eigh(self.covariance)
        ratio = ((values + low**2) / (values + high**2)).sqrt()
        return self.mean + (x - self.mean) @ vectors * ratio @ vectors.T


@pytest.fixture
def oracle() -> type[Oracle]:
    return Oracle
