"""−log p of test examples in nats and bits, in the space in which families can be compared.

That space is the probability of the stored levels where the data have levels: a flow and a DDPM
bound it by construction, a VAE through the mass its p(x | z) gives to the bin of a level. The
density of a VAE's Gaussian at a grey value is another random variable and is not shown beside it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.evaluation.chosen import subset
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator

NAMES = ("nats", "elbo", "bits_per_dim")
PURPOSE = "likelihood"  # of the random numbers


class Likelihood(NamedTuple):
    """Per-example likelihoods with the way they were computed."""

    values: dict[str, Tensor]  # nats, elbo, bits_per_dim: (n,) double, less is better
    spaces: dict[str, str]  # of each, as the passport's data_space
    kind: Literal["exact", "bound"]  # a bound is from above: "at most"
    player: dict[str, Any]  # draws, steps
    reasons: dict[str, str]  # why one of NAMES is missing


@torch.no_grad()
def likelihood(
    model: Model,
    data: Dataset,
    cfg: TrainConfig,
    *,
    n: int,
    draws: int,
    seed: int,
    batch: int,
    tick: Callable[[int], None],
    steps: int | None = 64,
) -> Likelihood:
    """Measure −log p of ``n`` test examples (`subset`) as far as the family's class gives it.

    - A family with `log_weights` (VAE): ``nats`` is the importance-weighted bound of ``draws``
      samples (Burda et al. 2016, eq. 8), ``elbo`` the mean over the same samples of the bound of
      one, so that no example has an elbo below its nats.
    - Another: ``nats`` is −`log_prob`, exact or a bound as its ``log_prob_kind`` says. A bound
      that averages over noise (dequantisation) takes ``draws`` of it, at most the family's
      ``test_draws``: more would not tighten it.
    - ``bits_per_dim`` is nats / (D log 2), of data with levels.

    A conditional model is given the label of the example.

    Args:
        model: in evaluation mode.
        data: on the model's device.
        cfg: of the run.
        n: at most as many as there are test examples.
        draws: samples or noises for each.
        seed: example i gets the random numbers of row i of this seed, whatever the batch.
        batch: examples in the model at once.
        tick: called with how many more are done.
        steps: of a diffusion model's bound, an unbiased estimate of all; None for all.
    """
    levels = data.spec.levels
    weighted = hasattr(model, "log_weights")
    if not weighted and not hasattr(model, "log_prob"):
        why = model.no_density or "its class defines no log_prob"
        return Likelihood({}, {}, "bound", {}, dict.fromkeys(("nats", "bits_per_dim"), why))
    data_space = "continuous" if levels is None else f"{levels} levels in [0, 1]"
    mass = levels is not None
    if weighted:
        mass = mass and model.likelihood.counts
        data_space = data_space if mass else model.likelihood.data_space
        player = {"draws": draws}
        call = _weights(model, draws, mass)
    else:
        options = _options(model, draws, steps)
        player = {k: options[k] for k in ("draws", "steps") if k in options}
        call = _log_prob(model, options)

    parts: list[dict[str, Tensor]] = []
    start = 0
    for part in data.test.batches(subset(data.test, n).split(batch)):
        values = call(part.x, part.y, RowGenerator(seed, PURPOSE, start, len(part.x)))
        parts.append({name: x.cpu().double() for name, x in values.items()})
        start += len(part.x)
        tick(len(part.x))
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    reasons = {}
    if mass:
        dims = math.prod(data.spec.event_shape)
        values["bits_per_dim"] = values["nats"] / (dims * math.log(2))
    elif levels is None:
        reasons["bits_per_dim"] = "bits/dim needs data with levels"
    elif data_space == "binarised":
        reasons["bits_per_dim"] = "the model sees binarised values, not the stored levels"
    else:
        reasons["bits_per_dim"] = (
            f"loss={cfg.loss['name']} on greys is a cross-entropy, not a probability of the"
            " levels; train with loss=gaussian or logistic"
        )
    kind = getattr(model, "log_prob_kind", "bound")
    return Likelihood(values, dict.fromkeys(values, data_space), kind, player, reasons)


Call = Callable[[Tensor, Tensor | None, RowGenerator], dict[str, Tensor]]


def _weights(model: Model, draws: int, mass: bool) -> Call:
    def call(x: Tensor, y: Tensor | None, source: RowGenerator) -> dict[str, Tensor]:
        log_weights = model.log_weights(x, draws, source, mass=mass)  # (draws, B)
        # in double: in float32 equal weights would leave the bound a rounding above the ELBO
        log_weights = log_weights.cpu().double()
        nats = math.log(draws) - log_weights.logsumexp(0)
        return {"nats": nats, "elbo": -log_weights.mean(0)}

    return call


def _options(model: Model, draws: int, steps: int | None) -> dict[str, Any]:
    """Return the arguments that the family's `log_prob` takes: draws, steps, generator, y."""
    taken = inspect.signature(model.log_prob).parameters
    options: dict[str, Any] = {}
    exact = getattr(model, "log_prob_kind", "bound") == "exact"
    if "steps" in taken:
        # each stratum has its own noise: more of them say more than more draws of each
        timesteps = getattr(model, "timesteps", None)
        options["steps"] = min(steps or timesteps, timesteps) if timesteps else steps
    elif "draws" in taken and not exact:
        options["draws"] = min(draws, max(1, model.test_draws))
    if "generator" in taken:
        options["generator"] = None
    if "y" in taken and getattr(model, "classes", 0):
        options["y"] = None
    return options


def _log_prob(model: Model, options: dict[str, Any]) -> Call:
    def call(x: Tensor, y: Tensor | None, source: RowGenerator) -> dict[str, Tensor]:
        given = {"generator": source, "y": y}
        return {"nats": -model.log_prob(x, **{k: given.get(k, v) for k, v in options.items()})}

    return call
