"""Fresh sets of samples, a batch at a time; ``genai sample RUN seed=s`` draws set s."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset, Spec
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator, permutation

ALIGN = 64  # rows a call of the model is a multiple of: kernels for fewer add up in another order


class NotFinite(Exception):
    """Samples hold values that are not finite, so nothing can be measured on them."""


@dataclass
class SampleSets:
    """Draw sets of samples from a model with fixed sampling options."""

    model: Model
    data: Dataset
    options: Mapping[str, Any]
    batch_size: int

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def conditional(self) -> bool:
        return bool(getattr(self.model, "conditional", False))

    @torch.no_grad()
    def draw(self, n: int, seed: int, start: int = 0) -> Tensor:
        """Draw rows ``start`` … of set ``seed``, (n, *event), as the model gives them."""
        rows = -(-n // ALIGN) * ALIGN
        source = RowGenerator(seed, "sample", start, rows)
        x = self.model.sample(rows, self.labels(rows, seed, start), source, **self.options)
        return x[:n]

    def labels(self, n: int, seed: int, start: int) -> Tensor | None:
        """Return labels (n,) of random training examples; None for an unconditional model."""
        if not self.conditional:
            return None
        order = permutation(len(self.data.train), seed, 0)
        index = order[torch.arange(start, start + n) % len(order)]
        return self.data.train.batch(index).y.to(self.device)

    def batches(self, n: int, seed: int, tick: Callable[[int], None]) -> Iterator[Tensor]:
        """Yield the n samples of set ``seed`` on the CPU, quantized like the data.

        Raises:
            NotFinite: one of them is not.
        """
        step = max(ALIGN, self.batch_size // ALIGN * ALIGN)
        for start in range(0, n, step):
            size = min(step, n - start)
            x = self.draw(size, seed, start).cpu()
            if not x.isfinite().all():  # clamped to [0, 1] an infinity would pass for white
                raise NotFinite
            yield quantize(x, self.data.spec)
            tick(size)


def quantize(x: Tensor, spec: Spec) -> Tensor:
    """Clip samples to [0, 1] and round them to the data's levels, where the data have these.

    Real images have levels and samples do not, so a measure would see the rounding.
    """
    if spec.unit_interval:
        x = x.clamp(0, 1)
    if spec.levels is None:
        return x
    return (x * (spec.levels - 1)).round() / (spec.levels - 1)
