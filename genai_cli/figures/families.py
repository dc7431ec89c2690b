"""Colour, marker and name of each family, the same in every figure of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

# Okabe & Ito again, in an order in which neighbours of a usual comparison lie far apart.
FAMILIES = {
    "autoencoder": ("#0072B2", "o"),
    "vae": ("#D55E00", "s"),
    "latent_flow": ("#009E73", "D"),
    "flow": ("#CC79A7", "^"),
    "gan": ("#E69F00", "v"),
    "ddpm": ("#56B4E9", "P"),
    "mlp": ("#1f2430", "X"),
}
OTHERS = (("#8c6d31", "<"), ("#5b5b9e", ">"), ("#6b7280", "h"))  # families of a user's own
NAMES = {
    "autoencoder": "autoencoder",
    "vae": "VAE",
    "latent_flow": "latent flow",
    "flow": "flow",
    "gan": "GAN",
    "ddpm": "DDPM",
    "mlp": "MLP",
}


class Look(NamedTuple):
    """How a family is drawn."""

    colour: str
    marker: str


def look(model: str) -> Look:
    """Colour and marker of a family, the same in every figure; a user's own get what is left."""
    return Look(*FAMILIES.get(model, OTHERS[sum(map(ord, model)) % len(OTHERS)]))


def colours(models: Sequence[str]) -> list[str]:
    """A colour for each line: of its family where all differ, else along one map, in their order
    (the bottlenecks of a sweep read as a scale)."""
    if len(set(models)) == len(models):
        return [look(model).colour for model in models]
    return [to_hex(colormaps["viridis"](t)) for t in np.linspace(0, 0.88, len(models))]
