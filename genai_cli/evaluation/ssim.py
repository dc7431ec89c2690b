"""Structural similarity of two images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # of the Gaussian weights (Wang et al. 2004, section III.B)
C1, C2 = 0.01**2, 0.03**2  # (K₁ L)² and (K₂ L)² for values of range L = 1


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM (B,) of images (B, C, H, W) in [0, 1] (Wang et al. 2004, eq. 13); 1 = the same.

    The mean over channels and over those positions where the window lies inside the image. The
    window has 11×11 weights; in smaller images as many, odd, as their shorter side holds.
    """
    size = min(WINDOW, *x.shape[2:])
    size -= 1 - size % 2
    offset = torch.arange(size, dtype=x.dtype, device=x.device) - size // 2
    weights = (-offset.square() / (2 * SIGMA**2)).exp()
    weights = weights / weights.sum()

    def blurred(images: Tensor) -> Tensor:
        """Weighted means (B · C, 1, H′, W′): the window is a product of a column and a row."""
        images = images.flatten(0, 1)[:, None]
        return F.conv2d(F.conv2d(images, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))

    mu_x, mu_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mu_x * mu_x, blurred(y * y) - mu_y * mu_y
    cov = blurred(x * y) - mu_x * mu_y
    light = (2 * mu_x * mu_y + C1) / (mu_x * mu_x + mu_y * mu_y + C1)
    structure = (2 * cov + C2) / (var_x + var_y + C2)
    return (light * structure).unflatten(0, x.shape[:2]).flatten(1).mean(1)
