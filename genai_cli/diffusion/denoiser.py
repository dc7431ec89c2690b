"""The denoiser x̂_0: preconditioning, prediction types, classifier-free guidance, samplers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genai_cli.diffusion import objective, samplers
from genai_cli.diffusion.objective import Prediction
from genai_cli.diffusion.samplers import Sampler
from genai_cli.diffusion.schedule import Schedule, expand
from genai_cli.errors import UserError

WIDE = 1e3  # bounds of x̂_0 before `Denoiser.measure` has seen the data
# where guidance calls the network twice: 128 images of 28×28 at once took 1.38 s, twice 64 0.92 s.
APART = ("cpu",)  # Elsewhere one call halves the launches.
SIGMA_DATA = 0.5  # as Karras et al. 2022 set it, until `Denoiser.measure` has seen the data


class SamplerSettings(NamedTuple):
    """Settings of a sampler: see samplers.py; ``guidance`` as in `Denoiser.x0`."""

    sampler: Sampler = "ddim"
    steps: int = 50
    eta: float = 0.0
    guidance: float = 1.0

    def check(
        self, timesteps: int, conditional: bool, names: Mapping[str, str] | None = None
    ) -> None:
        """Refuse what a sampler would not look at.

        Args:
            timesteps: T of the model.
            conditional: it knows labels.
            names: of steps, eta and guidance where they were given.
        """
        key = names or {name: name for name in self._fields}
        if self.steps > timesteps:
            raise UserError(
                f"{key['steps']}={self.steps} is not allowed: the model knows {timesteps} steps, "
                "its model.timesteps"
            )
        if self.eta and self.sampler != "ddim":
            given = f"{key['eta']}={self.eta:g}"
            raise UserError(f"{given} is for ddim, not {self.sampler}; leave it out")
        if self.guidance != 1 and not conditional:
            raise UserError(
                f"{key['guidance']}={self.guidance:g} needs labels, and this model knows none; "
                "train one with model.conditional=true"
            )


class Denoiser(nn.Module):
    """A network called as ``network(x, time, y)`` with a noise schedule and a meaning.

    ``x`` is always α x_0 + σ eps with α² + σ² = 1, ``t`` a real number in [1, T].

    Args:
        network: maps (B, *event), times (B,) on a scale of about 1000, and labels (B,) int64 where
            there are ``classes`` (the label ``classes`` is "no class"), to (B, *event).
        schedule: of the noise.
        prediction: what the network's output means.
        classes: of the labels; 0 for none.
        clip: keep x̂_0 within the range of the data in sampling: [−1, 1] for ``unit`` data, else
            that of the examples `measure` saw and half as much again on both sides. Without it an
            error of eps is multiplied by 1 / √ᾱ_T, 20,000 for the cosine schedule. The bound is
            clipped only for ``unit`` data, where the range is certain.
        unit: the data lie in [−1, 1].
        shape: of one example.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction: Prediction,
        classes: int = 0,
        shape: tuple[int, ...] = (),
        clip: bool = False,
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.schedule, self.prediction = network, schedule, prediction
        self.classes, self.clip, self.unit = classes, clip, unit
        if clip:
            one = torch.ones(() if unit else shape)
            wide = one if unit else one * WIDE
            self.register_buffer("low", -wide, persistent=not unit)
            self.register_buffer("high", wide.clone(), persistent=not unit)
        if prediction == "edm":
            self.register_buffer("log_sigma_data", torch.tensor(math.log(SIGMA_DATA)))

    @torch.no_grad()
    def measure(self, x0: Tensor) -> None:
        """Keep the range of the data (B, *event), and their deviation for ``edm``."""
        if self.clip and not self.unit:
            low, high = x0.amin(0), x0.amax(0)
            self.low.copy_(low - (high - low) / 2)
            self.high.copy_(high + (high - low) / 2)
        if self.prediction == "edm":
            self.log_sigma_data.copy_(x0.std().clamp_min(1e-6).log())

    def labels(self, n: int, y: Tensor | None) -> Tensor | None:
        """Labels (n,) as the network takes them: "no class" where there are none."""
        if not self.classes:
            return None
        if y is None:
            return torch.full((n,), self.classes, device=self.schedule.log_alpha_bar.device)
        return y.long()

    def output(
        self, x: Tensor, t: Tensor, alpha: Tensor, sigma: Tensor, y: Tensor | None
    ) -> Tensor:
        """Return the network's output for x (B, *event) at t (B,), with labels from `labels`."""
        time = t * (1000 / self.schedule.steps)
        if self.prediction == "edm":
            c_in, c_noise = self._preconditioning(alpha, sigma)[2:]
            x, time = c_in * x / alpha, (1000 * c_noise).to(x.device).flatten().expand(len(x))
        return self.network(x, time, y).to(x.dtype)  # half precision ends here

    def target(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Return the regression target of the network's output."""
        if self.prediction != "edm":
            return objective.target(self.prediction, x0, eps, alpha, sigma)
        skip, out = self._preconditioning(alpha, sigma)[:2]
        return (x0 - skip * (x0 + sigma / alpha * eps)) / out

    def x0_from(self, out: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Return x̂_0 computed from the network's output, not clipped."""
        if self.prediction != "edm":
            return objective.x0_from(self.prediction, out, x, alpha, sigma)
        skip, scale = self._preconditioning(alpha, sigma)[:2]
        return skip * x / alpha + scale * out

    def _preconditioning(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
        return objective.preconditioning(sigma / alpha, self.log_sigma_data.exp())

    def clipped(self, x0: Tensor) -> Tensor:
        return x0.clamp(self.low, self.high) if self.clip else x0

    def certain(self, x0: Tensor) -> Tensor:
        """x̂_0 for the bound: clipped where the range of the data is known beforehand."""
        return self.clipped(x0) if self.unit else x0

    def at_steps(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x̂_0 for the bound, of x (B, *event) at integer steps t (B,), with labels of `labels`."""
        alpha, sigma = expand(self.schedule.alpha(t), x), expand(self.schedule.sigma(t), x)
        return self.certain(self.x0_from(self.output(x, t.to(x), alpha, sigma, y), x, alpha, sigma))

    def x0(
        self,
        x: Tensor,
        t: Tensor | float,
        alpha: Tensor,
        sigma: Tensor,
        y: Tensor | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """Clipped x̂_0 with classifier-free guidance, all of x at one t ().

        (1 − w) x̂_0(x) + w x̂_0(x | y) with w = ``guidance`` (Ho & Salimans 2022, eq. 6, where w
        is ours less one); y (B,) or None for no class. The numbers t, alpha and sigma () may be
        in the memory of the CPU.
        """

        def predicted(x: Tensor, labels: Tensor | None) -> Tensor:
            times = torch.full((len(x),), float(t), dtype=x.dtype, device=x.device)
            return self.x0_from(self.output(x, times, alpha, sigma, labels), x, alpha, sigma)

        labels = self.labels(len(x), None if guidance == 0 else y)
        if y is None or guidance in (0, 1):
            return self.clipped(predicted(x, labels))
        none = self.labels(len(x), None)
        if x.device.type in APART:
            unconditional, conditional = predicted(x, none), predicted(x, labels)
        else:
            both = predicted(torch.cat([x, x]), torch.cat([none, labels]))
            unconditional, conditional = both.chunk(2)
        return self.clipped(unconditional + guidance * (conditional - unconditional))

    def denoise_chain(
        self,
        x: Tensor,
        y: Tensor | None,
        settings: SamplerSettings,
        draw: Callable[[], Tensor],
        start: int | None = None,
    ) -> Iterator[Tensor]:
        """The states after each step from x at t = ``start`` (T where not said) to the sample.

        Heun and DPM-Solver++ always start at the noisiest of their levels.
        """
        schedule = self.schedule.on_host()
        start = schedule.steps if start is None else start

        def at_step(x: Tensor, t: int) -> Tensor:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            return self.x0(x, t, alpha, sigma, y, settings.guidance)

        def at_level(x: Tensor, level: Tensor) -> Tensor:
            alpha = (1 + level.square()).rsqrt()
            t = schedule.time_of(level)
            return self.x0(alpha * x, t, alpha, level * alpha, y, settings.guidance)

        if settings.sampler in ("heun", "dpmpp"):
            levels = samplers.levels_of(schedule, settings.steps)
            solver = samplers.heun if settings.sampler == "heun" else samplers.dpmpp
            return solver(at_level, x * (1 + levels[0].square()).sqrt(), levels)
        grid = samplers.even_steps(start, min(settings.steps, start))
        if settings.sampler == "ddim":
            return samplers.ddim(at_step, schedule, x, grid, draw, settings.eta)
        large = settings.sampler == "ancestral_large"
        return samplers.ancestral(at_step, schedule, x, grid, draw, large)
