"""Classes and modes that samples leave out: by a classifier, and of a known mixture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genai_cli.evaluation.pairwise import blocks, rows


def class_shares(predicted: Tensor, classes: int) -> Tensor:
    """(classes,) share of each class among (n,) int64 predictions; a class left out has 0.

    Raises:
        ValueError: no predictions, or one outside 0 … classes − 1.
    """
    if not len(predicted) or predicted.min() < 0 or predicted.max() >= classes:
        raise ValueError(f"expected predictions of 0 … {classes - 1}, at least one")
    return torch.bincount(predicted, minlength=classes).double() / len(predicted)


class Modes(NamedTuple):
    """The distribution of samples over the components of a mixture."""

    hits: Tensor  # (K,) int64, samples within the radius of each centre
    covered: int  # centres with enough hits
    inside: float  # share of samples within the radius of any centre


def modes(points: Tensor, centres: Tensor, radius: float, least: int = 20) -> Modes:
    """Count the ``centres`` that samples reach (the ring of Metz et al. 2017, section 3.1).

    A sample hits its nearest centre if it lies within ``radius`` of it, usually three standard
    deviations of the component: a perfect sample of a normal one in the plane does with
    probability 1 − e^(−9/2) = 0.989.

    Args:
        points: (n, D).
        centres: (K, D).
        radius: in the data's unit.
        least: hits from which a centre counts as covered.
    """
    points, centres = rows(points), rows(centres)
    hits = torch.zeros(len(centres), dtype=torch.int64, device=points.device)
    for _, d in blocks(points, centres):
        near = d.min(1)
        hits += torch.bincount(near.indices[near.values <= radius], minlength=len(centres))
    covered = int((hits >= least).sum())
    return Modes(hits, covered, hits.sum().item() / len(points))
