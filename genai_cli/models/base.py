"""The base class of all families: a pure loss per example, its noise, and its players."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from genai_cli.config.signatures import NonNegative
from genai_cli.data.dataset import Batch
from genai_cli.rng import Source

if TYPE_CHECKING:
    from genai_cli.data.dataset import Spec


class Player(NamedTuple):
    """A module that is trained, how often, and with what: one entry for all families but GAN."""

    name: str
    module: nn.Module
    every: int = 1  # steps between two updates
    optimizer: str | None = None  # another player's optimizer to share (lazy R1 shares D's)
    lr: float | None = None  # a learning rate of its own


class FromPrior:
    """``sample`` of a family that draws a code from its prior and decodes it."""

    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        generator: Source = None,
        temperature: NonNegative = 1.0,
    ) -> Tensor:
        """(n, *event) by decoding ``temperature`` times a code of `prior`. ``y`` is not used."""
        return self.decode(temperature * self.prior(n, generator))


RENAMED = {  # attributes and methods of user models for version 0.1, which go on
    "rising": "higher_is_better",
    "watched": "log_grad_norm",
    "couples_examples": "batch_dependent",
    "couple": "set_all_reduce",
}


class Model(nn.Module, ABC):
    """Base of all families.

    Abilities have fixed names and shapes and are found by asking (``hasattr``), never by type.
    Everything in and out is in data space; a model rescales inside.

    - ``sample(n, y=None, generator=None, **options)``: (n, *event). Its annotated options
      (temperature, steps, sampler) are what ``genai sample`` takes for the family. ``generator``
      is a torch.Generator or `rng.RowGenerator`: draw with `genai_cli.normal` and `uniform`.
    - ``encode(x)``: (B, K), ``decode(z)``: (B, *event), ``prior(n, generator)``: (n, K) codes as
      the family draws them; K is ``bottleneck`` where the family has a code of that size.
    - ``reconstruct(x)``: (B, *event), by the means that ``reconstructs_by`` names.
    - ``stages(x, generator)``: what reconstruction.png shows below the originals, {row: (B,
      *event)}, where that is more than ``reconstruct(x)``; ``reconstruction_note`` says how.
    - ``trajectory(n, y=None, generator=None, frames=…)``: (frames, n, *event), noise to sample.
    - ``log_prob(x)``: (B,) nats, ``log_prob_kind`` exact or bound: log P of the stored levels where
      the data have any, else a density of data space. Of its keywords
      evaluation fills in ``generator``, ``draws`` (noises averaged), ``steps`` (of a sum that is
      drawn from) and ``y`` (labels of a conditional model).
    - ``log_weights(x, samples, generator, mass)``: (samples, B), see models/vae.py.
    - ``predict(x)``: what is predicted of x.

    Attributes:
        step: () int64, the optimizer steps done so far. The loop writes it before each step, for
            an objective that changes in time (KL warm-up); it is not part of the weights.
        warmup_steps: steps during which the objective itself changes. Best, early stopping and
            plateau look only after them, because losses before are not comparable.
        higher_is_better: monitored terms that are to be maximised (accuracy).
        unit: of the loss, for the axis of a figure.
        batch_dependent: a loss depends on the whole batch, so that micro-batches would change it.
        reconstructs_by: how ``reconstruct`` works. Only a pass through a code is cheap and says
            what the code keeps: the others are shown, not measured at the end of a run.
        noise_of_input: standard deviation of what ``reconstruct`` is trained to take away.
        log_grad_norm: players whose gradient norm is logged at the end of every epoch.
        no_density: why the family has no ``log_prob``, where it has none by nature.
        test_draws: noise draws over which the terms of a test example are averaged.
    """

    warmup_steps: int = 0
    batch_dependent: bool = False
    higher_is_better: tuple[str, ...] = ()
    unit: str = "per example"
    reconstructs_by: Literal["code", "inversion", "optimisation", "denoising"] = "code"
    reconstruction_note: str = ""
    noise_of_input: float = 0.0
    log_grad_norm: tuple[str, ...] = ()
    no_density: str = ""
    test_draws: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64), persistent=False)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for old, new in RENAMED.items():
            if old in vars(cls):
                setattr(cls, new, vars(cls)[old])

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        """The losses that fit this family on such data, best first, with their output activations.

        ``loss=auto`` takes the first; another loss is refused by name. {} leaves ``loss`` free.
        """
        return {}

    def players(self) -> list[Player]:
        """Who is trained, in update order."""
        return [Player("model", self)]

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """All randomness of one step for ``n`` examples (first dimension n); {} if none.

        Drawn by the loop for the global batch on the generator's device, so that ranks,
        micro-batches and stacked cells take slices of the same numbers.
        """
        return {}

    @abstractmethod
    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "model"
    ) -> dict[str, Tensor]:
        """Per-example terms, each (B,): ``"loss"`` is minimised, the rest is logged. Pure."""

    def set_all_reduce(self, all_reduce: Callable[[Tensor], Tensor]) -> None:
        """Take the function that sums a tensor over the ranks, where the loss is batch_dependent.

        Each rank sees some rows of a batch; what the loss needs of the whole batch is the sum over
        all ranks. A batch-dependent family without this method is not trained on several ranks.
        """

    def prepare(self, batch: Batch) -> None:
        """Initialise from training data, once before step 0 (data statistics)."""

    def calibrate(self, batch: Batch, noise: dict[str, Tensor]) -> None:
        """Set the buffers that evaluation needs and training does not (the σ of a σ-VAE).

        Called before each evaluation, with the same training examples and noise. The buffers are
        saved with the weights.
        """

    def finish(self, batches: Iterable[Batch]) -> None:
        """Fit what only sampling needs (the mixture on an autoencoder's codes).

        Called once with the weights that are kept, over training examples in order. A function of
        weights and data alone: it is fitted again when a run is loaded, not saved.
        """
