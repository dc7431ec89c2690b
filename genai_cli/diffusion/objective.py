"""Prediction targets of a diffusion network, and the weighting of its squared error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from genai_cli.config.signatures import Positive, bind
from genai_cli.errors import UserError, listing

Prediction = Literal["eps", "x0", "v", "edm"]


def target(prediction: Prediction, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """eps (Ho et al. 2020), x0, or v = α eps − σ x_0 (Salimans & Ho 2022, appendix D)."""
    if prediction == "eps":
        return eps
    return x0 if prediction == "x0" else alpha * eps - sigma * x0


def x0_from(prediction: Prediction, out: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """x̂_0 from a prediction at x = α x_0 + σ eps with α² + σ² = 1."""
    if prediction == "eps":
        return (x - sigma * out) / alpha
    return out if prediction == "x0" else alpha * x - sigma * out


def preconditioning(level: Tensor, sigma_data: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in, c_noise at noise level σ (Karras et al. 2022, table 1).

    With x_0 of deviation ``sigma_data``, input c_in · (x_0 + σ eps) and target (x_0 − c_skip ·
    (x_0 + σ eps)) / c_out of the network have variance one.
    """
    total = (level.square() + sigma_data.square()).sqrt()
    skip = (sigma_data / total).square()
    return skip, level * sigma_data / total, 1 / total, level.log() / 4


def simple() -> Callable[[Prediction, Tensor], Tensor]:
    """The squared error as it is (Ho et al. 2020, eq. 14)."""
    return lambda prediction, snr: torch.ones_like(snr)


def min_snr(gamma: Positive = 5.0) -> Callable[[Prediction, Tensor], Tensor]:
    """min(SNR, γ) on the error of x̂_0, in terms of what is predicted (Hang et al. 2023, eq. 9)."""

    def weight(prediction: Prediction, snr: Tensor) -> Tensor:
        of_target = {"x0": torch.ones_like(snr), "eps": snr, "v": snr + 1}[prediction]
        return snr.clamp(max=gamma) / of_target

    return weight


def vlb() -> None:
    """The variational bound itself; its weights are those of bound.py."""


LOSSES = {"simple": simple, "min_snr": min_snr, "vlb": vlb}


def make(node: Mapping[str, Any]) -> Callable[[Prediction, Tensor], Tensor] | None:
    """The weight (prediction, SNR (B,)) → (B,) a config node names; None for the bound.

    Raises:
        UserError: another loss, or a key it does not take.
    """
    name, values = node["name"], {k: v for k, v in node.items() if k != "name"}
    if name not in LOSSES:
        raise UserError(f"loss={name} is not a loss of ddpm (choose from: {listing(LOSSES)})")
    return LOSSES[name](**bind(LOSSES[name], values, "loss"))
