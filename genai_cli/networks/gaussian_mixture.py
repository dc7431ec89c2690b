"""Gaussian mixture fitted to the codes of an autoencoder, to sample from it."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from genai_cli.rng import Source, normal, uniform

FLOOR = 1e-6  # added to every variance, as a share of the codes' mean variance
EACH = 5  # codes for each direction of a component: fewer would span little but themselves
TINY = 1e-12  # and at least this, for codes that do not vary at all


class Mixture(nn.Module):
    """p(z) = Σ_k w_k N(z; m_k, L_k L_kᵀ), fitted to codes by expectation maximisation.

    Ghosh et al. 2020 (arXiv 1903.12436), section 4: the density of a deterministic autoencoder's
    codes is estimated once the weights are trained. A function of the codes alone: it is fitted
    again when a run is loaded, so nothing here is saved.

    Args:
        components: K. Fewer are fitted where each would get fewer codes than a full covariance
            has rows.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.forget()

    def forget(self) -> None:
        """As before any fit."""
        self.register_buffer("weights", None, persistent=False)  # (K,)
        self.register_buffer("means", None, persistent=False)  # (K, D)
        self.register_buffer("scales", None, persistent=False)  # (K, D, D), lower triangular

    @property
    def fitted(self) -> bool:
        return self.weights is not None

    def fit(self, codes: Tensor) -> None:
        """To finite codes (n, D), n ≥ 1; buffers get the dtype and device of the codes."""
        z = codes.detach().double().cpu().numpy()
        n, d = z.shape
        floor = max(FLOOR * float(z.var(axis=0).mean()), TINY)
        k = max(1, min(self.components, n // (EACH * (d + 1))))
        if k == 1:  # the closed form, which also takes a single code
            centred = z - z.mean(axis=0)
            covariances = (centred.T @ centred / n + floor * np.eye(d))[None]
            weights, means = np.ones(1), z.mean(axis=0)[None]
        else:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture

            estimate = GaussianMixture(k, covariance_type="full", reg_covar=floor, random_state=0)
            with warnings.catch_warnings():  # a mixture short of its optimum is a mixture too
                warnings.simplefilter("ignore", ConvergenceWarning)
                estimate.fit(z)
            weights, means, covariances = (
                estimate.weights_,
                estimate.means_,
                estimate.covariances_,
            )
        self.weights = torch.from_numpy(weights).to(codes)
        self.means = torch.from_numpy(means).to(codes)
        self.scales = torch.from_numpy(np.linalg.cholesky(covariances)).to(codes)

    def sample(self, n: int, source: Source = None, temperature: float = 1.0) -> Tensor:
        """(n, D) codes; ``temperature`` multiplies the distance of each from its component's mean.

        Code i depends on row i of the draws only.
        """
        which = uniform(n, (), source, self.weights)  # (n,)
        eps = temperature * normal(n, (self.means.shape[1],), source, self.weights)  # (n, D)
        edges = self.weights.cumsum(0)[:-1]
        chosen = torch.searchsorted(edges, which, right=True)  # (n,)
        z = torch.empty_like(eps)
        for k, (mean, scale) in enumerate(zip(self.means, self.scales, strict=True)):
            z = torch.where((chosen == k)[:, None], mean + eps @ scale.T, z)
        return z
