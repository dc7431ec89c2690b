"""Sampling speed: examples a second, one at a time and many at once, and network calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.special import bdtrik
from torch import Tensor, nn

ENOUGH = 0.5  # seconds of drawing after which a rate is known
LEAST, MOST = 6, 50  # draws that are timed: the range of six holds the median 31 times in 32
SLOW = 2.0  # seconds: a draw that takes so long is timed once, and needs no warm-up


class Rate(NamedTuple):
    """A sampling rate in examples a second, with its interval."""

    value: float  # the median over draws
    low: float | None  # of its 95 % interval, which makes no assumption on how times are spread
    high: float | None
    draws: int


def rate(draw: Callable[[int], Tensor], size: int, device: torch.device) -> Rate:
    """Time ``draw(size)``, again and again; the first is a warm-up unless it is slow."""
    first = _seconds(draw, size, device)
    times = [first] if first >= SLOW else []
    while first < SLOW and (sum(times) < ENOUGH or len(times) < LEAST) and len(times) < MOST:
        times.append(_seconds(draw, size, device))
    rates = [size / max(t, 1e-9) for t in times]
    return Rate(statistics.median(rates), *_interval(rates), len(rates))


def _interval(rates: list[float]) -> tuple[float, float] | tuple[None, None]:
    """Of the median, by order statistics (Conover 1999, section 3.2); none for fewer than six."""
    n = len(rates)
    if n < LEAST:
        return None, None
    below = int(bdtrik(0.025, n, 0.5))  # the largest rank with P(fewer lie below) ≤ 2.5 %
    ranked = sorted(rates)
    return ranked[below], ranked[n - 1 - below]


def _seconds(draw: Callable[[int], Tensor], size: int, device: torch.device) -> float:
    start = time.perf_counter()
    drawn = draw(size)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        drawn.cpu()
    return time.perf_counter() - start


def calls(model: nn.Module, draw: Callable[[int], Tensor]) -> int:
    """Count the network evaluations of one batch (NFE): the calls of its busiest layer.

    Guidance that doubles a batch counts once; a model that draws without its layers has 0.
    """
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, *_: object) -> None:
        counts[module] = counts.get(module, 0) + 1

    leaves = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        draw(1)
    finally:
        for handle in handles:
            handle.remove()
    return max(counts.values(), default=0)
