"""The reference classifier of a data set, trained once; samples are compared in its features.

Its network and training are `classifier`'s. The hash of its weights is part of every number's
ruler. Another CPU may train another one, so the weights of digits and Fashion-MNIST ship with the
package; those of any other set or split are trained on first use and kept in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from genai_cli.data.dataset import Dataset
from genai_cli.data.raw import one_line
from genai_cli.errors import UserError
from genai_cli.evaluation.classifier import (
    RECIPES,
    Network,
    Recipe,
    Tick,
    accuracy,
    duration,
    number_of_steps,
    train,
    weights_hash,
)

SHIPPED = Path(__file__).parent / "weights"
VERSION = 1  # of network and training, in the name of a kept file

Say = Callable[[str], None]


class ReferenceClassifier(NamedTuple):
    """A trained network in evaluation mode, with its accuracy and hash."""

    network: Network
    accuracy: float  # on the test split
    hash: str  # of its weights


def reference(data: Dataset, say: Say = print, tick: Tick | None = None) -> ReferenceClassifier:
    """Return the classifier of ``data``: shipped, from the cache, or trained now and cached.

    Args:
        data: labelled images of any size and number of channels.
        say: is told in a line that it is trained, and what is wrong with the cache.
        tick: is told of every training step.

    Raises:
        UserError: the data has no classes or images, or the classifier is below its recipe.
    """
    if not data.spec.is_image or data.spec.target != "labels":
        raise UserError(
            f"features=reference is a classifier and {data.name} has no labelled images to train "
            "it on; use features=pixels"
        )
    name = f"{data.name}-{data.hash[:8]}-{data.split_hash[:8]}"
    shipped = SHIPPED / f"{name}.safetensors"
    if shipped.exists():
        try:
            return read(shipped, data)
        except Damaged as error:
            raise UserError(
                f"{one_line(shipped)} is damaged ({error}); type 'pip install --force-reinstall "
                "--no-deps genai-cli'"
            ) from None
    kept = cache() / f"{name}-v{VERSION}.safetensors"
    classifier = _cached(kept, data, say)
    if classifier is None:
        steps = number_of_steps(RECIPES.get(data.name), len(data.train), data.spec.event_shape)
        say(
            f"training the reference classifier of {data.name} once: {steps:,} steps, about "
            f"{duration(steps, data.spec.event_shape)} on one core"
        )
        network = train(data, tick)
        classifier = ReferenceClassifier(
            network, accuracy(network, data.test), weights_hash(network)
        )
        _check(classifier, data)
        _keep(kept, classifier, say)
    return classifier


def cache() -> Path:
    """Return the folder of trained classifiers: in $GENAI_CACHE, or in the user's cache."""
    given = os.environ.get("GENAI_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "genai"
    return (Path(given) if given else home).expanduser() / "reference"


def _check(classifier: ReferenceClassifier, data: Dataset) -> None:
    recipe = RECIPES.get(data.name, Recipe())
    if classifier.accuracy < recipe.least and len(data.train) >= recipe.examples:
        raise UserError(
            f"the reference classifier reaches accuracy {classifier.accuracy:.4f} on {data.name} "
            f"and {recipe.least} is needed; use features=pixels"
        )


# ---- files


class Damaged(Exception):
    """A file of weights does not hold what its header says."""


def read(path: Path, data: Dataset) -> ReferenceClassifier:
    """Read the network in ``path``.

    Raises:
        Damaged: the file cannot be read, is another network, or its weights changed.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # looking changes no later draw
            network = Network(data.spec.event_shape, len(data.spec.classes))
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        network.load_state_dict(weights)
        correct = float(metadata["accuracy"])
    except Exception as error:  # safetensors, torch and the file system raise nearly anything
        raise Damaged(one_line(" ".join(str(error).split()) or type(error).__name__, 80)) from None
    classifier = ReferenceClassifier(
        network.eval().requires_grad_(False), correct, weights_hash(network)
    )
    if classifier.hash != metadata.get("hash"):
        raise Damaged(f"its weights have the hash {classifier.hash} and not {metadata.get('hash')}")
    return classifier


def write(path: Path, classifier: ReferenceClassifier) -> None:
    """Write the file atomically, so that another process sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    weights = {k: v.half().contiguous() for k, v in classifier.network.state_dict().items()}
    try:
        save_file(
            weights, partial, {"accuracy": repr(classifier.accuracy), "hash": classifier.hash}
        )
        partial.chmod(0o644)  # safetensors makes it the writer's alone; a cache may be shared
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _cached(path: Path, data: Dataset, say: Say) -> ReferenceClassifier | None:
    try:
        if not path.exists():
            return None
        return read(path, data)
    except (Damaged, OSError) as error:
        say(f"{one_line(path)} is damaged ({error}) and is made again")
        return None


def _keep(path: Path, classifier: ReferenceClassifier, say: Say) -> None:
    try:
        write(path, classifier)
    except Exception as error:  # a disk that is full or read-only must not stop an evaluation
        say(
            f"the reference classifier cannot be kept in {one_line(path.parent)} ({error}); set "
            "GENAI_CACHE=DIR"
        )
