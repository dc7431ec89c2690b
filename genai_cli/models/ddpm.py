"""Denoising diffusion probabilistic model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from genai_cli.config.signatures import (
    Between,
    Count,
    Fraction,
    Layers,
    NonNegative,
    Positive,
    Rate,
)
from genai_cli.data.dataset import Batch, Spec
from genai_cli.diffusion import bound
from genai_cli.diffusion import objective as objectives
from genai_cli.diffusion.denoiser import SIGMA_DATA, Denoiser, SamplerSettings
from genai_cli.diffusion.objective import Prediction
from genai_cli.diffusion.samplers import Sampler
from genai_cli.diffusion.schedule import NoiseSchedule, Schedule, expand
from genai_cli.diffusion.strata import strata
from genai_cli.errors import UserError
from genai_cli.models.base import Model
from genai_cli.networks.scaling import Scaling
from genai_cli.networks.time import TimeMLP
from genai_cli.networks.unet import UNet
from genai_cli.rng import Source, normal, uniform

STEPS = 50  # of a sampler where none are asked for
CHUNK = 1000  # noisy examples that pass the network together in `log_prob`


class DDPM(Model):
    """Learns to undo q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I), t = 1 … T, one step at a time.

    Minimises w_t ‖target − network(x_t, t)‖² for a random t (Ho et al. 2020, eq. 14; Hang et al.
    2023, eq. 9), averaged over the elements, or with ``loss=vlb`` the variational bound in nats
    (Ho et al. 2020, eq. 5). Images in [0, 1] are diffused on [−1, 1], anything else standardised.
    Whatever the loss, the bound is logged from the same network output: ``bits_per_dim`` where the
    data have levels, else ``bound`` in nats; not for ``prediction=edm`` under another loss than
    vlb, whose steps are not drawn uniformly.

    Args:
        data: shapes, range, levels and classes of the data.
        loss: simple, min_snr or vlb; see diffusion/objective.py.
        bottleneck: channels of the U-Net's innermost blocks; width of the MLP's innermost layer.
        network: ``auto`` takes the U-Net for images of 3×3 pixels or more, else the MLP.
        channels, depth, attention: of the U-Net; see networks/unet.py.
        widths: hidden layers of the MLP before the innermost, mirrored after it.
        timesteps: T.
        noise_schedule: ᾱ_t; see diffusion/schedule.py.
        prediction: what the network's output means: eps, x0, v; or ``edm``, preconditioned by the
            deviation of the data (Karras et al. 2022, table 1), its noise levels those of the
            noise schedule.
        p_mean, p_std: of the logarithm of the noise level in training, for ``edm`` and data of
            deviation 0.5; it moves with the deviation.
        conditional: give the label to the network.
        label_dropout: share of examples whose label is hidden in training, for guidance.
        sampler, eta: see diffusion/samplers.py; eta is DDIM's.
        sample_steps: of the sampler, at most T; null for 50, or T where that is less.
        guidance: w in x̂_0 = (1 − w) x̂_0(x) + w x̂_0(x | y) (Ho & Salimans 2022, eq. 6, w there
            is ours less one): 0 ignores the class, 1 is the conditional model.
        clip_x0: keep x̂_0 within the range of the data, see diffusion/denoiser.py.
        reconstruct_at: share of T to which `reconstruct` adds noise.

    There is no dropout.

    Raises:
        UserError: a pair of images; labels asked of data without; a network that does not fit the
            data; a loss that does not go with ``prediction=edm``.
    """

    log_prob_kind = "bound"
    reconstructs_by = "denoising"
    test_draws = 8

    def __init__(
        self,
        data: Spec,
        loss: Mapping[str, Any],
        bottleneck: Count,
        network: Literal["auto", "unet", "mlp"] = "auto",
        channels: list[Count] = (32, 64),
        depth: Layers = 1,
        attention: bool = True,
        widths: list[Count] = (128, 128),
        timesteps: Annotated[int, Between(1, 10**6)] = 1000,
        noise_schedule: NoiseSchedule = "cosine",
        prediction: Prediction = "v",
        p_mean: float = -1.2,
        p_std: Positive = 1.2,
        conditional: bool = False,
        label_dropout: Rate = 0.1,
        sampler: Sampler = "ddim",
        sample_steps: Count | None = None,
        eta: Fraction = 0.0,
        guidance: NonNegative = 1.0,
        clip_x0: bool = True,
        reconstruct_at: Fraction = 0.5,
    ) -> None:
        super().__init__()
        if data.target == "image":
            raise UserError("model=ddpm models one image, not a pair; use model=autoencoder")
        if conditional and not data.classes:
            raise UserError(
                "model.conditional=true needs a data set with labels; use model.conditional=false"
            )
        if prediction == "edm" and loss["name"] == "min_snr":
            raise UserError(
                "loss=min_snr does not go with model.prediction=edm, which has a weight of its "
                "own; use loss=simple"
            )
        self.weight = objectives.make(loss)
        self.unit = "nats per example" if self.weight is None else "weighted squared error"
        self.event_shape = tuple(data.event_shape)
        self.levels = data.levels if data.unit_interval else None
        self.code_size = math.prod(self.event_shape)
        self.classes = len(data.classes) if conditional else 0
        self.p_mean, self.p_std = p_mean, p_std
        self.uniform_steps = prediction != "edm" or self.weight is None
        self.label_dropout, self.conditional = label_dropout, conditional
        if conditional and not label_dropout:
            raise UserError(
                "model.label_dropout=0 is not allowed with model.conditional=true: without a "
                "label nothing could be said; use model.label_dropout=0.1"
            )
        steps = min(STEPS, timesteps) if sample_steps is None else sample_steps
        self.timesteps, self.settings = timesteps, SamplerSettings(sampler, steps, eta, guidance)
        names = {"steps": "model.sample_steps", "eta": "model.eta", "guidance": "model.guidance"}
        self.settings.check(timesteps, conditional, names)
        self.reconstruct_at = max(1, round(reconstruct_at * timesteps))
        at = f"t = {self.reconstruct_at} of {timesteps}"
        self.stage_name = f"noised to {at}"
        self.reconstruction_note = f"noise up to {at}, taken away again by DDIM"
        unet = data.is_image and min(data.event_shape[1:]) >= 3 if network == "auto" else None
        if network == "unet" or unet:
            backbone = UNet(self.event_shape, channels, bottleneck, depth, attention, self.classes)
        else:
            backbone = TimeMLP(self.event_shape, widths, bottleneck, self.classes)
        self.schedule = Schedule(noise_schedule, timesteps)
        self.denoiser = Denoiser(
            backbone,
            self.schedule,
            prediction,
            self.classes,
            self.event_shape,
            clip_x0,
            data.unit_interval,
        )
        self.unit_interval = data.unit_interval
        self.scaling = Scaling(self.event_shape, data.unit_interval)

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(objectives.LOSSES, ())

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Mean and deviation of the training examples, where they do not lie in [0, 1]."""
        self.scaling.prepare(batch.x)
        self.denoiser.measure(self.scaling(batch.x))

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw t (n,) in [0, 1), eps, and drop (n,) to hide labels.

        There is one t in each n-th of [0, 1), in random order, so that a batch meets all noise
        levels (Kingma et al. 2021, appendix I.1).
        """
        device = generator.device
        first = torch.rand(1, generator=generator, device=device)
        order = torch.randperm(n, generator=generator, device=device)
        noise = {
            "t": (first + order / n) % 1,
            "eps": torch.randn(n, *self.event_shape, generator=generator, device=device),
        }
        if self.classes and self.training:
            noise["drop"] = torch.rand(n, generator=generator, device=device)
        return noise

    def steps_of(self, u: Tensor) -> Tensor:
        """Steps 1 … T, int64, from uniform numbers: uniform, or log-normal levels for edm."""
        if self.uniform_steps:
            return (u * self.schedule.steps).long().clamp(max=self.schedule.steps - 1) + 1
        inside = u.clamp(1e-6, 1 - 1e-6)
        log_level = self.p_mean + self.p_std * torch.special.ndtri(inside)
        scale = self.denoiser.log_sigma_data.exp() / SIGMA_DATA  # p_mean is for Karras' 0.5
        return self.schedule.nearest(scale * log_level.exp())

    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "model"
    ) -> dict[str, Tensor]:
        x0, eps, t = self.scaling(batch.x), noise["eps"], self.steps_of(noise["t"])
        y = self.denoiser.labels(len(x0), batch.y)
        if "drop" in noise:
            y = torch.where(noise["drop"] < self.label_dropout, self.classes, y)
        alpha, sigma = expand(self.schedule.alpha(t), x0), expand(self.schedule.sigma(t), x0)
        x = alpha * x0 + sigma * eps
        out = self.denoiser.output(x, t.to(x), alpha, sigma, y)
        x0_hat = self.denoiser.x0_from(out, x, alpha, sigma)
        terms = {}
        if self.weight is None:
            terms["loss"] = self.bound(x0, x0_hat, eps, t)
        else:
            error = out - self.denoiser.target(x0, eps, alpha, sigma)
            weight = self.weight(self.denoiser.prediction, self.schedule.snr(t))
            terms["loss"] = weight * error.square().flatten(1).mean(1)
        if self.uniform_steps:
            with torch.no_grad():
                nats = self.bound(x0, self.denoiser.certain(x0_hat), eps, t)
            terms |= self.in_bits(nats)
        return terms

    def bound(self, x0: Tensor, x0_hat: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Nats of the data (B,), from one uniform step of each."""
        return bound.one_step(self.schedule, x0, x0_hat, eps, t, self.levels) + self.volume()

    def volume(self) -> Tensor | float:
        """Nats by which a density changes from the scaled space to that of the data."""
        if self.levels is not None:
            return 0.0
        return self.scaling.scale.log().expand(self.event_shape).sum()

    def in_bits(self, nats: Tensor) -> dict[str, Tensor]:
        """The bound under its name: bits/dim of what has levels, nats of a density."""
        if self.levels is None:
            return {"bound": nats}
        return {"bits_per_dim": nats / (math.log(2) * self.code_size)}

    def _states(
        self, n: int, y: Tensor | None, source: Source, settings: SamplerSettings
    ) -> tuple[Tensor, Iterator[Tensor]]:
        """(x_T, the states after each step)."""
        if y is not None and not self.classes:
            raise UserError("this ddpm knows no labels; train one with model.conditional=true")
        like = self.schedule.log_alpha_bar

        def draw() -> Tensor:
            return normal(n, self.event_shape, source, like)

        if y is None and self.classes:
            y = (uniform(n, (), source, like) * self.classes).long().clamp(max=self.classes - 1)
        x = draw()
        return x, self.denoiser.denoise_chain(x, y, settings, draw)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        generator: Source = None,
        sampler: Sampler | None = None,
        steps: Count | None = None,
        eta: Fraction | None = None,
        guidance: NonNegative | None = None,
    ) -> Tensor:
        """(n, *event); options that are not given are those of the constructor.

        Args:
            n: how many.
            y: (n,) labels for a conditional model, drawn uniformly where they are not given.
            generator: of all noise.
            sampler, eta, guidance: as in the constructor.
            steps: of the sampler, at most T; Heun calls the network twice in each.

        Raises:
            UserError: labels for a model that knows none.
        """
        settings = self.resolve_sampler(sampler=sampler, steps=steps, eta=eta, guidance=guidance)
        settings.check(self.timesteps, self.conditional)
        return self.to_data_space(last(self._states(n, y, generator, settings)[1]))

    def resolve_sampler(self, **options: Any) -> SamplerSettings:
        """Return the settings of `sample` for these options; the rest are the constructor's."""
        settings = self.settings._replace(**{k: v for k, v in options.items() if v is not None})
        # eta is DDIM's: that of the YAML is not for another sampler
        eta_unused = options.get("eta") is None and settings.sampler != "ddim"
        return settings._replace(eta=0.0) if eta_unused else settings

    def to_data_space(self, x: Tensor) -> Tensor:
        """A state in data space, within [0, 1] where the data are."""
        x = self.scaling.inverse(x)
        return x.clamp(0, 1) if self.unit_interval else x

    @torch.no_grad()
    def trajectory(
        self,
        n: int,
        y: Tensor | None = None,
        generator: Source = None,
        frames: Count = 10,
        sampler: Sampler | None = None,
        steps: Count | None = None,
        eta: Fraction | None = None,
        guidance: NonNegative | None = None,
    ) -> Tensor:
        """(frames, n, *event), evenly spaced over the steps from noise to what `sample` gives."""
        settings = self.resolve_sampler(sampler=sampler, steps=steps, eta=eta, guidance=guidance)
        settings.check(self.timesteps, self.conditional)
        x, states = self._states(n, y, generator, settings)
        states = [x, *states]
        at = torch.linspace(len(states) - 1, 0, frames).flip(0)  # the sample, if only one frame
        return torch.stack([self.to_data_space(states[i]) for i in at.round().long().tolist()])

    def prior(self, n: int, generator: Source = None) -> Tensor:
        """(n, D) noise x_T."""
        return normal(n, (self.code_size,), generator, self.schedule.log_alpha_bar)

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Noise x_T (B, D) to (B, *event) by deterministic DDIM (Song et al. 2021, section 4.3)."""
        return self._denoised(z.view(-1, *self.event_shape), self.schedule.steps, y)

    def _denoised(self, x: Tensor, start: int, y: Tensor | None = None) -> Tensor:
        steps = max(1, round(self.settings.steps * start / self.schedule.steps))
        settings = SamplerSettings("ddim", steps, 0.0, self.settings.guidance)
        return self.to_data_space(
            last(self.denoiser.denoise_chain(x, y, settings, lambda: x, start))
        )

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event): noised to step ``reconstruct_at`` of T, always alike, and denoised again."""
        return list(self.stages(x, torch.Generator(x.device).manual_seed(0)).values())[-1]

    @torch.no_grad()
    def stages(self, x: Tensor, generator: Source = None) -> dict[str, Tensor]:
        """{"noised to t = … of T": x_t in data space, "denoised": what DDIM makes of it}."""
        t = torch.full((len(x),), self.reconstruct_at, device=x.device)
        x0 = self.scaling(x)
        noised = self.schedule.diffuse(x0, normal(len(x), self.event_shape, generator, x0), t)
        denoised = self._denoised(noised, self.reconstruct_at)
        return {self.stage_name: self.to_data_space(noised), "denoised": denoised}

    @torch.no_grad()
    def log_prob(
        self,
        x: Tensor,
        generator: Source = None,
        draws: int = 1,
        y: Tensor | None = None,
        steps: Count | None = None,
    ) -> Tensor:
        """(B,) lower bound on log p(x) in nats, summed over all T steps, ``draws`` noises for each.

        Of a conditional model it is that of ``y`` (B,), or of its unconditional half without. With
        ``steps`` below T it is an unbiased estimate of that sum, from one step of each of as many
        strata, drawn for each example and draw by itself; see diffusion/strata.py.
        """
        x0, b = self.scaling(x), len(x)
        y = self.denoiser.labels(b, y)
        total = bound.prior_kl(self.schedule, x0) + self.volume()
        cut = strata(self.schedule.steps, steps or self.schedule.steps)
        together = max(1, CHUNK // b)
        for _ in range(draws):
            for start in range(0, len(cut), together):
                part = cut[start : start + together]  # S strata
                rows = x0.repeat(len(part), *[1] * (x0.ndim - 1))  # (S · B, *event)
                t, eps = [], []
                for first, last in part:
                    t.append(self._one_of(first, last, b, generator, x0))
                    eps.append(normal(b, self.event_shape, generator, x0))
                t = torch.cat(t)
                noisy = self.schedule.diffuse(rows, torch.cat(eps), t)
                labels = None if y is None else y.repeat(len(part))
                x0_hat = self.denoiser.at_steps(noisy, t, labels)
                nats = bound.every_step(self.schedule, rows, x0_hat, t, self.levels)
                sizes = x0.new_tensor([last - first + 1 for first, last in part])
                total = total + (sizes[:, None] * nats.view(len(part), b)).sum(0) / draws
        return -total

    @staticmethod
    def _one_of(first: int, last: int, n: int, source: Source, like: Tensor) -> Tensor:
        """(n,) steps first … last, uniform; a single step takes no random number."""
        if first == last:
            return torch.full((n,), first, device=like.device)
        u = uniform(n, (), source, like)
        return first + (u * (last - first + 1)).long().clamp(max=last - first)


def last(states: Iterable[Tensor]) -> Tensor:
    """The sample a sampler ends in, keeping no state before it."""
    (state,) = deque(states, maxlen=1)
    return state
