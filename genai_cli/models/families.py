"""Facts of the shipped families that other rooms show; imports neither torch nor matplotlib."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """One family of models as tables and figures show it."""

    label: str  # in running text
    colour: str
    marker: str  # matplotlib's
    prior: str = ""  # distribution its codes are drawn from, "" where it draws none
    predicts: bool = False  # it is supervised and draws no samples


# Okabe & Ito, in an order in which neighbours of a usual comparison lie far apart.
FAMILIES = {
    "autoencoder": Family("autoencoder", "#0072B2", "o", prior="Gaussian mixture"),
    "vae": Family("VAE", "#D55E00", "s", prior="N(0, I)"),
    "latent_flow": Family("latent flow", "#009E73", "D", prior="a flow"),
    "flow": Family("flow", "#CC79A7", "^"),
    "gan": Family("GAN", "#E69F00", "v"),
    "ddpm": Family("DDPM", "#56B4E9", "P"),
    "mlp": Family("MLP", "#1f2430", "X", predicts=True),
}
USER_STYLES = (("#8c6d31", "<"), ("#5b5b9e", ">"), ("#6b7280", "h"))  # of a user's own families


def family(name: str) -> Family:
    """Return the facts of a family; a user's own gets its name and one of the free colours."""
    known = FAMILIES.get(name)
    return known or Family(name, *USER_STYLES[sum(map(ord, name)) % len(USER_STYLES)])
