"""Autoencoder: a code of ``bottleneck`` numbers from which the input is rebuilt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from genai_cli.config.signatures import Count, Natural, NonNegative, Rate, Repeats
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.losses import elementwise
from genai_cli.models.base import Model
from genai_cli.networks.gaussian_mixture import Mixture
from genai_cli.networks.mlp import Activation
from genai_cli.networks.pair import Network, dropout_masks, make_pair, split_mask
from genai_cli.rng import Source


class Autoencoder(Model):
    """Minimises ``loss(decode(encode(x)), x)`` (Rumelhart et al. 1986).

    Where the data gives another image as target (super-resolution, in-painting), that image is
    rebuilt instead of x. With ``denoise`` the encoder sees x plus noise and the clean image is
    the target (Vincent et al. 2008).

    It is sampled through a Gaussian mixture fitted to the codes of training examples once the
    weights are trained (Ghosh et al. 2020, section 4).

    Args:
        data: shapes; a target image has its own shape.
        loss: mse mae msle huber bce, the mean over the elements of an image; see
            losses/elementwise.py.
        bottleneck: numbers in the code.
        network: fully connected (``widths``) or convolutional (``channels depth hidden``).
        widths: hidden layers from the input to the code, mirrored in the decoder.
        channels: of each halving stage of the convolutional network.
        depth: residual 3×3 blocks in each stage.
        hidden: width of a linear layer between the last stage and the code; 0 for none.
        activation: of the hidden layers.
        code_activation: of the code itself.
        output_activation: of the last layer; ``auto`` takes the one that goes with loss and data.
        dropout: probability that a hidden unit (or feature map) is dropped in training.
        denoise: standard deviation of the noise added to the input.
        mixture: Gaussians fitted to the codes; fewer where there are few examples.
    """

    no_density = "an autoencoder is no distribution: it has no density"

    def __init__(
        self,
        data: Spec,
        loss: Mapping[str, Any],
        bottleneck: Count,
        network: Network = "fc",
        widths: list[Count] = (128,),
        channels: list[Count] = (32, 64, 128),
        depth: Repeats = 0,
        hidden: Natural = 0,
        activation: Activation = "relu",
        code_activation: Activation = "linear",
        output_activation: Literal["auto", "linear", "sigmoid", "softmax"] = "auto",
        dropout: Rate = 0.0,
        denoise: NonNegative = 0.0,
        mixture: Count = 10,
    ) -> None:
        super().__init__()
        output_activation = elementwise.output_activation(
            output_activation, loss["name"], self.objectives(data)
        )
        self.event_shape, self.to_image = data.event_shape, data.target == "image"
        self.dropout, self.denoise, self.noise_of_input = dropout, denoise, denoise
        self.output_activation, self.loss_name = output_activation, loss["name"]
        self.per_example = elementwise.make(dict(loss), output_activation)
        self.encoder, self.decoder = make_pair(
            network,
            data.event_shape,
            data.target_shape if self.to_image else data.event_shape,
            bottleneck,
            encoder_out=bottleneck,
            widths=widths,
            channels=channels,
            depth=depth,
            hidden=hidden,
            activation=activation,
            code_activation=code_activation,
        )
        self.density = Mixture(mixture)

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        return elementwise.fitting("reconstruction", data.unit_interval)

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        noise = {}
        if self.training:
            noise = dropout_masks(n, self.dropout, [self.encoder, self.decoder], generator)
        if self.denoise:
            shape = (n, *self.event_shape)
            noise["eps"] = torch.randn(shape, generator=generator, device=generator.device)
        return noise

    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "model"
    ) -> dict[str, Tensor]:
        x = batch.x + self.denoise * noise["eps"] if self.denoise else batch.x
        target = batch.y if self.to_image else batch.x
        keep_down, keep_up = split_mask(noise.get("keep"), self.encoder, self.decoder)
        raw = self.decoder(self.encoder(x, keep_down), keep_up).to(x.dtype)  # not in bf16
        terms = {"loss": self.per_example(raw, target)}
        if self.loss_name != "mse":  # the yardstick that all losses share
            terms["mse"] = elementwise.mse(raw, target, self.output_activation)
        return terms

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event) to (B, bottleneck)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """(B, bottleneck) to (B, *target)."""
        return elementwise.activate(self.decoder(z), self.output_activation)

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event) to (B, *target)."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Fit the mixture to the codes; not where a diverged run has codes that are not finite."""
        codes = torch.cat([self.encode(batch.x) for batch in batches])
        self.density.forget()
        if codes.isfinite().all():
            self.density.fit(codes)

    def prior(self, n: int, generator: Source = None, temperature: NonNegative = 1.0) -> Tensor:
        """(n, bottleneck) codes from the mixture.

        Raises:
            UserError: there is none, because `finish` was not called or met codes not finite.
        """
        if not self.density.fitted:
            raise UserError(
                "this autoencoder has no density of its codes to sample from: call"
                " finish(batches) first, with weights whose codes are finite"
            )
        return self.density.sample(n, generator, temperature)

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        generator: Source = None,
        temperature: NonNegative = 1.0,
    ) -> Tensor:
        """(n, *target): decoded codes from the mixture, drawn ``temperature`` times as far from
        the means of its components. ``y`` is not used.

        Raises:
            UserError: as in `prior`.
        """
        return self.decode(self.prior(n, generator, temperature))
