"""How fast a model draws: examples a second, one at a time and many at once, and network calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

ENOUGH = 0.5  # seconds of drawing after which a rate is known
MOST, LEAST = 25, 3  # draws that are timed
SLOW = 5.0  # seconds: a draw that takes so long is timed once, and needs no warm-up


class Rate(NamedTuple):
    """Examples a second."""

    value: float  # the median over draws
    low: float | None  # slowest and fastest of at least LEAST draws
    high: float | None
    draws: int


def rate(draw: Callable[[int], Tensor], size: int, device: torch.device) -> Rate:
    """Time ``draw(size)``, again and again; the first is a warm-up unless it is slow."""
    first = _seconds(draw, size, device)
    times = [first] if first >= SLOW else []
    while first < SLOW and (sum(times) < ENOUGH or len(times) < LEAST) and len(times) < MOST:
        times.append(_seconds(draw, size, device))
    rates = [size / max(t, 1e-9) for t in times]
    spread = (min(rates), max(rates)) if len(rates) >= LEAST else (None, None)
    return Rate(statistics.median(rates), *spread, len(rates))


def _seconds(draw: Callable[[int], Tensor], size: int, device: torch.device) -> float:
    start = time.perf_counter()
    drawn = draw(size)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        drawn.cpu()
    return time.perf_counter() - start


def calls(model: nn.Module, draw: Callable[[int], Tensor]) -> int:
    """How often a network runs for one batch of samples (NFE): the calls of its busiest layer.

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
