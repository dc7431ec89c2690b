"""Noise schedules: ᾱ_t over T steps, and the quantities that follow from it.

q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I), t = 1 … T, ᾱ_0 = 1 (Ho et al. 2020, eq. 4). We write
α_t = √ᾱ_t and σ_t = √(1 − ᾱ_t) for what multiplies signal and noise.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn

NoiseSchedule = Literal["linear", "cosine", "sigmoid"]
BETA_MAX = 0.999  # of one step, as Nichol & Dhariwal clip it: ᾱ_T stays above 0


def betas(name: NoiseSchedule, steps: int) -> Tensor:
    """β_1 … β_T, (T,) float64.

    - linear: 10⁻⁴ to 0.02 at T = 1000 (Ho et al. 2020, section 4), times 1000 / T.
    - cosine: ᾱ_t = f(t) / f(0), f(t) = cos²((t/T + s) / (1 + s) π/2), s = 0.008 (Nichol &
      Dhariwal 2021, eq. 17).
    - sigmoid: ᾱ_t falls from 1 to 0 like a logistic curve between −3 and 3 (Jabri et al. 2023,
      appendix B, temperature 1).
    """
    if name == "linear":
        scale = 1000 / steps
        line = torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64)
        return line.clamp(max=BETA_MAX)
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    if name == "cosine":
        left = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
    else:
        left = torch.sigmoid(3 - 6 * t) - torch.sigmoid(torch.full_like(t, -3.0))
    return (1 - left[1:] / left[:-1]).clamp(max=BETA_MAX)


class Schedule(nn.Module):
    """Tables over the steps 0 … T of a discrete diffusion; ``t`` is an int or an int64 tensor.

    Everything is computed from log ᾱ, because 1 − ᾱ_t of the first steps is too small for a
    difference in single precision.
    """

    log_alpha_bar: Tensor

    def __init__(self, name: NoiseSchedule = "cosine", steps: int = 1000) -> None:
        super().__init__()
        self.steps = steps
        log = torch.log1p(-betas(name, steps)).cumsum(0)
        log = torch.cat([torch.zeros(1, dtype=log.dtype), log]).to(torch.get_default_dtype())
        self.register_buffer("log_alpha_bar", log, persistent=False)

    def on_host(self) -> Schedule:
        """The same tables in the memory of the CPU.

        What a sampler reads from it for one step, (), then multiplies tensors of any device
        without a kernel, a copy or a wait of its own.
        """
        if self.log_alpha_bar.device.type == "cpu":
            return self
        return copy.deepcopy(self).cpu()

    def alpha(self, t: Tensor | int) -> Tensor:
        """√ᾱ_t."""
        return (0.5 * self.log_alpha_bar[t]).exp()

    def sigma(self, t: Tensor | int) -> Tensor:
        """√(1 − ᾱ_t)."""
        return (-torch.expm1(self.log_alpha_bar[t])).sqrt()

    def snr(self, t: Tensor | int) -> Tensor:
        """ᾱ_t / (1 − ᾱ_t), infinite at t = 0."""
        return 1 / torch.expm1(-self.log_alpha_bar[t])

    def level(self, t: Tensor | int) -> Tensor:
        """σ_t / α_t: the noise on an example that is not shrunk (Karras et al. 2022)."""
        return torch.expm1(-self.log_alpha_bar[t]).sqrt()

    def beta(self, t: Tensor | int, s: Tensor | int) -> Tensor:
        """Variance 1 − ᾱ_t / ᾱ_s of q(x_t | x_s), s < t."""
        return -torch.expm1(self.log_alpha_bar[t] - self.log_alpha_bar[s])

    def diffuse(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) eps, (B, …), t (B,) (Ho et al. 2020, eq. 4)."""
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * eps

    def posterior(
        self, x0: Tensor, x: Tensor, t: Tensor | int, s: Tensor | int
    ) -> tuple[Tensor, Tensor]:
        """Mean (B, …) and variance of q(x_s | x_t, x_0), s < t (Ho et al. 2020, eq. 6 and 7)."""
        beta, var_t, var_s = self.beta(t, s), self.sigma(t).square(), self.sigma(s).square()
        of_x0, of_x = self.alpha(s) * beta / var_t, (1 - beta).sqrt() * var_s / var_t
        return expand(of_x0, x) * x0 + expand(of_x, x) * x, beta * var_s / var_t

    def nearest(self, level: Tensor) -> Tensor:
        """The steps, int64, whose noise level is next to ``level`` on a logarithmic scale."""
        logs = self.level(slice(1, None)).log()
        between = (logs[1:] + logs[:-1]) / 2
        return 1 + torch.searchsorted(between, level.log().contiguous())

    def time_of(self, level: Tensor) -> Tensor:
        """The step, a real number in [1, T], of a noise level between two steps of the table."""
        logs, log = self.level(slice(1, None)).log(), level.log()
        if self.steps == 1:
            return torch.ones_like(log)
        i = torch.searchsorted(logs, log.contiguous()).clamp(1, self.steps - 1)
        share = ((log - logs[i - 1]) / (logs[i] - logs[i - 1])).clamp(0, 1)
        return i + share


def expand(a: Tensor, like: Tensor) -> Tensor:
    """(B,) or () to (B, 1, …) or () so that it multiplies ``like``."""
    return a.view(-1, *[1] * (like.ndim - 1)) if a.ndim else a
