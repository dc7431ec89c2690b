"""Colour, marker and name of each family, the same in every figure of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb

from genai_cli.figures.style import INK

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
    """The colour and marker of a family."""

    colour: str
    marker: str


def look(model: str) -> Look:
    """Colour and marker of a family, the same in every figure; a user's own get what is left."""
    return Look(*FAMILIES.get(model, OTHERS[sum(map(ord, model)) % len(OTHERS)]))


def colours(models: Sequence[str]) -> list[str]:
    """A colour for each line of a panel, in order: of its family; where a family has several (the
    bottlenecks of a sweep), light to dark shades of it, or one map if it is the only family."""
    count = Counter(models)
    if len(count) == 1 and len(models) > 1:
        return [to_hex(colormaps["viridis"](t)) for t in np.linspace(0.88, 0, len(models))]
    shades = {
        m: iter([0.0] if n == 1 else np.linspace(-0.55, 0.45, n).tolist()) for m, n in count.items()
    }
    return [_shade(look(model).colour, next(shades[model])) for model in models]


def _shade(colour: str, amount: float) -> str:
    """Mixed with white (below 0) or with ink (above)."""
    other = np.array(to_rgb("white" if amount < 0 else INK))
    return to_hex(np.array(to_rgb(colour)) * (1 - abs(amount)) + other * abs(amount))
