"""Generative adversarial network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genai_cli.config.signatures import Count, Natural, NonNegative, Positive, Repeats
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.losses import adversarial
from genai_cli.models.base import FromPrior, Model, Player
from genai_cli.networks.adversarial import spectrally_normalised
from genai_cli.networks.diffaug import Augmentation, augment, draws
from genai_cli.networks.mlp import Activation
from genai_cli.networks.pair import Network, make_pair
from genai_cli.networks.scaling import Scaling
from genai_cli.rng import Source, normal

STEPS, STARTS, RATE = 200, 4, 0.1  # of the search for the z of an image


class GAN(FromPrior, Model):
    """A generator G(z), z ~ N(0, I), against a discriminator D (Goodfellow et al. 2014).

    What each player minimises is in adversarial.py. D sees images in [0, 1] as [−1, 1] and other
    data standardised, real and generated alike; its gradient penalties are in those units.

    Terms of the discriminator: ``d_real``, ``d_fake``: D(x) and D(G(z)), as probabilities where
    the objective makes them such (minimax, nonsaturating), else as raw scores; ``r1``, ``r2``,
    ``gradient_penalty`` where there is one, before its weight. Of the generator: ``d_fake``, on
    a z of its own. With ``penalty_every`` above 1, r1 and r2 are a player of their own that shares
    the discriminator's optimizer (lazy regularisation, Karras et al. 2020, appendix B, without
    its change of rates and betas: an adaptive optimizer weighs such a step down).

    Args:
        data: shapes and range of the data.
        loss: minimax, nonsaturating, lsgan, hinge, wgan_gp or relativistic.
        bottleneck: dimensions of z.
        network: fully connected (``widths``) or convolutional (``channels depth hidden``).
        widths, channels, depth, hidden: of the discriminator, mirrored in the generator; as in
            the autoencoder.
        activation: of the hidden layers of both.
        r1, r2: γ of γ/2 ‖∇D‖² on real and on generated examples (Mescheder et al. 2018, eq. 9
            and 10); ``r1`` null is 1, and 0 for wgan_gp, which has a penalty of its own.
        penalty_every: steps between two updates by r1 and r2, whose weight is as much larger.
        discriminator_steps: updates of D for one of G.
        discriminator_lr, generator_lr: in place of ``optimizer.lr``.
        spectral_norm: divide every weight of D by its largest singular value (Miyato et al. 2018).
        augment: transformations of all images that D sees, of color, translation and cutout
            (Zhao et al. 2020); see networks/diffaug.py.

    Raises:
        UserError: a pair of images; augmentation of data that are no images, or twice the same.
    """

    unit = "per example"
    reconstructs_by = "optimisation"
    log_grad_norm = ("generator",)  # a discriminator that is sure may leave it no gradient
    no_density = "a GAN has no density"
    reconstruction_note = f"z found by {STEPS} steps of Adam from {STARTS} starts"

    def __init__(
        self,
        data: Spec,
        loss: Mapping[str, Any],
        bottleneck: Count,
        network: Network = "fc",
        widths: list[Count] = (256, 256),
        channels: list[Count] = (32, 64),
        depth: Repeats = 0,
        hidden: Natural = 0,
        activation: Activation = "leaky_relu",
        r1: NonNegative | None = None,
        r2: NonNegative = 0.0,
        penalty_every: Count = 1,
        discriminator_steps: Count = 1,
        discriminator_lr: Positive | None = None,
        generator_lr: Positive | None = None,
        spectral_norm: bool = False,
        augment: list[Augmentation] = (),
    ) -> None:
        super().__init__()
        if data.target == "image":
            raise UserError("model=gan models one image, not a pair; use model=autoencoder")
        if augment and not data.is_image:
            raise UserError(
                f"model.augment={list(augment)} changes images, this data set has "
                f"{data.event_shape[0]} columns; use model.augment=[]"
            )
        if len(set(augment)) < len(augment):
            raise UserError(f"model.augment={list(augment)} names one twice; name each once")
        self.objective = adversarial.make(loss)
        self.event_shape, self.bottleneck = tuple(data.event_shape), bottleneck
        self.unit_interval, self.augment = data.unit_interval, tuple(augment)
        if r1 is None:  # wgan_gp has a penalty of its own
            r1 = 0.0 if self.objective.gradient_penalty else 1.0
        self.r1, self.r2, self.penalty_every = r1, r2, penalty_every
        self.discriminator_steps = discriminator_steps
        self.rates = (discriminator_lr, generator_lr)
        self.discriminator, self.generator = make_pair(
            network,
            self.event_shape,
            self.event_shape,
            bottleneck,
            encoder_out=1,
            widths=widths,
            channels=channels,
            depth=depth,
            hidden=hidden,
            activation=activation,
        )
        if spectral_norm:
            spectrally_normalised(self.discriminator)
        self.scaling = Scaling(self.event_shape, data.unit_interval)

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(adversarial.LOSSES, ())

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Mean and deviation of the training examples, where they do not lie in [0, 1]."""
        self.scaling.prepare(batch.x)

    def players(self) -> list[Player]:
        discriminator_lr, generator_lr = self.rates
        every = self.discriminator_steps
        players = [
            Player("discriminator", self.discriminator, lr=discriminator_lr),
            Player("generator", self.generator, every, lr=generator_lr),
        ]
        if self.lazy:
            shared = players[0]
            players.append(Player("penalty", shared.module, self.penalty_every, shared.name))
        return players

    @property
    def lazy(self) -> bool:
        """True where the penalties r1 and r2 are trained as a separate player."""
        return self.penalty_every > 1 and bool(self.r1 or self.r2)

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        device = generator.device
        names = ("z", "z_generator")  # G answers to other fakes than those D has just seen
        noise = {
            name: torch.randn(n, self.bottleneck, generator=generator, device=device)
            for name in names
        }
        if self.objective.gradient_penalty:
            noise["u"] = torch.rand(n, generator=generator, device=device)
        if self.augment:  # of the real image, D's fake and G's
            shape = (n, 3, draws(self.augment))
            noise["augment"] = torch.rand(shape, generator=generator, device=device)
        return noise

    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "discriminator"
    ) -> dict[str, Tensor]:
        real = self.seen(self.scaling(batch.x), noise, 0)
        if player == "generator":
            fake = self.score(self.seen(self.generated(noise["z_generator"]), noise, 2))
            with torch.no_grad():  # the score of real examples is not G's doing
                reference = self.score(real)
            return {
                "loss": self.objective.generator(reference, fake),
                "d_fake": self.logged_score(fake),
            }
        with torch.no_grad():  # nor are the fakes D's
            fake = self.seen(self.generated(noise["z"]), noise, 1)
        if player == "penalty":
            penalized, terms = self.penalty(real, fake)
            return {"loss": self.penalty_every * penalized, **terms}
        on_real, on_fake = self.score(real), self.score(fake)
        loss = self.objective.discriminator(on_real, on_fake)
        terms = {"d_real": self.logged_score(on_real), "d_fake": self.logged_score(on_fake)}
        if self.objective.gradient_penalty:
            u = noise["u"].view(-1, *[1] * len(self.event_shape))
            gp = adversarial.one_centred(self.score, u * real + (1 - u) * fake)
            loss = loss + self.objective.gradient_penalty * gp
            terms["gradient_penalty"] = gp.detach()
        if not self.lazy:
            penalized, more = self.penalty(real, fake)
            loss, terms = loss + penalized, terms | more
        return {"loss": loss, **terms}

    def penalty(self, real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(r1 and r2 with their weights (B,), {"r1": ½ ‖∇D(x)‖², "r2": ½ ‖∇D(G(z))‖²})."""
        penalized, terms = real.new_zeros(len(real)), {}
        for name, weight, x in (("r1", self.r1, real), ("r2", self.r2, fake)):
            if weight:
                value = adversarial.zero_centred(self.score, x)
                penalized, terms[name] = penalized + weight * value, value.detach()
        return penalized, terms

    def score(self, x: Tensor) -> Tensor:
        """D's raw output (B,) for scaled and augmented ``x`` (B, *event)."""
        return self.discriminator(x).squeeze(1).to(x.dtype)

    def logged_score(self, score: Tensor) -> Tensor:
        """Return the value that is logged of a score: its probability where it is a logit."""
        score = score.detach()
        return score.sigmoid() if self.objective.probability else score

    def seen(self, x: Tensor, noise: dict[str, Tensor], which: int) -> Tensor:
        """Return scaled examples as the discriminator sees them, augmented by draw ``which``."""
        return augment(x, self.augment, noise["augment"][:, which]) if self.augment else x

    def generated(self, z: Tensor) -> Tensor:
        """G(z) on D's scale: (B, bottleneck) to (B, *event)."""
        raw = self.generator(z).to(z.dtype)
        return 2 * raw.sigmoid() - 1 if self.unit_interval else raw

    def decode(self, z: Tensor) -> Tensor:
        """G(z) in data space: (B, bottleneck) to (B, *event)."""
        return self.scaling.inverse(self.generated(z))

    def prior(self, n: int, generator: Source = None) -> Tensor:
        """(n, bottleneck) from N(0, I)."""
        return normal(n, (self.bottleneck,), generator, next(self.parameters()))

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event): G(z) for the z that ``STEPS`` of Adam find from the best of ``STARTS``.

        Minimises ‖G(z) − x‖² over z for every example and start by itself. The starts are 0 and
        the same draws from N(0, I) for every example, so the answer is a function of weights and x.
        """
        b, k = len(x), self.bottleneck
        random = torch.randn(STARTS - 1, k, generator=torch.Generator().manual_seed(0))
        starts = torch.cat([torch.zeros(1, k, dtype=random.dtype), random]).to(x)
        z = starts.repeat(b, 1)  # (B · STARTS, K), the starts of one example side by side
        target = x.repeat_interleave(STARTS, 0)
        mean, square = torch.zeros_like(z), torch.zeros_like(z)
        for step in range(1, STEPS + 1):
            with torch.enable_grad():
                z.requires_grad_()
                error = (self.decode(z) - target).square().flatten(1).sum(1)
                (gradient,) = torch.autograd.grad(error.sum(), z)
            with torch.no_grad():  # Adam (Kingma & Ba 2015, algorithm 1)
                mean = mean.lerp(gradient, 0.1)
                square = square.lerp(gradient.square(), 0.001)
                scale = (square / (1 - 0.999**step)).sqrt() + 1e-8
                z = z - RATE * mean / (1 - 0.9**step) / scale
        with torch.no_grad():
            images = self.decode(z)
            error = (images - target).square().flatten(1).sum(1).view(b, STARTS)
            return images.unflatten(0, (b, STARTS))[
                torch.arange(b, device=x.device), error.argmin(1)
            ]
