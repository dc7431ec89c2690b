"""Summarize a data set: ranges, counts, exact duplicates, and examples in two splits at once."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset, Split

_CHUNK = 1024  # examples looked at together


class SplitSummary(NamedTuple):
    """Summary of one split."""

    n: int
    low: float  # smallest entry of x; nan without examples
    high: float
    class_counts: tuple[int, ...]  # in label order; empty without labels
    duplicates: int  # examples equal to an earlier one of the same split


class DataSummary(NamedTuple):
    """Summary of a data set."""

    splits: dict[str, SplitSummary]
    overlap: dict[tuple[str, str], int]  # (a, b) → examples of b that are also in a
    constant: int  # entries of x (pixels, columns) equal in every example
    entries: int


def examine(dataset: Dataset) -> DataSummary:
    """Summarize a data set in one pass. Equal examples have the same bits of x, whatever y is."""
    splits: dict[str, SplitSummary] = {}
    seen: dict[str, set[bytes]] = {}
    overlap: dict[tuple[str, str], int] = {}
    low = torch.full(dataset.spec.event_shape, torch.inf)
    high = -low
    for name in ("train", "val", "test"):
        split = getattr(dataset, name)
        hashes: list[bytes] = []
        counts = torch.zeros(len(dataset.spec.classes), dtype=torch.int64)
        least = torch.full_like(low, torch.inf)
        most = -least
        for batch in split.batches(_chunks(split)):
            x = batch.x
            least = torch.minimum(least, x.amin(0))
            most = torch.maximum(most, x.amax(0))
            hashes += [hashlib.blake2b(row, digest_size=16).digest() for row in x.numpy()]
            if len(counts) and batch.y is not None:
                counts += torch.bincount(batch.y, minlength=len(counts))
        low, high = torch.minimum(low, least), torch.maximum(high, most)
        for other in seen:
            overlap[other, name] = sum(h in seen[other] for h in hashes)
        seen[name] = set(hashes)
        empty = len(split) == 0
        splits[name] = SplitSummary(
            len(split),
            float("nan") if empty else float(least.min()),
            float("nan") if empty else float(most.max()),
            tuple(counts.tolist()),
            len(hashes) - len(seen[name]),
        )
    return DataSummary(splits, overlap, int((low == high).sum()), low.numel())


def _chunks(split: Split) -> tuple[Tensor, ...]:
    return torch.arange(len(split)).split(_CHUNK) if len(split) else ()
