"""Choose the extractor of the sample measures: a fixed network's features, or raw values."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.data.raw import one_line
from genai_cli.errors import UserError, listing
from genai_cli.evaluation.classifier import FEATURES, LARGEST, Tick
from genai_cli.evaluation.extractor import Extractor, drawn_shape
from genai_cli.evaluation.reference import Say, reference

Name = Literal["auto", "reference", "inception", "pixels"]
NAMES = ("auto", "reference", "inception", "pixels")


def make_extractor(
    name: str,
    data: Dataset,
    *,
    device: torch.device | str = "cpu",
    say: Say = print,
    tick: Tick | None = None,
) -> Extractor:
    """Return the extractor ``name`` for ``data``.

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
        raise UserError(f"features={one_line(name)} is not allowed (choose from: {listing(NAMES)})")
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


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def _reference(data: Dataset, say: Say, tick: Tick | None) -> Extractor:
    classifier = reference(data, say, tick)
    large = max(data.spec.event_shape[1:]) > LARGEST
    return Extractor(
        "reference",
        FEATURES,
        f"averaged down to {LARGEST} pixels a side" if large else "none",
        f"features: {FEATURES} of the reference classifier {classifier.hash} "
        f"(accuracy {classifier.accuracy:.3f} on the test images of {data.name})",
        lambda x: classifier.network.features(x.cpu().float()),
        classifier.network.last,
        classifier.hash,
        classifier.accuracy,
    )
