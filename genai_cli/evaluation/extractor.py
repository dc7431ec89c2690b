"""The feature extractor: a fixed network in whose features sample sets are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset


@dataclass(frozen=True)
class Extractor:
    """Map examples to rows of features by a fixed function.

    A distance in one extractor's features compares with no other's: `passport` says which.
    """

    name: str  # reference, inception, pixels; values for data that is no image
    width: int  # numbers a row
    preprocessing: str  # what happens to an example before, in a line
    note: str  # which one it is and why, in a line to show
    network: Callable[[Tensor], Tensor]  # (B, *event) in data space to (B, width)
    classify: Callable[[Tensor], Tensor] | None = None  # (B, width) to (B, classes) scores
    hash: str | None = None  # of the network's weights
    accuracy: float | None = None  # of its classes, on the test split
    batch: int = 500  # examples at a time; 2,000 Fashion-MNIST images are a third slower

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Map (n, *event) in data space to features (n, width), single precision, on the CPU.

        Raises:
            ValueError: there are no examples.
        """
        if not len(x):
            raise ValueError("features of no examples")
        parts = [self.network(part) for part in x.detach().split(self.batch)]
        return torch.cat([part.float().cpu() for part in parts])

    def predicted(self, x: Tensor) -> Tensor | None:
        """Map (n, *event) to int64 classes (n,); None if the extractor knows none."""
        return None if self.classify is None else self.classes_of(self.features(x))

    @torch.no_grad()
    def classes_of(self, features: Tensor) -> Tensor | None:
        """Return the classes (n,) of `features` that are computed already."""
        return None if self.classify is None else self.classify(features).argmax(1)

    def passport(self) -> dict[str, Any]:
        """Return the fields of a number's ruler that name this extractor."""
        return {
            "extractor": self.name,
            "extractor_hash": self.hash,
            "extractor_accuracy": self.accuracy,
        }


def drawn_shape(data: Dataset) -> tuple[int, ...]:
    """Return the shape of a sample: the target's where the data are pairs of images."""
    return data.spec.target_shape if data.spec.target == "image" else data.spec.event_shape
