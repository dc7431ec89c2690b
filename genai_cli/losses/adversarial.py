"""Objectives of the two players of a GAN: functions of the discriminator's scores, per example.

A score is D's raw output (B,), before any sigmoid. ``real`` is the score of x, ``fake`` that of
G(z); row i of a batch pairs real i with fake i. Both players minimise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genai_cli.config.signatures import NonNegative, bind
from genai_cli.errors import UserError, listing, nearest

Scores = Callable[[Tensor, Tensor], Tensor]  # (real, fake), (B,) each, to (B,)


class Objective(NamedTuple):
    """The losses that generator and discriminator minimise."""

    discriminator: Scores
    generator: Scores
    probability: bool = False  # sigmoid of a score is the probability that its input is real
    gradient_penalty: float = 0.0  # weight of (‖∇D‖ − 1)² between real and fake


def _log_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−log D(x) − log(1 − D(G(z))): log 4 where D = 1/2."""
    return F.softplus(-real) + F.softplus(fake)


def minimax() -> Objective:
    """min_G max_D E log D(x) + E log(1 − D(G(z))) (Goodfellow et al. 2014, eq. 1).

    G's gradient vanishes where D is sure of its samples.
    """
    return Objective(_log_loss, lambda real, fake: -F.softplus(fake), probability=True)


def nonsaturating() -> Objective:
    """D as in `minimax`; G maximises log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return Objective(_log_loss, lambda real, fake: F.softplus(-fake), probability=True)


def lsgan() -> Objective:
    """½ (D(x) − 1)² + ½ D(G(z))² and ½ (D(G(z)) − 1)² (Mao et al. 2017, eq. 9)."""
    return Objective(
        lambda real, fake: 0.5 * (real - 1).square() + 0.5 * fake.square(),
        lambda real, fake: 0.5 * (fake - 1).square(),
    )


def hinge() -> Objective:
    """max(0, 1 − D(x)) + max(0, 1 + D(G(z))) and −D(G(z)) (Miyato et al. 2018, eq. 16 and 17)."""
    return Objective(
        lambda real, fake: F.relu(1 - real) + F.relu(1 + fake), lambda real, fake: -fake
    )


def wgan_gp(penalty: NonNegative = 10.0) -> Objective:
    """D(G(z)) − D(x) + λ (‖∇D(x̂)‖ − 1)² and −D(G(z)) (Gulrajani et al. 2017, eq. 3).

    Args:
        penalty: λ, the weight of the gradient penalty; x̂ = u x + (1 − u) G(z) with u uniform.
    """
    return Objective(
        lambda real, fake: fake - real, lambda real, fake: -fake, gradient_penalty=penalty
    )


def relativistic() -> Objective:
    """log(1 + e^−(D(x) − D(G(z)))), and its mirror image for G, for each pair of real and fake.

    RpGAN (Jolicoeur-Martineau 2019, section 4.2) with the logistic loss, as in R3GAN (Huang et al.
    2024, eq. 2). Only differences of scores mean anything.
    """
    return Objective(
        lambda real, fake: F.softplus(fake - real), lambda real, fake: F.softplus(real - fake)
    )


LOSSES: dict[str, Callable[..., Objective]] = {
    "nonsaturating": nonsaturating,
    "relativistic": relativistic,
    "hinge": hinge,
    "wgan_gp": wgan_gp,
    "lsgan": lsgan,
    "minimax": minimax,
}


def make(node: Mapping[str, Any]) -> Objective:
    """The objective a config node names, with its own keys.

    Raises:
        UserError: another loss, or a key it does not take.
    """
    name, values = node["name"], {k: v for k, v in node.items() if k != "name"}
    if name not in LOSSES:
        raise UserError(
            f"loss={name} is not a loss of this family{nearest(name, LOSSES)} "
            f"(choose from: {listing(LOSSES)})"
        )
    return LOSSES[name](**bind(LOSSES[name], values, "loss"))


def input_gradient(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∇_x score(x), (B, *event), for a score (B,) of which row i depends on x_i alone.

    It can be differentiated again where gradients are enabled, and works where they are not.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        try:
            x = x.detach().requires_grad_()
        except RuntimeError:  # within vmap (a stack of cells) only the functional form is allowed
            return torch.func.grad(lambda x: score(x).sum())(x.detach())
        (gradient,) = torch.autograd.grad(score(x).sum(), x, create_graph=again)
    return gradient


def zero_centred(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """½ ‖∇D(x)‖², (B,): R1 where x is real, R2 where it is fake.

    Mescheder et al. 2018, eq. 9 and 10, without the weight γ.
    """
    return 0.5 * input_gradient(score, x).flatten(1).square().sum(1)


def one_centred(score: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(‖∇D(x)‖ − 1)², (B,) (Gulrajani et al. 2017, eq. 3, without the weight λ)."""
    norm = torch.linalg.vector_norm(input_gradient(score, x).flatten(1), dim=1)
    return (norm - 1).square()
