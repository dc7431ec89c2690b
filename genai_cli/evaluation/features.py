"""What sample measures compare: features of images by a fixed network, or raw values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.data.raw import shown
from genai_cli.errors import UserError, listing
from genai_cli.evaluation.classifier import FEATURES, LARGEST, Tick
from genai_cli.evaluation.reference import Say, reference

Name = Literal["auto", "reference", "inception", "pixels"]
NAMES = ("auto", "reference", "inception", "pixels")


@dataclass(frozen=True)
class Extractor:
    """A fixed function from examples to rows of numbers.

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
        """(n, *event) in data space, on any device, to (n, width) in single precision on the CPU.

        Raises:
            ValueError: there are no examples.
        """
        if not len(x):
            raise ValueError("features of no examples")
        parts = [self.network(part) for part in x.detach().split(self.batch)]
        return torch.cat([part.float().cpu() for part in parts])

    def predicted(self, x: Tensor) -> Tensor | None:
        """(n, *event) to (n,) int64 classes; None if the extractor knows none."""
        return None if self.classify is None else self.classes_of(self.features(x))

    @torch.no_grad()
    def classes_of(self, features: Tensor) -> Tensor | None:
        """As `predicted`, of `features` that are there already."""
        return None if self.classify is None else self.classify(features).argmax(1)

    def passport(self) -> dict[str, Any]:
        """What a number's ruler holds of it."""
        return {
            "extractor": self.name,
            "extractor_hash": self.hash,
            "extractor_accuracy": self.accuracy,
        }


def make(
    name: str,
    data: Dataset,
    *,
    device: torch.device | str = "cpu",
    say: Say = print,
    tick: Tick | None = None,
) -> Extractor:
    """The extractor ``name`` for ``data``.

    Args:
        name: reference (the classifier of `reference`, for labelled images), inception (the
            network of the FID, for images), pixels (no network), auto (reference where there
            are labelled images, else pixels; ``note`` says which).
        data: the run's.
        device: of Inception. The small reference runs on the CPU, so that a number is the same
            wherever the run is.
        say: is told in a line what takes time, or what is wrong.
        tick: is told (steps done, steps in all) while a reference is trained.

    Raises:
        UserError: an unknown name, or data it does not work for; weights that are not there.
    """
    if name not in NAMES:
        raise UserError(f"features={shown(name)} is not allowed (choose from: {listing(NAMES)})")
    spec, why = data.spec, ""
    if name == "auto":
        labelled = spec.is_image and spec.target == "labels"
        name = "reference" if labelled else "pixels"
        without = "an image pair" if spec.target == "image" else data.name
        why = "" if labelled or not spec.is_image else f", as {without} has no labels"
    if name == "reference":
        return _reference(data, say, tick)
    if name == "inception":
        from genai_cli.evaluation.inception import inception  # imports torch-fidelity: 2 s

        return inception(data, device, say)
    width = torch.Size(drawn_shape(data)).numel()
    kind = "pixels" if spec.is_image else "values"
    return Extractor(kind, width, "none", f"features: the {width} {kind}{why}", _flat)


def drawn_shape(data: Dataset) -> tuple[int, ...]:
    """What a model of ``data`` draws: the target where the data is a pair of images."""
    return data.spec.target_shape if data.spec.target == "image" else data.spec.event_shape


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def _reference(data: Dataset, say: Say, tick: Tick | None) -> Extractor:
    found = reference(data, say, tick)
    large = max(data.spec.event_shape[1:]) > LARGEST
    return Extractor(
        "reference",
        FEATURES,
        f"averaged down to {LARGEST} pixels a side" if large else "none",
        f"features: {FEATURES} of the reference classifier {found.hash} "
        f"(accuracy {found.accuracy:.3f} on the test images of {data.name})",
        lambda x: found.network.features(x.cpu().float()),
        found.network.last,
        found.hash,
        found.accuracy,
    )
