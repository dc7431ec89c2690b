"""Normalizing flow: an exact density by a change of variables."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from genai_cli.config.signatures import Between, Count, Layers, Positive, Rate, Repeats
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models.base import FromPrior, Model
from genai_cli.networks.flow.chain import vector_flow
from genai_cli.networks.flow.dequantise import Dequantiser, log_normal
from genai_cli.networks.flow.elementwise import Bins, Coupled
from genai_cli.networks.flow.images import Multiscale
from genai_cli.networks.flow.inputs import Logit, Standard, Uniform
from genai_cli.networks.flow.linear import Mixing
from genai_cli.networks.flow.marginals import Marginals
from genai_cli.networks.mlp import Activation
from genai_cli.networks.pair import dropout_masks
from genai_cli.rng import Source, normal, uniform

DROPOUT = 0.2  # of pictures; the toys in a plane are plenty and lose by it
FLAT = 128  # images of at most so many entries are vectors to layout=auto
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples spread most evenly over the fractions


class Flow(FromPrior, Model):
    """Minimises −log p(x), z = f(x) ~ N(0, I): log p(x) = log N(f(x); 0, I) + log |det ∂f/∂x|.

    Rezende & Mohamed 2015, eq. 5. f is a first map that no network touches, then couplings.
    Continuous data: the first map is z = (x − mean) / std of the training data, and log p is exact.

    Data with L levels, x = k / (L − 1): v = (k + u) / L in [0, 1) with u ~ q(u | x), uniform or
    learned. With the density p(v) = N(f(v)) |det ∂f/∂v| of D entries,

        log P(k) ≥ E_u[log p(v) − D log L − log q(u | x)],

    the loss being minus one draw of it (Theis et al. 2016, eq. 6; Ho et al. 2019, eq. 12; with
    log q = 0 for uniform noise), and ``bits_per_dim`` the loss / (D log 2). First maps:
    ``marginals`` learns each entry's distribution function, ``logit`` is RealNVP's, ``affine``
    only shifts and scales.

    Args:
        data: shapes and levels of the data.
        layout: ``multiscale`` convolutions or ``flat`` vectors; ``auto`` takes flat for vectors
            and for images of at most 128 entries.
        steps: couplings; multiscale: on the channels of each scale.
        scales: multiscale: squeezes of the image; null for as many as fit up to 2.
        checkerboards: multiscale: couplings on the checkerboard before each squeeze.
        coupling: affine, or a rational-quadratic spline of ``bins`` bins on ±``bound``.
        mixing: before each coupling: a learned linear map of the channels or a fixed order.
        widths: flat: hidden layers of each coupling's network.
        channels, depth: multiscale: feature maps and residual blocks of each coupling's network.
        activation: of the hidden layers.
        dropout: probability that a hidden unit (or feature map) is dropped in training; null for
            0.2 on data with levels and 0 on others.
        input: levels: the first map.
        alpha: logit: how far from 0 and 1 the ends are kept.
        dequantisation: levels: the noise between the levels.
        dequantisation_steps: variational: couplings of q.

    Raises:
        UserError: the data is a pair of images; convolutions on vectors; too many scales.
    """

    unit = "nats per example"
    reconstructs_by = "inversion"
    reconstruction_note = "a flow loses nothing: its round trip is exact"

    def __init__(
        self,
        data: Spec,
        layout: Literal["auto", "flat", "multiscale"] = "auto",
        steps: Layers = 8,
        scales: Repeats | None = None,
        checkerboards: Repeats = 2,
        coupling: Coupled = "spline",
        bins: Bins = 8,
        bound: Positive = 4.0,
        mixing: Mixing = "lu",
        widths: list[Count] = (128, 128),
        channels: Count = 32,
        depth: Repeats = 1,
        activation: Activation = "relu",
        dropout: Rate | None = None,
        input: Literal["marginals", "logit", "affine"] = "marginals",
        alpha: Annotated[float, Between(0, 0.5, open_low=True, open_high=True)] = 0.05,
        dequantisation: Literal["uniform", "variational"] = "uniform",
        dequantisation_steps: Count = 2,
    ) -> None:
        super().__init__()
        if data.target == "image":
            raise UserError("model=flow models one image, not a pair; use model=autoencoder")
        if layout == "multiscale" and not data.is_image:
            raise UserError(
                f"model.layout=multiscale needs images, this data set has {data.event_shape[0]} "
                "columns; use model.layout=flat"
            )
        self.event_shape, self.levels = data.event_shape, data.levels
        if dropout is None:
            dropout = 0.0 if data.levels is None else DROPOUT
        self.dropout = dropout
        self.code_size = math.prod(data.event_shape)
        small = self.code_size <= FLAT or not data.is_image
        self.flat = layout == "flat" or (layout == "auto" and small)
        self.inner_shape = (self.code_size,) if self.flat else data.event_shape
        shared = {"coupling": coupling, "bins": bins, "bound": bound, "mixing": mixing}
        if self.flat:
            self.body = vector_flow(
                self.code_size, steps=steps, widths=widths, activation=activation, **shared
            )
        else:
            self.body = Multiscale(
                data.event_shape,
                scales=scales,
                steps=steps,
                checkerboards=checkerboards,
                channels=channels,
                depth=depth,
                activation=activation,
                **shared,
            )
        self.dequantiser = None
        if data.levels is None:
            self.first = Standard(data.event_shape)
        elif input == "marginals":
            self.first = Marginals(data.event_shape, data.levels)
        else:
            self.first = Logit(alpha) if input == "logit" else Uniform()
        if data.levels is not None and dequantisation == "variational":
            self.dequantiser = Dequantiser(
                self.inner_shape,
                steps=dequantisation_steps,
                widths=widths,
                channels=channels,
                depth=depth,
                activation=activation,
            )
        self.log_prob_kind = "exact" if data.levels is None else "bound"
        self.test_draws = 1 if data.levels is None else 8

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        return {"nll": ()}

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = {}
        if self.training:
            noise = dropout_masks(n, self.dropout, self._networks(), generator)
        if self.levels is not None:
            draw = torch.rand if self.dequantiser is None else torch.randn
            shape = (n, *self.event_shape)
            noise["u"] = draw(shape, generator=generator, device=generator.device)
        return noise

    def _networks(self) -> list[torch.nn.Module]:
        return [self.body] if self.dequantiser is None else [self.body, self.dequantiser]

    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "model"
    ) -> dict[str, Tensor]:
        nll = -self._log_prob(batch.x, noise.get("u"), noise.get("keep"))
        if self.levels is None:
            return {"loss": nll}
        return {"loss": nll, "bits_per_dim": nll / (self.code_size * math.log(2))}

    def _log_prob(self, x: Tensor, u: Tensor | None, keep: Tensor | None = None) -> Tensor:
        """log p(x), or one draw of the bound on log P(k), (B,), in nats."""
        offset: Tensor | float = 0.0
        keep_u = None
        if self.dequantiser is not None and keep is not None:
            keep, keep_u = keep.split([m.droppable for m in self._networks()], dim=1)
        if self.levels is not None:
            offset = self.code_size * math.log(self.levels)
            if self.dequantiser is not None:
                u, log_q = self.dequantiser(self._inner(x), self._inner(u), keep_u)
                u, offset = u.view_as(x), offset + log_q
            x = self._between(x, u)
        z, logdet = self._forward(x, keep)
        return log_normal(z) + logdet - offset

    def _inner(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.inner_shape)

    def _between(self, x: Tensor, u: Tensor | float) -> Tensor:
        """v = (k + u) / L of stored levels x = k / (L − 1)."""
        return ((x * (self.levels - 1)).round() + u) / self.levels

    def _forward(self, v: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(z (B, D), log-det (B,))."""
        h, first = self.first(v)
        z, rest = self.body(self._inner(h), keep)
        return z, first + rest

    def _to_data(self, h: Tensor) -> Tensor:
        """What the first map makes of h (B, D or *event), on a level where there are levels."""
        v = self.first.inverse(h.reshape(len(h), *self.event_shape))
        if self.levels is None:
            return v
        return (v * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """The first map and every actnorm from training data.

        Levels are dequantised evenly spread, not at random, so that `prepare` needs no generator:
        entry i of all entries of the batch gets the fraction of i / golden ratio.
        """
        x = batch.x
        if self.levels is not None:
            index = torch.arange(x.numel(), dtype=torch.float64, device="cpu").view(x.shape)
            x = self._between(x, (index * GOLDEN).frac().to(x))  # in float32 it would be coarse
        self.first.prepare(x)
        self.body.prepare(self._inner(self.first(x)[0]))

    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, D) of x, of the middle between the levels where there are levels."""
        return self._forward(x if self.levels is None else self._between(x, 0.5))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Codes (B, D) to (B, *event)."""
        return self._to_data(self.body.inverse(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event): the round trip, x but for rounding."""
        return self.decode(self.encode(x))

    def stages(self, x: Tensor, generator: Source = None) -> dict[str, Tensor]:
        """The round trip, and what is left when the codes split off early are set to their mean."""
        z = self.encode(x)
        rows = {"round trip": self.decode(z)}
        if getattr(self.body, "splits", None):
            coarse = z.clone()
            coarse[:, self.body.coarsest :] = 0
            rows["only the coarsest codes"] = self.decode(coarse)
        return rows

    def prior(self, n: int, generator: Source = None) -> Tensor:
        """(n, D) codes from N(0, I)."""
        return normal(n, (self.code_size,), generator, next(self.parameters()))

    @torch.no_grad()
    def trajectory(
        self, n: int, y: Tensor | None = None, generator: Source = None, frames: Count = 16
    ) -> Tensor:
        """(frames, n, *event): codes, and what the layers make of them one after the other.

        Each frame passes the first map, as if the layers still to come changed nothing.
        """
        z = self.prior(n, generator)
        states = [z, *self.body.path(z)]
        chosen = torch.linspace(len(states) - 1, 0, frames).flip(0).round().long().tolist()
        return torch.stack([self._to_data(states[i]) for i in chosen])

    def log_prob(
        self, x: Tensor, draws: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """(B,) nats: log p(x), exact, for continuous data.

        With levels a lower bound on log P of the stored levels (a mass, not a density): the mean
        over ``draws`` of the noise between them.
        """
        if self.levels is None:
            return self._log_prob(x, None)
        draw = uniform if self.dequantiser is None else normal
        bounds = [
            self._log_prob(x, draw(len(x), self.event_shape, generator, x)) for _ in range(draws)
        ]
        return torch.stack(bounds).mean(0)
