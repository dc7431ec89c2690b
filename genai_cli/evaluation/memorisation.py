"""Are samples copies of training examples? Nearest neighbours, against those of unseen data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from genai_cli.evaluation.pairwise import blocks, pair_of_rows


class Nearest(NamedTuple):
    """The nearest example of another set."""

    distance: Tensor  # (n,) Euclidean
    index: Tensor  # (n,) int64, into that set


def nearest(x: Tensor, reference: Tensor) -> Nearest:
    """For each of (n, *event) the nearest of (m, *event).

    Raises:
        ValueError: a set is empty, or the two differ in width.
    """
    x, reference = pair_of_rows(x, reference)
    found = [d.min(1) for _, d in blocks(x, reference)]
    return Nearest(torch.cat([f.values for f in found]), torch.cat([f.indices for f in found]))


class Memorisation(NamedTuple):
    """What `memorisation` found."""

    p: float  # of the one-sided test; small: samples are closer to the training data
    closer: float  # P(a sample is closer than a held-out example), ties half; 0.5 where alike
    distance: Tensor  # (n,) of each sample to its nearest training example
    pairs: Tensor  # (pairs, 2) int64, (sample, training example), the closest first


def memorisation(samples: Tensor, train: Tensor, test: Tensor, pairs: int = 8) -> Memorisation:
    """Mann–Whitney U test that samples lie closer to training examples than unseen data do.

    The three-sample test of Meehan et al. 2020 (data-copying), the whole space as one cell. A
    small p says closer, which copies are, but so are samples of too little variety or detail (a
    VAE's means): look at the pairs before calling it memorisation.

    Args:
        samples: (n, *event).
        train: (m, *event), what the model was fitted to.
        test: (l, *event), drawn as the training examples were and not used.
        pairs: how many of the closest pairs are returned, n at most.

    Raises:
        ValueError: a set is empty, or they differ in width.
    """
    near, held_out = nearest(samples, train), nearest(test, train).distance
    ours, theirs = near.distance.cpu().numpy(), held_out.cpu().numpy()
    result = mannwhitneyu(ours, theirs, alternative="less")
    order = near.distance.argsort(stable=True)[:pairs]
    return Memorisation(
        p=float(result.pvalue),
        closer=1 - float(result.statistic) / (len(ours) * len(theirs)),
        distance=near.distance,
        pairs=torch.stack([order, near.index[order]], 1),
    )
