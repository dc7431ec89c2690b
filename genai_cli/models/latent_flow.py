"""Latent flow: a VAE whose prior is a normalizing flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genai_cli.config.signatures import Count, Layers, Natural, NonNegative, Rate, Repeats
from genai_cli.data.dataset import Batch, Spec
from genai_cli.models.vae import VAE, log_posterior
from genai_cli.networks.flow.chain import vector_flow
from genai_cli.networks.flow.elementwise import Bins, Coupled
from genai_cli.networks.mlp import Activation
from genai_cli.networks.pair import Network
from genai_cli.rng import Source, generator, normal


class LatentFlow(VAE):
    """Minimises −ELBO with a learned prior p(z) = N(f(z); 0, I) |det ∂f/∂z|, in nats.

    −log p(x | z) + β (log q(z | x) − log p(z)) at z = mu + σ eps: the KL term of Kingma & Welling
    2014, eq. 3, by one sample, since it has no closed form here. The flow f maps codes to normal
    numbers and is trained with encoder and decoder (Chen et al. 2017, section 3.2, with coupling
    layers for the autoregressive flow). Sampling runs it backwards: z = f⁻¹(u), u ~ N(0, I).

    Args:
        data, loss, bottleneck: as of a VAE; ``bottleneck`` is the size of the code z.
        network, widths, channels, depth, hidden, activation, dropout: as of a VAE.
        beta, kl_warmup: weight of the KL term and the steps over which it grows.
        flow_steps: steps of the flow, each a normalisation, a mixing and a coupling.
        flow_widths: hidden layers of a coupling's network.
        coupling: affine or spline.
        bins: of a spline.

    Raises:
        UserError: the data is a pair of images.
    """

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
        flow_steps: Layers = 4,
        flow_widths: list[Count] = (64, 64),
        coupling: Coupled = "affine",
        bins: Bins = 8,
    ) -> None:
        super().__init__(
            data, loss, bottleneck, network, widths, channels, depth, hidden, activation,
            dropout, beta, kl_warmup,
        )  # fmt: skip
        self.flow = vector_flow(
            bottleneck, steps=flow_steps, widths=flow_widths, coupling=coupling, bins=bins
        )

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """The flow's normalisations start at the statistics of first codes (Glow, section 3.1)."""
        mu, logvar = self.posterior(batch.x)
        draws = generator(0, "latent_flow.prepare")
        z = mu + (0.5 * logvar).exp() * normal(len(mu), mu.shape[1:], draws, mu)
        self.flow.prepare(z)

    def divergence(self, mu: Tensor, logvar: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        z = mu + (0.5 * logvar).exp() * eps
        kl = log_posterior(logvar, eps) - self.log_prior(z)  # (B,), one sample of it
        return kl, kl

    def log_prior(self, z: Tensor) -> Tensor:
        u, logdet = self.flow(z)
        return logdet - 0.5 * (u.square() + math.log(2 * math.pi)).sum(1)

    def prior(self, n: int, generator: Source = None, temperature: NonNegative = 1.0) -> Tensor:
        """(n, bottleneck) codes f⁻¹(u), u ~ N(0, temperature² I)."""
        u = normal(n, (self.bottleneck,), generator, next(self.parameters()))
        return self.flow.inverse(temperature * u)

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        generator: Source = None,
        temperature: NonNegative = 1.0,
    ) -> Tensor:
        """(n, *event): means of p(x | z) for z from the flow. ``y`` is not used."""
        return self.decode(self.prior(n, generator, temperature))
