"""Losses of MLP and autoencoder: pure functions of (raw output, target), and what fits what.

Each loss takes the network's *raw* output (B, *shape), before the output activation, and the
target in data space, and returns (B,): the mean over the elements of one example, or, for the
losses of a probability vector (cce, kl), the sum over its classes. Taking the raw output lets
bce + sigmoid and cce/kl + softmax use their overflow-free forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_cli.config.signatures import Positive, bind
from genai_cli.errors import UserError, listing, nearest

Activation = Literal["linear", "sigmoid", "softmax"]
Task = Literal["reconstruction", "regression", "binary", "multiclass"]
Loss = Callable[[Tensor, Tensor], Tensor]

EPS = 1e-7  # keeps log(p) finite where a probability is not formed from a logit (Keras' value)


def activate(raw: Tensor, activation: Activation) -> Tensor:
    """The prediction in data space: (B, *shape), softmax over all elements of an example."""
    if activation == "sigmoid":
        return raw.sigmoid()
    if activation == "softmax":
        return raw.flatten(1).softmax(1).view_as(raw)
    assert activation == "linear", activation
    return raw


def mse(raw: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """Mean squared error, mean (p − t)²."""
    return (activate(raw, activation) - target).square().flatten(1).mean(1)


def mae(raw: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """Mean absolute error, mean |p − t|."""
    return (activate(raw, activation) - target).abs().flatten(1).mean(1)


def msle(raw: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """Mean squared logarithmic error, mean (log(1 + p) − log(1 + t))², negative values taken as 0.

    The cut at 0 keeps the logarithm defined where a linear output starts below −1.
    """
    prediction = activate(raw, activation).clamp_min(0)
    return (prediction.log1p() - target.clamp_min(0).log1p()).square().flatten(1).mean(1)


def huber(raw: Tensor, target: Tensor, activation: Activation, delta: Positive = 1.0) -> Tensor:
    """Huber (1964): squared below ``delta``, linear above; mean over the elements."""
    prediction = activate(raw, activation)
    return F.huber_loss(prediction, target, reduction="none", delta=delta).flatten(1).mean(1)


def bce(raw: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """Binary cross-entropy, mean −t log p − (1 − t) log(1 − p), for targets in [0, 1]."""
    if activation == "sigmoid":
        elements = F.binary_cross_entropy_with_logits(raw, target, reduction="none")
    else:
        p = activate(raw, activation).clamp(EPS, 1 - EPS)
        elements = -(target * p.log() + (1 - target) * (1 - p).log())
    return elements.flatten(1).mean(1)


def cce(raw: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """Categorical cross-entropy, −Σ t log p over the classes.

    With another activation than softmax the outputs are first divided by their sum, as Keras does.
    """
    return -(target.flatten(1) * _log_probabilities(raw, activation, normalise=True)).sum(1)


def kl(raw: Tensor, target: Tensor, activation: Activation) -> Tensor:
    """Kullback-Leibler divergence D(t ‖ p) = Σ t log(t / p) over the classes (0 log 0 = 0)."""
    t = target.flatten(1)
    log_p = _log_probabilities(raw, activation, normalise=False)
    return (torch.special.xlogy(t, t) - t * log_p).sum(1)


def _log_probabilities(raw: Tensor, activation: Activation, normalise: bool) -> Tensor:
    if activation == "softmax":
        return raw.flatten(1).log_softmax(1)
    p = activate(raw, activation).flatten(1)
    if normalise:
        p = p / p.sum(1, keepdim=True).clamp_min(EPS)
    return p.clamp(EPS, 1 - EPS).log()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": mse,
    "mae": mae,
    "msle": msle,
    "huber": huber,
    "bce": bce,
    "cce": cce,
    "kl": kl,
}


def make(node: dict[str, Any], activation: Activation) -> Loss:
    """The loss a config node names, with its own keys and the output activation bound."""
    name, values = node["name"], {k: v for k, v in node.items() if k != "name"}
    if name not in LOSSES:
        raise UserError(
            f"loss={name} is not a loss of this family{nearest(name, LOSSES)} "
            f"(choose from: {listing(LOSSES)})"
        )
    arguments = bind(LOSSES[name], values, "loss", given=("activation",))
    return partial(LOSSES[name], activation=activation, **arguments)


def output_activation(
    choice: Activation | Literal["auto"], loss: str, fits: Mapping[str, tuple[Activation, ...]]
) -> Activation:
    """The activation that ``auto`` means for a loss: the first that fits, else what is usual."""
    if choice != "auto":
        return choice
    habit: dict[str, Activation] = {"bce": "sigmoid", "cce": "softmax", "kl": "softmax"}
    return fits[loss][0] if fits.get(loss) else habit.get(loss, "linear")


def fitting(task: Task, unit_interval: bool) -> dict[str, tuple[Activation, ...]]:
    """The losses that fit a task, best first, each with the output activations it goes with.

    Args:
        task: what is predicted. ``reconstruction`` means the elements of the data themselves.
        unit_interval: all targets lie in [0, 1], so that sigmoid can reach them.
    """
    if task in ("binary", "multiclass"):
        cross: dict[str, tuple[Activation, ...]] = {"cce": ("softmax",), "kl": ("softmax",)}
        one: dict[str, tuple[Activation, ...]] = {"bce": ("sigmoid",)}
        return one | cross if task == "binary" else cross | one
    bounded: tuple[Activation, ...] = ("sigmoid", "linear") if unit_interval else ("linear",)
    fits = {"mse": bounded, "mae": bounded, "huber": bounded}
    if unit_interval:  # logarithms need targets that are not negative, bce targets in [0, 1]
        fits |= {"msle": bounded, "bce": ("sigmoid",)}
    return fits
