"""Variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from genai_cli.config.signatures import Count, Natural, NonNegative, Rate, Repeats
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.losses import likelihoods
from genai_cli.models.base import FromPrior, Model
from genai_cli.networks.mlp import Activation
from genai_cli.networks.pair import Network, dropout_masks, make_pair, split_mask
from genai_cli.rng import Source, normal, uniform

LOGVAR_BOUND = (
    8.0  # |log σ²| of the posterior stays below it: exp() can neither over- nor underflow
)


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, e^logvar) ‖ N(0, 1)) for each element, in nats (Kingma & Welling 2014, app. B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def log_posterior(logvar: Tensor, eps: Tensor) -> Tensor:
    """log q(z | x), (B,), at z = mu + σ eps."""
    return -0.5 * (eps.square() + logvar + math.log(2 * math.pi)).sum(1)


class VAE(FromPrior, Model):
    """Minimises −ELBO = E_q(z|x)[−log p(x | z)] + β KL(q(z | x) ‖ N(0, I)), in nats.

    Kingma & Welling 2014, eq. 10, with one sample z = mu + σ eps; β: Higgins et al. 2017, eq. 4.
    At β = 1 without free bits the loss is the negative evidence lower bound.

    Args:
        data: shapes, range and levels of the data.
        loss: the likelihood p(x | z): bernoulli, gaussian or logistic; see likelihoods.py.
        bottleneck: dimensions of z.
        network: fully connected (``widths``) or convolutional (``channels depth hidden``).
        beta: weight of the KL term.
        kl_warmup: steps over which that weight grows linearly from 0 (Bowman et al. 2016).
            Validation uses the weight of the same step, so both curves show one objective.
        free_bits: nats of KL that every dimension of z may spend unpunished in each example
            (Kingma et al. 2016, eq. 15, taken per example instead of per minibatch).
        widths, channels, depth, hidden, activation, dropout: as in the autoencoder.

    Raises:
        UserError: the data is a pair of images.
    """

    log_prob_kind = "bound"
    unit = "nats per example"

    def __init__(
        self,
        data: Spec,
        loss: Mapping[str, Any],
        bottleneck: Count,
        network: Network = "fc",
        widths: list[Count] = (256, 128),
        channels: list[Count] = (32, 64, 128),
        depth: Repeats = 0,
        hidden: Natural = 0,
        activation: Activation = "relu",
        dropout: Rate = 0.0,
        beta: NonNegative = 1.0,
        kl_warmup: Natural = 0,
        free_bits: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        if data.target == "image":
            raise UserError("model=vae models one image, not a pair; use model=autoencoder")
        self.bottleneck, self.dropout = bottleneck, dropout
        self.beta, self.warmup_steps, self.free_bits = beta, kl_warmup, free_bits
        self.likelihood = likelihoods.make(dict(loss), data)
        self.event_shape = data.event_shape
        self.binarise = getattr(self.likelihood, "binarise", False)
        # a mass on the stored levels gives bits; a density and a cross-entropy on greys do not
        counts = loss["name"] == "logistic"
        self.bits_per_dim = 1 / (math.log(2) * math.prod(data.event_shape)) if counts else None
        self.batch_dependent = getattr(self.likelihood, "sigma", None) == "optimal"
        self.encoder, self.decoder = make_pair(
            network,
            data.event_shape,
            data.event_shape,
            bottleneck,
            encoder_out=2 * bottleneck,
            widths=widths,
            channels=channels,
            depth=depth,
            hidden=hidden,
            activation=activation,
        )

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        return likelihoods.fitting(data)

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = {}
        if self.training:
            noise = dropout_masks(n, self.dropout, [self.encoder, self.decoder], generator)
        if self.binarise:
            shape = (n, *self.event_shape)
            noise["u"] = torch.rand(shape, generator=generator, device=generator.device)
        shape = (n, self.bottleneck)
        return noise | {"eps": torch.randn(shape, generator=generator, device=generator.device)}

    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "model"
    ) -> dict[str, Tensor]:
        keep_down, keep_up = split_mask(noise.get("keep"), self.encoder, self.decoder)
        x = (noise["u"] < batch.x).to(batch.x) if self.binarise else batch.x
        mu, logvar = self.posterior(x, keep_down)  # (B, bottleneck) each
        z = mu + (0.5 * logvar).exp() * noise["eps"]
        fit = self.batch_dependent and self.training
        nll = self.likelihood.fitted_nll if fit else self.likelihood.nll
        reconstruction = nll(self.decoder(z, keep_up).to(x.dtype), x)
        kl, penalized = self.divergence(mu, logvar, noise["eps"])
        terms = {
            "loss": reconstruction + self.kl_weight() * penalized,
            "reconstruction": reconstruction,
            "kl": kl,
        }
        if self.bits_per_dim:
            terms["bits_per_dim"] = (reconstruction + kl) * self.bits_per_dim
        return terms

    def divergence(self, mu: Tensor, logvar: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """(KL(q(z | x) ‖ p(z)), the same as the loss charges it), (B,) each, in nats."""
        kl = kl_to_standard_normal(mu, logvar)
        penalized = kl.clamp_min(self.free_bits) if self.free_bits else kl
        return kl.sum(1), penalized.sum(1)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z), (B,), for codes (B, bottleneck)."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    @torch.no_grad()
    def calibrate(self, batch: Batch, noise: dict[str, Tensor]) -> None:
        if self.batch_dependent:
            mu, logvar = self.posterior(batch.x)
            z = mu + (0.5 * logvar).exp() * noise["eps"]
            self.likelihood.calibrate(self.decoder(z), batch.x)

    def set_all_reduce(self, all_reduce: Callable[[Tensor], Tensor]) -> None:
        self.likelihood.all_reduce = all_reduce

    def kl_weight(self) -> Tensor | float:
        """β, grown linearly over the first ``kl_warmup`` steps."""
        if not self.warmup_steps:
            return self.beta
        return self.beta * (self.step / self.warmup_steps).clamp(max=1.0)

    def posterior(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(mu, logvar) of q(z | x), each (B, bottleneck)."""
        mu, raw = self.encoder(x, keep).to(x.dtype).chunk(2, dim=1)  # half precision ends here
        return mu, LOGVAR_BOUND * torch.tanh(raw / LOGVAR_BOUND)

    def encode(self, x: Tensor) -> Tensor:
        """The posterior mean (B, bottleneck)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x | z), (B, *event)."""
        return self.likelihood.mean(self.decoder(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event), from the posterior mean."""
        return self.decode(self.encode(x))

    def prior(self, n: int, generator: Source = None) -> Tensor:
        """(n, bottleneck) codes from N(0, I)."""
        return normal(n, (self.bottleneck,), generator, next(self.parameters()))

    def log_prob(self, x: Tensor, samples: int = 1, generator: Source = None) -> Tensor:
        """(B,) lower bound on log p(x) in nats: the ELBO for one sample, else importance-weighted.

        log 1/k Σ_i p(x | z_i) p(z_i) / q(z_i | x), z_i ~ q (Burda et al. 2016, eq. 8). A
        batch-optimal σ is the calibrated one here. With ``loss.binarise`` x is binarised once, as
        in a step.
        """
        return self.log_weights(x, samples, generator).logsumexp(0) - math.log(samples)

    def log_weights(
        self, x: Tensor, samples: int, generator: Source = None, mass: bool = False
    ) -> Tensor:
        """log p(x | z_i) p(z_i) / q(z_i | x), z_i ~ q, (samples, B) in nats.

        Their mean over i estimates the ELBO, the log of the mean of their exponentials is
        `log_prob`: no smaller, from the same samples. With ``mass`` p(x | z) is the probability
        of the stored levels, where the likelihood has one (``likelihood.counts``).
        """
        nll = self.likelihood.mass_nll if mass else self.likelihood.nll
        if self.binarise:
            x = (uniform(len(x), self.event_shape, generator, x) < x).to(x)
        mu, logvar = self.posterior(x)
        log_weights = []
        for _ in range(samples):
            eps = normal(len(mu), mu.shape[1:], generator, mu)
            z = mu + (0.5 * logvar).exp() * eps
            log_p = -nll(self.decoder(z), x) + self.log_prior(z)
            log_weights.append(log_p - log_posterior(logvar, eps))
        return torch.stack(log_weights)
