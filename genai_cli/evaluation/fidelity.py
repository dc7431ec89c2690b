"""Fréchet and kernel distance, precision, recall, density and coverage of samples.

All of them compare rows: pixels, or better an extractor's features. Every value depends on the
space and on both sample sizes, so it is shown beside that of real against real at the same sizes.
The distances are torch-fidelity's, whose implementations are tested against the original ones.
Density and coverage are in no kept library; they come from the balls of precision and recall, so
all four are here, and the first two are tested against torch-fidelity's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from genai_cli.evaluation import pairwise
from genai_cli.evaluation.pairwise import rows


class Moments(NamedTuple):
    """Mean (D,) and covariance (D, D), over n − 1, in double precision."""

    mean: Tensor
    covariance: Tensor


class Running:
    """Accumulate `moments` of features that come in parts; memory is D², whatever n is.

    Means and centred products of two parts combine exactly (Chan, Golub & LeVeque 1983, eq. 2.1),
    so nothing is lost as it is in the sum of squares less the square of sums.
    """

    def __init__(self, width: int) -> None:
        self.n = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Add features (b, D).

        Raises:
            ValueError: they differ in width, or are not finite.
        """
        x = _finite(features)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"{x.shape[1]} columns against {len(self.mean)}: these do not compare")
        if not len(x):
            return
        mean, n = x.mean(0), self.n + len(x)
        step, centred = mean - self.mean, x - mean
        self.products += centred.T @ centred + torch.outer(step, step) * (self.n * len(x) / n)
        self.mean += step * (len(x) / n)
        self.n = n

    def moments(self) -> Moments:
        """Return the moments of all features added so far.

        Raises:
            ValueError: fewer than two examples.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 examples, got {self.n}")
        return Moments(self.mean.clone(), self.products / (self.n - 1))


def moments(features: Tensor) -> Moments:
    """Return the moments of features (n, D), n ≥ 2.

    Raises:
        ValueError: fewer than two examples, or a number that is not finite.
    """
    x = rows(features)
    running = Running(x.shape[1])
    running.add(x)
    return running.moments()


def frechet_distance(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """|μ₁ − μ₂|² + Tr(C₁ + C₂ − 2 (C₁ C₂)^½), squared as in the FID (Heusel et al. 2017, eq. 6).

    Biased upwards by a term of order 1/n: compare only values at equal n. The trace of the root is
    torch-fidelity's, from the eigenvalues of C₁ C₂. Singular covariances (n < D, features that are
    always 0) cost it digits and nothing else: measured against the singular values of C₁^½ C₂^½,
    up to 6e-8 of Tr C₁ (20 examples of 100 columns, 360 of 2,048) and 1e-12 where n > D. What
    rounding leaves below 0 is 0.

    Args:
        a: (n, D) features, or their `moments`.
        b: (m, D) features, or their `moments`.

    Raises:
        ValueError: fewer than two examples, one that is not finite, or the two differ in width.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric  # 2 s

    a = a if isinstance(a, Moments) else moments(a)
    b = b if isinstance(b, Moments) else moments(b)
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"{len(a.mean)} columns against {len(b.mean)}: these do not compare")
    first, second = ({"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (a, b))
    return max(0.0, fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID])


SUBSET, SUBSETS = 1000, 20  # of the kernel distance: 20 cost 1 s and vary the mean by 1e-4


def kernel_distance(real: Tensor, fake: Tensor, seed: int = 0) -> float:
    """MMD² with the kernel (x·y/D + 1)³, unbiased: the KID (Bińkowski et al. 2018, section 4).

    By torch-fidelity, the mean over 20 random subsets of 1,000 of each set, as the KID is used; of
    all where neither set is larger than a subset, min(n, m, 1,000). Unbiased, so the expected
    value does not depend on n, and a perfect model is around 0, below it as often as above.

    Args:
        real: (n, D) features, n ≥ 2.
        fake: (m, D) features, m ≥ 2.
        seed: of the subsets.

    Raises:
        ValueError: fewer than two examples, one that is not finite, or the two differ in width.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric  # 2 s

    real, fake = _finite(real), _finite(fake)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"{real.shape[1]} columns against {fake.shape[1]}: these do not compare")
    size = min(len(real), len(fake), SUBSET)
    if size < 2:
        raise ValueError(f"a kernel distance needs at least 2 examples, got {size}")
    return kid_features_to_metric(
        real,
        fake,
        kid_subsets=1 if size == max(len(real), len(fake)) else SUBSETS,
        kid_subset_size=size,
        rng_seed=seed,
        verbose=False,
    )[KEY_METRIC_KID_MEAN]


def _finite(features: Tensor) -> Tensor:
    """As `rows`, on the CPU. A NaN would be counted as far away by some measures, in silence."""
    x = rows(features).cpu()
    bad = int((~x.isfinite()).any(1).sum())
    if bad:
        raise ValueError(f"{bad:,} of {len(x):,} examples hold a number that is not finite")
    return x


class Neighbourhoods(NamedTuple):
    """Precision, recall, density and coverage by k-nearest-neighbour balls."""

    precision: float
    recall: float
    density: float
    coverage: float


class Real:
    """Hold real examples with their k-nearest-neighbour balls, computed once for all sets.

    Args:
        features: (n, *event), n > k.
        k: which neighbour; 5 as in Naeem et al.

    Raises:
        ValueError: k < 1, no k-th neighbour, or a number that is not finite.
    """

    def __init__(self, features: Tensor, k: int = 5) -> None:
        x = _finite(features)
        self.k, self.centre = k, x.mean(0)  # about it large means cost no digits
        self.points = x - self.centre
        self.reach = _reach(self.points, k)

    def against(self, fake: Tensor) -> Neighbourhoods:
        """Return the four measures of samples (m, *event), m > k.

        Raises:
            ValueError: no k-th neighbour, other columns, or a number that is not finite.
        """
        points = self._placed(fake)
        around = _reach(points, self.k)
        inside = torch.zeros(len(points), dtype=torch.int32)
        covered = torch.zeros(len(self.points), dtype=torch.bool)
        recalled = torch.zeros_like(covered)
        for start, d in _squared(self.points, points, SLACK):
            part = slice(start, start + len(d))
            within = d <= self.reach[part, None]  # (b, m)
            inside += within.view(torch.uint8).sum(0, dtype=torch.int32)
            covered[part] = within.any(1)
            recalled[part] = (d <= around).any(1)
        return Neighbourhoods(
            precision=(inside > 0).double().mean().item(),
            recall=recalled.double().mean().item(),
            density=inside.double().mean().item() / self.k,
            coverage=covered.double().mean().item(),
        )

    def coverage(self, fake: Tensor) -> float:
        """Return the coverage alone, which is defined from one sample on."""
        blocks = _squared(self.points, self._placed(fake), SLACK)
        held = sum(int((d.amin(1) <= self.reach[i : i + len(d)]).sum()) for i, d in blocks)
        return held / len(self.points)

    def _placed(self, fake: Tensor) -> Tensor:
        x = _finite(fake)
        if x.shape[1] != len(self.centre):
            raise ValueError(
                f"{len(self.centre)} columns against {x.shape[1]}: these sets do not compare"
            )
        return x - self.centre


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
        ValueError: k < 1, a set has no k-th neighbour, the two differ in width, or a number is
            not finite.
    """
    return Real(real, k).against(fake)


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """Return the share of real k-nearest-neighbour balls that hold a sample (Naeem et al. 2020).

    As in `neighbourhoods`, but any number of samples from 1 will do.
    """
    return Real(real, k).coverage(fake)


# A product of matrices gives |x − y|² to about 1e-15 of |x|² + |y|², by the block a little
# otherwise. This share of it is given away, so that a point on a ball's edge is always inside:
# images of few grey levels, and copies, have thousands of equal distances.
SLACK = 1e-12


def _reach(x: Tensor, k: int) -> Tensor:
    """(n,) squared distance of each row to its k-th nearest other row."""
    if not 1 <= k < len(x):
        raise ValueError(f"k={k} needs 1 ≤ k < {len(x)}, the number of examples")
    reach = x.new_empty(len(x))
    for start, d in _squared(x, x):
        diagonal = torch.arange(len(d))
        d[diagonal, diagonal + start] = torch.inf
        # topk is 8 times as fast as kthvalue for a small k
        reach[start : start + len(d)] = d.topk(k, 1, largest=False).values[:, -1]
    return reach


def _squared(x: Tensor, y: Tensor, slack: float = 0.0) -> Iterator[tuple[int, Tensor]]:
    """(first row of x, squared distances (b, m) of b rows to all of y), a block at a time.

    Few columns are taken difference by difference, which is exact; many by a matrix product, and
    ``slack`` is then the share of |x|² + |y|² that is taken off.
    """
    step = max(1, pairwise.BLOCK // len(y))
    squares = [(1 - slack) * z.square().sum(1) for z in (x, y)]
    for start in range(0, len(x), step):
        part = x[start : start + step]
        if x.shape[1] <= pairwise.NARROW:
            mode = "donot_use_mm_for_euclid_dist"
            yield start, torch.cdist(part, y, compute_mode=mode).square_()
        else:
            d = torch.addmm(squares[1], part, y.T, alpha=-2)
            yield start, d.add_(squares[0][start : start + step, None])
