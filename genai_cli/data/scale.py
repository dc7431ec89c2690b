"""Scale a table's columns: fitted on the training split and applied to all three."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Scale = Literal["none", "standard", "minmax", "whiten"]
TargetScale = Literal["none", "standard"]


class AffineScaling(NamedTuple):
    """``x ↦ (x − shift) · matrix``, in float64; the result is float32."""

    shift: np.ndarray  # (D,)
    matrix: np.ndarray  # (D, D), diagonal but for "whiten"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, D) → (n, D) float32."""
        diagonal = np.diag(self.matrix)
        if np.count_nonzero(self.matrix) == np.count_nonzero(diagonal):
            return ((x.astype(np.float64) - self.shift) * diagonal).astype(np.float32)
        return ((x.astype(np.float64) - self.shift) @ self.matrix).astype(np.float32)


def fit_scaling(x: np.ndarray, kind: str) -> AffineScaling:
    """Fit a scaling to ``x`` (n, D): columns to mean 0, deviation 1 (``standard``), to [0, 1]
    (``minmax``), or to covariance 1 (``whiten``).

    A constant column becomes 0. Whitening is the symmetric one, C^(−1/2): of all whitenings it
    moves the columns least and has no signs or order to choose, so it is the same everywhere;
    directions without variance become 0.
    """
    x = x.astype(np.float64)
    if kind == "none":
        return AffineScaling(np.zeros(x.shape[1]), np.eye(x.shape[1]))
    if kind == "minmax":
        low = x.min(0)
        return AffineScaling(low, np.diag(_inverse(x.max(0) - low)))
    mean = x.mean(0)
    if kind == "standard":
        std = x.std(0)
        std[x.min(0) == x.max(0)] = 0.0  # rounding leaves a constant column a tiny deviation
        return AffineScaling(mean, np.diag(_inverse(std)))
    # Columns in units of their own deviation first: the cut-off below is then free of units.
    inverse = _inverse(np.where(x.min(0) == x.max(0), 0.0, x.std(0)))
    centred = (x - mean) * inverse
    variance, axes = np.linalg.eigh(centred.T @ centred / len(x))
    alive = variance > 1e-10 * max(variance.max(), 1e-300)
    root = np.where(alive, 1 / np.sqrt(np.where(alive, variance, 1.0)), 0.0)
    return AffineScaling(mean, inverse[:, None] * (axes * root) @ axes.T)


def _inverse(width: np.ndarray) -> np.ndarray:
    return np.where(width > 0, 1 / np.where(width > 0, width, 1.0), 0.0)
