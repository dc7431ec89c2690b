"""How like the real data samples are: Fréchet distance; precision, recall, density, coverage.

All of them compare rows: pixels, or better an extractor's features. Every value depends on the
space and on both sample sizes, so it is shown beside that of real against real at the same sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genai_cli.evaluation.pairwise import blocks, pair_of_rows, rows


class Moments(NamedTuple):
    """Mean (D,) and covariance (D, D), over n − 1, in double precision."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Of (n, D) features, n ≥ 2.

    Raises:
        ValueError: fewer than two examples.
    """
    x = rows(features)
    if len(x) < 2:
        raise ValueError(f"a covariance needs at least 2 examples, got {len(x)}")
    mean = x.mean(0)
    centred = x - mean
    return Moments(mean, centred.T @ centred / (len(x) - 1))


def frechet_distance(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """|μ₁ − μ₂|² + Tr(C₁ + C₂ − 2 (C₁ C₂)^½), squared as in the FID (Heusel et al. 2017, eq. 6).

    Biased upwards by a term of order 1/n: compare only values at equal n.

    Args:
        a: (n, D) features, or their `moments`.
        b: (m, D) features, or their `moments`.

    Raises:
        ValueError: fewer than two examples, or the two differ in width.
    """
    a = a if isinstance(a, Moments) else moments(a)
    b = b if isinstance(b, Moments) else moments(b)
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"{len(a.mean)} columns against {len(b.mean)}: these do not compare")
    # Tr (C₁ C₂)^½ is the sum of the singular values of R₁ᵀ R₂ for C = R Rᵀ. No root of a
    # non-symmetric product is taken, so singular covariances (n < D) are no special case.
    cross = torch.linalg.svdvals(_root(a.covariance).T @ _root(b.covariance)).sum()
    trace = a.covariance.trace() + b.covariance.trace()
    return ((a.mean - b.mean).square().sum() + trace - 2 * cross).item()


def _root(covariance: Tensor) -> Tensor:
    """R (D, D) with R Rᵀ = C. Eigenvalues below rounding are zero, not their noise's root."""
    values, vectors = torch.linalg.eigh(covariance)
    rounding = values[-1] * len(values) * torch.finfo(values.dtype).eps
    return vectors * torch.where(values > rounding, values, 0.0).sqrt()


class Neighbourhoods(NamedTuple):
    """Four shares and rates of samples and real examples, by k-nearest-neighbour balls."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Tensor, fake: Tensor, k: int = 5) -> Neighbourhoods:
    """Precision and recall (Kynkäänniemi et al. 2019, eq. 1–2), density and coverage (Naeem 2020).

    With B(p) the ball around p that reaches its k-th nearest neighbour in its own set:
    precision is the share of samples in some B(real), recall that of real examples in some
    B(sample), density the mean number of B(real) a sample lies in, over k, and coverage the
    share of B(real) that hold a sample. For two sets of one distribution only the last two are
    near 1. Balls are closed, as in Kynkäänniemi's equation; Naeem's code takes them open, which
    differs only for data with ties.

    Args:
        real: (n, *event), n > k; coverage is a share of these.
        fake: (m, *event), m > k.
        k: which neighbour; 5 as in Naeem et al.

    Raises:
        ValueError: k < 1, a set has no k-th neighbour, or the two differ in width.
    """
    real, fake = pair_of_rows(real, fake)
    around_real, around_fake = _radii(real, k), _radii(fake, k)
    inside = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    recalled = torch.zeros_like(covered)
    for part, d in blocks(real, fake):
        within = d <= around_real[part, None]  # (b, m)
        inside += within.sum(0)
        covered[part] = within.any(1)
        recalled[part] = (d <= around_fake).any(1)
    return Neighbourhoods(
        precision=(inside > 0).double().mean().item(),
        recall=recalled.double().mean().item(),
        density=inside.double().mean().item() / k,
        coverage=covered.double().mean().item(),
    )


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """The share of real k-nearest-neighbour balls that hold a sample (Naeem et al. 2020).

    As in `neighbourhoods`, but any number of samples from 1 will do.
    """
    real, fake = pair_of_rows(real, fake)
    radii = _radii(real, k)
    held = sum((d.amin(1) <= radii[part]).sum().item() for part, d in blocks(real, fake))
    return held / len(real)


def _radii(x: Tensor, k: int) -> Tensor:
    """(n,) distance of each row to its k-th nearest other row."""
    if not 1 <= k < len(x):
        raise ValueError(f"k={k} needs 1 ≤ k < {len(x)}, the number of examples")
    radii = x.new_empty(len(x))
    for part, d in blocks(x, x):
        own = torch.arange(part.start, part.stop, device=d.device)
        d[own - part.start, own] = torch.inf
        radii[part] = d.kthvalue(k, dim=1).values
    return radii
