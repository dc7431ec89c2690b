"""Each element through its own distribution function: the first layer of a flow on levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

BINS = 32  # for data with more levels than this, their neighbours share a bin
FLOOR = 5e-4  # share of an even distribution: no level gets too rare to come back from Φ
SMOOTHING = 1.0  # examples of the pooled histogram added to each element's own


def bin_edges(levels: int) -> list[float]:
    """Edges in [0, 1] of one bin a level, or of ``BINS`` bins with the two end levels alone.

    Stored images hold many exact zeros and ones: a bin of their own keeps those spikes exact.
    """
    if levels <= BINS:
        return [k / levels for k in range(levels + 1)]
    inner = [1 + round((levels - 2) * k / (BINS - 2)) for k in range(BINS - 1)]
    return [0.0, *(k / levels for k in inner), 1.0]


class Marginals(nn.Module):
    """z = Φ⁻¹(F_d(v)) for each element d of v in [0, 1), F_d piecewise linear and learned.

    Marginal Gaussianisation (Chen & Gopinath 2001; Laparra et al. 2011, eq. 4) with the histogram
    of the training data as a start: an element that is always 0 then costs no bits, which a smooth
    map from a normal distribution only reaches in the limit. It plays the part of logit and
    activation normalisation on data with levels.

    Args:
        shape: of one example.
        levels: grey levels of the data.

    Attributes:
        logits: (D, K) of the probabilities of the K bins of each element.
    """

    def __init__(self, shape: Sequence[int], levels: int) -> None:
        super().__init__()
        self.shape, edges = tuple(shape), bin_edges(levels)
        self.logits = nn.Parameter(torch.zeros(math.prod(shape), len(edges) - 1))
        edges = torch.tensor(edges)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("widths", edges.diff(), persistent=False)

    @torch.no_grad()
    def prepare(self, v: Tensor) -> None:
        """Start at the histograms of v (n, *shape), smoothed by what all elements share."""
        index = self._bins(v.flatten(1))  # (n, D)
        counts = torch.zeros_like(self.logits)
        counts.scatter_add_(1, index.T, torch.ones_like(v.flatten(1).T))
        pooled = counts.sum(0) / counts.sum()
        even = self.widths * len(v) / (100 + len(v))  # a share that vanishes nowhere
        prior = SMOOTHING * (pooled + even) / (pooled + even).sum()
        self.logits.copy_(((counts + prior) / (counts + prior).sum(1, keepdim=True)).log())

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *shape) in [0, 1) to normal numbers of that shape and log |det ∂z/∂v| (B,)."""
        flat = v.flatten(1)
        index = self._bins(flat)
        p, start = self._table()
        mass = _pick(p, index)
        inside = (flat - self.edges[index]) / self.widths[index]
        tiny = 8 * torch.finfo(v.dtype).eps
        z = torch.special.ndtri((_pick(start, index) + mass * inside).clamp(tiny, 1 - tiny))
        log_normal = -0.5 * (z.square() + math.log(2 * math.pi))
        logdet = (mass / self.widths[index]).log() - log_normal
        return z.view_as(v), logdet.sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """Normal numbers back to [0, 1)."""
        u = torch.special.ndtr(z.flatten(1))
        p, start = self._table()
        index = torch.searchsorted(start[:, 1:].contiguous(), u.T.contiguous(), right=True).T
        inside = ((u - _pick(start, index)) / _pick(p, index)).clamp(0, 1)
        v = self.edges[index] + inside * self.widths[index]
        return v.clamp_max(1 - torch.finfo(v.dtype).eps).view_as(z)

    def _bins(self, v: Tensor) -> Tensor:
        return torch.bucketize(v.contiguous(), self.edges[1:-1], right=True)

    def _table(self) -> tuple[Tensor, Tensor]:
        """Probability of each bin and of all bins before it, (D, K) each."""
        p = (1 - FLOOR) * self.logits.softmax(1) + FLOOR * self.widths
        return p, p.cumsum(1) - p


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """table (D, K) at index (B, D): (B, D)."""
    return table.gather(1, index.T).T
