"""Weight initialisation schemes, by name."""

from __future__ import annotations

from torch import nn

SCHEMES = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "he_uniform": nn.init.kaiming_uniform_,
    "he_normal": nn.init.kaiming_normal_,
    "orthogonal": nn.init.orthogonal_,
}


def initialise(model: nn.Module, scheme: str) -> None:
    """Draw every weight matrix and kernel anew and set the biases to zero; ``default`` is torch's.

    Glorot & Bengio 2010 (eq. 16), He et al. 2015 (eq. 10), Saxe et al. 2014.
    """
    if scheme == "default":
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if not module.weight.any():  # a residual block that begins as the identity
                continue
            # the kernel of a transposed convolution lies the other way round
            mode = "fan_out" if isinstance(module, nn.ConvTranspose2d) else "fan_in"
            he = {"nonlinearity": "relu", "mode": mode} if scheme.startswith("he_") else {}
            SCHEMES[scheme](module.weight, **he)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
