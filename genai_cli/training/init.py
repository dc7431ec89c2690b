"""Start values of the weights, by name."""

from __future__ import annotations

from torch import nn

SCHEMES = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
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
            SCHEMES[scheme](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
