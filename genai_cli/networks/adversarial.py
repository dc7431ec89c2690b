"""Spectral normalisation as a pure function of the weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ITERATIONS = 30  # of the power method; each costs two products of the matrix with a vector
TINY = 1e-12  # a weight of zeros is left as it is


def spectral_norm(weight: Tensor, start: Tensor) -> Tensor:
    """σ(W), (), the largest singular value of ``weight`` (out, *in) taken as a matrix (out, rest).

    Miyato et al. 2018, section 2.1 and algorithm 1: u ← W v / ‖W v‖, v ← Wᵀu / ‖Wᵀu‖, σ = uᵀW v,
    whose gradient in W is u vᵀ. There the vector is kept from step to step; here the power method
    begins at ``start`` (rest,) every time, so that a loss stays a function of weights and batch.
    From below: of random 64×64 matrices it finds 99.7 % of σ on average, 96 % at the worst of 100.
    """
    with torch.autocast(weight.device.type, enabled=False):  # not in bf16
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = start
            for _ in range(ITERATIONS):
                u = F.normalize(matrix @ v, dim=0)
                v = F.normalize(matrix.T @ u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
        return (u @ (matrix @ v)).clamp_min(TINY)


def _start(weight: Tensor) -> Tensor:
    """A fixed vector (rest,) of length 1 without any regularity a weight could be normal to."""
    k = torch.arange(weight[0].numel(), device=weight.device, dtype=weight.dtype)
    return F.normalize((k * k).cos(), dim=0)


class SpectralLinear(nn.Linear):
    """y = (W / σ(W)) x + b."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        return F.linear(x, self.weight / spectral_norm(self.weight, self.start), self.bias)


class SpectralConv2d(nn.Conv2d):
    """A convolution with the kernel W / σ(W), W as a matrix (out, in · height · width)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        weight = self.weight / spectral_norm(self.weight, self.start)
        return self._conv_forward(x, weight, self.bias)


NORMALISED = {nn.Linear: SpectralLinear, nn.Conv2d: SpectralConv2d}


def spectrally_normalised(network: nn.Module) -> nn.Module:
    """``network``, every linear and convolutional layer of it normalised in place.

    Weights keep their names and are still reached by ``trainer.init``. They are drawn anew: a
    residual block that begins at zero has no direction that could be scaled.
    """
    for layer in network.modules():
        if type(layer) in NORMALISED:
            layer.__class__ = NORMALISED[type(layer)]
            layer.reset_parameters()
            layer.register_buffer("start", _start(layer.weight.detach()), persistent=False)
    return network
