"""The terms of −log p(x_0) ≤ L_T + Σ_t L_{t−1} + L_0 in nats, (B,) each (Ho et al. 2020, eq. 5).

The reverse step has one of two fixed variances (Ho et al. 2020, section 3.2): for data on levels
β̃, that of q(x_{t−1} | x_t, x_0), right where x_t tells x_0; for continuous data β, that of
q(x_t | x_{t−1}), right where the density is smooth at the scale of the noise. Each L_{t−1} is then
a squared error of x̂_0 and a constant. ``x0`` and ``x0_hat`` are in the space that is diffused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genai_cli.diffusion.schedule import Schedule, expand


def prior_kl(schedule: Schedule, x0: Tensor) -> Tensor:
    """L_T = KL(q(x_T | x_0) ‖ N(0, I))."""
    log = schedule.log_alpha_bar[schedule.steps]
    elements = log.exp() * x0.square() - log.exp() - torch.log(-torch.expm1(log))
    return 0.5 * elements.flatten(1).sum(1)


def step_kl(
    schedule: Schedule, x0: Tensor, x0_hat: Tensor, t: Tensor, large: bool = False
) -> Tensor:
    """L_{t−1} for t (B,) ≥ 2, without what `variance_kl` adds.

    ½ (SNR_{t−1} − SNR_t) ‖x_0 − x̂_0‖² for the variance β̃ (Kingma et al. 2021, eq. 14), times
    β̃ / β for the ``large`` one.
    """
    weight = 0.5 * (schedule.snr(t - 1) - schedule.snr(t))
    if large:
        weight = weight * _ratio(schedule, t)
    return weight * (x0 - x0_hat).square().flatten(1).sum(1)


def variance_kl(schedule: Schedule, t: Tensor, d: int) -> Tensor:
    """KL(N(0, β̃ I) ‖ N(0, β I)) in ``d`` dimensions: what the large variance costs at t ≥ 2."""
    ratio = _ratio(schedule, t)
    return 0.5 * d * (ratio - 1 - ratio.log())


def _ratio(schedule: Schedule, t: Tensor) -> Tensor:
    """β̃_t / β_t = (1 − ᾱ_{t−1}) / (1 − ᾱ_t)."""
    return (schedule.sigma(t - 1) / schedule.sigma(t)).square()


def gaussian_nll(x0: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """−log N(x_0; mean, σ² I): L_0 of continuous data."""
    z = (x0 - mean) / sigma
    return (0.5 * z.square() + sigma.log() + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def discrete_nll(x0: Tensor, mean: Tensor, sigma: Tensor, levels: int) -> Tensor:
    """L_0 of ``levels`` equally spaced values on [−1, 1] (Ho et al. 2020, eq. 13).

    P(x) is the mass of N(mean, σ²) between x ± 1 / (levels − 1), the outermost values taking the
    tails.
    """
    half = 1 / (levels - 1)
    # on the left side of a normal, where log Φ keeps its precision
    flip = torch.where(x0 > mean, -1.0, 1.0)
    x, m = x0 * flip, mean * flip
    low = torch.special.log_ndtr((x - half - m) / sigma)
    high = torch.special.log_ndtr((x + half - m) / sigma)
    inside = high + torch.log(-torch.expm1((low - high).clamp(max=-1e-6)))
    first, last = x < half - 1, x > 1 - half  # after the flip
    right = torch.special.log_ndtr(-(x - half - m) / sigma)
    log_p = torch.where(first, high, torch.where(last, right, inside))
    return -log_p.flatten(1).sum(1)


def one_step(
    schedule: Schedule, x0: Tensor, x0_hat: Tensor, eps: Tensor, t: Tensor, levels: int | None
) -> Tensor:
    """Estimate of the bound from one uniform step t (B,) of 1 … T: L_T + T · (L_{t−1} or L_0).

    Of continuous data, what does not depend on the network is not left to chance: the constants
    of all steps are summed, and of L_0 the term ½ ‖eps‖² / ᾱ_1 that x̂_0 = x_1 / √ᾱ_1 would leave
    is replaced by its mean. The estimate stays unbiased and becomes far calmer.
    """
    sigma = schedule.sigma(1)
    later = torch.zeros((), device=t.device)
    # L_0 is of t = 1 alone: the guess at a late step is far out in a tail, where its gradient may
    # be nan, and that would outlive the `where` below
    here = torch.where(expand(t == 1, x0), x0_hat, x0)
    if schedule.steps > 1:
        later = step_kl(schedule, x0, x0_hat, t.clamp(min=2), levels is None)
    if levels is not None:
        first = discrete_nll(x0, here, sigma, levels)
        always = 0.0
    else:
        d, alpha_bar = x0[0].numel(), schedule.alpha(1).square()
        given = 0.5 * eps.square().flatten(1).sum(1) / alpha_bar
        constant = d * (sigma.log() + 0.5 * math.log(2 * math.pi))
        first = gaussian_nll(x0, here, sigma) - constant - given
        always = constant + 0.5 * d / alpha_bar
        if schedule.steps > 1:
            others = torch.arange(2, schedule.steps + 1, device=t.device)
            always = always + variance_kl(schedule, others, d).sum()
    return prior_kl(schedule, x0) + always + schedule.steps * torch.where(t == 1, first, later)


def every_step(
    schedule: Schedule, x0: Tensor, x0_hat: Tensor, t: Tensor, levels: int | None
) -> Tensor:
    """L_{t−1}, or L_0 at t = 1, for t (B,): what `log_prob` sums over t."""
    sigma = schedule.sigma(1)
    if levels is None:
        first = gaussian_nll(x0, x0_hat, sigma)
    else:
        first = discrete_nll(x0, x0_hat, sigma, levels)
    if schedule.steps == 1:
        return first
    later = step_kl(schedule, x0, x0_hat, t.clamp(min=2), levels is None)
    if levels is None:
        later = later + variance_kl(schedule, t.clamp(min=2), x0[0].numel())
    return torch.where(t == 1, first, later)
