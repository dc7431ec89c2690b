"""Observation models p(x | z) of a VAE: −log p in nats, per example, summed over the elements.

Bernoulli on grey values, Gaussian densities and discretised logistic probabilities are different
random variables: their nats are never compared (the passport's data space keeps them apart).
Where ``counts``, ``mass_nll`` is −log P of the stored levels: the one space in which families meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genai_cli.config.signatures import Positive, bind
from genai_cli.data.dataset import Spec
from genai_cli.errors import UserError, listing

SHARP = 8.0  # of a floor: a unit above it a number is itself to 4e-5, three above it to 5e-12


def floored(log: Tensor, floor: float) -> Tensor:
    """About max(log, floor), smooth: a parameter that fell a little below the floor can come back.

    The slope fades as exp(8 (log − floor)): three below it is 4e-11, and in float32 0 from twelve
    below on, where a parameter stays.
    """
    return torch.logaddexp(SHARP * log, torch.full_like(log, SHARP * floor)) / SHARP


class Bernoulli(nn.Module):
    """−log p(x | z) = −Σ x log p + (1 − x) log(1 − p), p = sigmoid(raw), for x in [0, 1].

    On grey values this is a cross-entropy, not a normalised likelihood; its least value is the
    entropy of the data themselves.

    Args:
        data: values in [0, 1].
        binarise: draw each value as 0 or 1 with its grey as the probability, anew in every step
            (Salakhutdinov & Murray 2008, dynamic binarisation): then it is a likelihood.
    """

    def __init__(self, data: Spec, binarise: bool = False) -> None:
        super().__init__()
        self.binarise = binarise
        self.counts = data.levels == 2 and not binarise  # black and white as stored
        self.data_space = "binarised" if binarise else "Bernoulli-on-grey"

    def nll(self, raw: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(raw, x, reduction="none").flatten(1).sum(1)

    mass_nll = nll  # of two levels

    def mean(self, raw: Tensor) -> Tensor:
        return raw.sigmoid()


class Gaussian(nn.Module):
    """−log N(x; mean, σ² I) = D/2 log 2πσ² + ‖x − mean‖² / 2σ².

    Args:
        data: whether the mean is squashed to [0, 1].
        sigma: a fixed number; ``learned``, one parameter for all elements; or ``optimal``, in
            training the value that maximises the likelihood of the batch, σ² = mean (x − mean)²
            (Rybkin et al. 2021, σ-VAE, section 3.3), which couples the examples of a batch. In
            evaluation it is the value that `calibrate` found on training examples, so that the
            density of an example is its own.
    """

    data_space = "continuous"

    def __init__(self, data: Spec, sigma: Positive | Literal["learned", "optimal"] = "optimal"):
        super().__init__()
        self.squash, self.sigma = data.unit_interval, sigma
        self.all_reduce: Callable[[Tensor], Tensor] | None = None  # sums over ranks
        self.counts = data.levels is not None and data.unit_interval
        self.width = 1 / (data.levels - 1) if self.counts else None
        if sigma == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        elif sigma == "optimal":
            self.register_buffer("log_var", torch.zeros(()))

    def nll(self, raw: Tensor, x: Tensor) -> Tensor:
        return self._nll((x - self.mean(raw)).square(), self._log_var(raw))

    def _log_var(self, raw: Tensor) -> Tensor:
        if self.sigma == "optimal":
            return self.log_var
        if self.sigma == "learned":
            return 2 * floored(self.log_sigma, math.log(0.5 / 255))
        return raw.new_tensor(2 * math.log(self.sigma))

    def mass_nll(self, raw: Tensor, x: Tensor) -> Tensor:
        """−log P of stored levels: P(x) = Φ((x + w/2 − mean) / σ) − Φ((x − w/2 − mean) / σ).

        w = 1 / (levels − 1), the outermost levels taking the tails, as of a discretised logistic.
        """
        sigma = (0.5 * self._log_var(raw)).exp()
        centre, delta = (x - self.mean(raw)) / sigma, self.width / sigma
        left = -centre.abs()  # on the left of the normal, where log Φ keeps its digits
        below, above = (torch.special.log_ndtr(left + s * delta / 2) for s in (-1, 1))
        inside = above + torch.log(-torch.expm1(below - above))
        # a bin far narrower than σ: density × width, which the difference would lose to rounding
        narrow = delta.log() - 0.5 * (centre.square() + math.log(2 * math.pi))
        log_p = torch.where(delta < 1e-3, narrow, inside)
        first, last = x < self.width / 2, x > 1 - self.width / 2
        outwards = torch.where(first, centre, -centre) + delta / 2
        log_p = torch.where(first | last, torch.special.log_ndtr(outwards), log_p)
        return -log_p.flatten(1).sum(1)

    def fitted_nll(self, raw: Tensor, x: Tensor) -> Tensor:
        """With the σ that is optimal for this very batch: the objective of a σ-VAE.

        Of a batch that is cut over ranks σ is found from the sums of all. It is the minimum of
        their losses, whose gradient through σ is therefore zero: none is sent between ranks.
        """
        squared = (x - self.mean(raw)).square()
        if self.all_reduce is None:
            return self._nll(squared, self._optimum(squared))
        here = squared.detach().sum(), squared.new_tensor(float(squared.numel()))
        whole, n = self.all_reduce(torch.stack(here))
        return self._nll(squared, self._optimum(whole / n))

    @staticmethod
    def _nll(squared: Tensor, log_var: Tensor) -> Tensor:
        elements = math.log(2 * math.pi) + log_var + squared * (-log_var).exp()
        return 0.5 * elements.flatten(1).sum(1)

    def calibrate(self, raw: Tensor, x: Tensor) -> None:
        """Keep the optimal σ of these examples for evaluation."""
        if self.sigma == "optimal":
            self.log_var.copy_(self._optimum((x - self.mean(raw)).square()))

    @staticmethod
    def _optimum(squared: Tensor) -> Tensor:
        # the floor keeps a perfect fit from an infinite density: half a grey level of 256
        return squared.mean().clamp_min((0.5 / 255) ** 2).log()

    def mean(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() if self.squash else raw


class Logistic(nn.Module):
    """Discretised logistic (Salimans et al. 2017, eq. 2, one component, one learned scale).

    P(x) = σ((x + w/2 − m) / s) − σ((x − w/2 − m) / s) for a level of width w = 1 / (levels − 1),
    the outermost levels taking the tails; so bits/dim are those of the stored integers.
    """

    counts = True

    def __init__(self, data: Spec) -> None:
        super().__init__()
        if data.levels is None:
            raise UserError(
                "loss=logistic needs data with levels (8-bit images); use loss=gaussian"
            )
        self.width = 1 / (data.levels - 1)
        self.data_space = "8-bit" if data.levels == 256 else f"{data.levels} levels"
        self.log_scale = nn.Parameter(torch.tensor(-2.0))

    def nll(self, raw: Tensor, x: Tensor) -> Tensor:
        log_scale = floored(self.log_scale, -8.0)
        inverse = (-log_scale).exp()  # e^8 at most, and 0 where the scale itself overflows
        centred, half = (x - self.mean(raw)) * inverse, self.width / 2 * inverse
        above, below = centred + half, centred - half
        # σ(b) − σ(a) = σ(b) σ(−a) (1 − exp(a − b)) has no cancellation for b > a; of a bin that is
        # far narrower than the scale the last factor is its width, whose logarithm never overflows
        narrow = half < 1e-20
        wide = torch.log(-torch.expm1(-2 * torch.where(narrow, 1.0, half)))
        share = torch.where(narrow, math.log(self.width) - log_scale - half, wide)
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + share
        log_p = torch.where(
            x < self.width / 2,
            F.logsigmoid(above),
            torch.where(x > 1 - self.width / 2, F.logsigmoid(-below), inside),
        )
        return -log_p.flatten(1).sum(1)

    mass_nll = nll

    def mean(self, raw: Tensor) -> Tensor:
        return raw.sigmoid()


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian, "logistic": Logistic}


def fitting(data: Spec) -> dict[str, tuple[str, ...]]:
    """The likelihoods that fit the data, best first: of stored levels the one that counts them."""
    fits = ["gaussian"]
    if data.unit_interval:
        fits.append("bernoulli")
        if data.levels:
            fits.insert(0, "logistic")
    return dict.fromkeys(fits, ())


def make(node: dict[str, Any], data: Spec) -> nn.Module:
    """The likelihood a config node names, with its own keys."""
    name, values = node["name"], {k: v for k, v in node.items() if k != "name"}
    if name not in LIKELIHOODS:
        raise UserError(
            f"loss={name} is not a likelihood of a VAE (choose from: {listing(LIKELIHOODS)})"
        )
    return LIKELIHOODS[name](data, **bind(LIKELIHOODS[name], values, "loss", given=("data",)))
