"""From noise to data with a denoiser x̂_0: ancestral, DDIM, Heun, DPM-Solver++(2M).

Each sampler is a generator that yields the state after every step, shrunk as the diffusion shrinks
it (√ᾱ x_0 + √(1 − ᾱ) eps), the last being the sample. Ancestral and DDIM walk over steps t of a
`Schedule` and call ``denoise(x_t, t)``; Heun and DPM-Solver++ solve the probability-flow ODE over
noise levels σ and call ``denoise(x_0 + σ eps, σ)``. Nothing here knows a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from genai_cli.diffusion.schedule import Schedule

Sampler = Literal["ddim", "ancestral", "ancestral_large", "heun", "dpmpp"]
Denoise = Callable[[Tensor, int], Tensor]  # (x_t, t) to x̂_0
DenoiseLevel = Callable[[Tensor, Tensor], Tensor]  # (x_0 + σ eps, σ ()) to x̂_0
RHO, SIGMA_MIN, SIGMA_MAX = 7.0, 0.002, 80.0  # Karras et al. 2022, table 1


def even_steps(start: int, count: int) -> list[int]:
    """``count`` + 1 evenly spaced steps from ``start`` down to 0."""
    return [round(start * i / count) for i in range(count, -1, -1)]


def karras_levels(low: Tensor, high: Tensor, count: int) -> Tensor:
    """``count`` noise levels from high to low, then 0, (count + 1,) (Karras et al. 2022, eq. 5)."""
    share = torch.linspace(0, 1, count, dtype=low.dtype, device=low.device)
    a, b = high ** (1 / RHO), low ** (1 / RHO)
    return torch.cat([(a + share * (b - a)) ** RHO, low.new_zeros(1)])


def levels_of(schedule: Schedule, count: int) -> Tensor:
    """Karras' levels within what the schedule covers."""
    low = schedule.level(1).clamp(min=SIGMA_MIN)
    return karras_levels(low, schedule.level(schedule.steps).clamp(max=SIGMA_MAX), count)


def ancestral(
    denoise: Denoise,
    schedule: Schedule,
    x: Tensor,
    steps: list[int],
    draw: Callable[[], Tensor],
    large: bool = False,
) -> Iterator[Tensor]:
    """x_s ~ N(posterior mean at x̂_0, σ² I) along ``steps`` (Ho et al. 2020, algorithm 2).

    σ² is the variance β̃ of q(x_s | x_t, x_0), or with ``large`` the variance β of q(x_t | x_s):
    the two choices of section 3.2. ``draw()`` gives the noise of one step; the last has none.
    """
    for t, s in itertools.pairwise(steps):
        mean, variance = schedule.posterior(denoise(x, t), x, t, s)
        deviation = (schedule.beta(t, s) if large else variance).sqrt()
        x = mean + deviation * draw() if s else mean
        yield x


def ddim(
    denoise: Denoise,
    schedule: Schedule,
    x: Tensor,
    steps: list[int],
    draw: Callable[[], Tensor],
    eta: float = 0.0,
) -> Iterator[Tensor]:
    """Song et al. 2021, eq. 12 with the σ of eq. 16: eta 0 deterministic, eta 1 ancestral."""
    for t, s in itertools.pairwise(steps):
        x0 = denoise(x, t)
        eps = (x - schedule.alpha(t) * x0) / schedule.sigma(t)
        var_s = schedule.sigma(s).square()
        added = eta**2 * var_s / schedule.sigma(t).square() * schedule.beta(t, s)
        x = schedule.alpha(s) * x0 + (var_s - added).clamp(min=0).sqrt() * eps
        if eta and s:
            x = x + added.sqrt() * draw()
        yield x


def heun(denoise: DenoiseLevel, x: Tensor, levels: Tensor) -> Iterator[Tensor]:
    """dx/dσ = (x − x̂_0) / σ in second order, x = x_0 + σ eps (Karras et al. 2022, algorithm 1)."""
    for now, after in itertools.pairwise(levels):
        slope = (x - denoise(x, now)) / now
        step = x + (after - now) * slope
        if after > 0:
            slope = (slope + (step - denoise(step, after)) / after) / 2
            step = x + (after - now) * slope
        x = step
        yield x / (1 + after.square()).sqrt()


def dpmpp(denoise: DenoiseLevel, x: Tensor, levels: Tensor) -> Iterator[Tensor]:
    """The same ODE by DPM-Solver++(2M), one call a step (Lu et al. 2022b, algorithm 2)."""
    before = h_before = None
    for now, after in itertools.pairwise(levels):
        x0 = denoise(x, now)
        if after > 0:
            h = (now / after).log()  # log-SNR grows by it
            slope = x0
            if before is not None:
                slope = x0 + (x0 - before) * h / (2 * h_before)
            x = after / now * x - torch.expm1(-h) * slope
            before, h_before = x0, h
        else:
            x = x0
        yield x / (1 + after.square()).sqrt()
