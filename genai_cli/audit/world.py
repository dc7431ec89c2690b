"""The references of an audit: the population, the training split, and the classifier."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from genai_cli.audit.shares import confusion_of
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset, Split
from genai_cli.data.rare import class_index
from genai_cli.data.sources import SOURCES, DataNote, load
from genai_cli.errors import UserError
from genai_cli.evaluation.reference import ReferenceClassifier, reference
from genai_cli.training.loop import EVALUATION_BATCH

OURS = (  # what a run does to the data, and no part of the population
    *("val_fraction", "validation", "limit", "pair", "factor", "flip", "shift"),
    *("rare", "rare_share", "balance"),
)


UNCLEAR = "unclear"
DOUBT = 0.05  # of test images are as doubtful


class RejectingClassifier(NamedTuple):
    """The reference classifier with the option to read nothing (Chow 1970).

    It names a class of any picture, and of blurred ones the same few: without the option a class
    that poor samples happen to fall into would look frequent.
    """

    reference: ReferenceClassifier
    least: float  # probability of a class below which it is unclear: of 5 % of the test images

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> np.ndarray:
        """(B,) the class read off each image (B, C, H, W), or the number of classes: unclear, as
        is an image that holds what is no finite number."""
        x = x.cpu().float()
        p = self.reference.network(x).softmax(1)
        sure, best = p.max(1)
        clear = x.isfinite().flatten(1).all(1) & (sure >= self.least)
        return torch.where(clear, best, p.shape[1]).numpy()


class Population(NamedTuple):
    """The data without a run's changes to them, and the classifier trained on them."""

    data: Dataset  # labelled; its test split is the runs'
    truth: np.ndarray  # (n,) labels of the test split
    classifier: RejectingClassifier | None  # reads classes off images
    why_not: str  # why there is none
    read: np.ndarray | None  # (n,) what it reads off the test images

    @property
    def classes(self) -> tuple[str, ...]:
        return self.data.spec.classes

    @property
    def readings(self) -> tuple[str, ...]:
        """Return the possible readings (R,): the classes, and last `UNCLEAR`."""
        return (*self.classes, UNCLEAR)

    @property
    def shares(self) -> np.ndarray:
        """Return the shares (K,) in the test split."""
        return np.bincount(self.truth, minlength=len(self.classes)) / max(1, len(self.truth))

    @property
    def confusion(self) -> np.ndarray | None:
        """Return counts (K, R) of test images, true class by reading."""
        return None if self.read is None else self.count_by_class(self.read)

    def count_by_class(self, read: np.ndarray) -> np.ndarray:
        """Count readings (n,) of the test images' outputs by true class, (K, R)."""
        return confusion_of(self.truth, read, (len(self.classes), len(self.readings)))


class TrainingClasses(NamedTuple):
    """The classes of a run's training split."""

    split: np.ndarray  # (K,) examples of each
    drawn: np.ndarray  # (K,) shares as training draws them: dataset.balance equalises them
    rare: int | None  # the class made rare

    @property
    def shares(self) -> np.ndarray:
        return self.split / max(1, self.split.sum())


def load_population(
    cfg: TrainConfig, known: dict[str, Population], say: Callable[[str], None] = print
) -> Population:
    """Return the population of a run; runs on the same data share one, kept in ``known``.

    The classifier learns from the population too, never from a run's own biased split. With an
    official test set the split seed moves validation examples alone, and the shipped one serves.

    Raises:
        UserError: the data have no labels.
    """
    node = {k: v for k, v in cfg.dataset.items() if k not in OURS}
    seed = 0 if SOURCES[node["name"]].official_test else cfg.split_seed
    key = json.dumps([node, seed], sort_keys=True)
    if key not in known:
        data = _loaded(node, seed)
        if data.spec.target != "labels" or data.test.y is None:
            raise UserError(
                f"genai audit counts classes and {data.name} has no labels; choose a run on "
                "labelled data"
            )
        if not len(data.test):
            raise UserError(f"{data.name} has no test split (dataset.test_fraction=0)")
        classifier, why_not, read = None, "", None
        if data.spec.is_image:
            trained = reference(data, say)
            classifier = RejectingClassifier(trained, _least(trained, data.test))
            read = np.concatenate([classifier(x) for x in _images(data.test)])
        else:
            why_not = "no classifier reads rows of a table; this is for images"
        known[key] = Population(data, data.test.y.numpy(), classifier, why_not, read)
    return known[key]


def count_training_classes(cfg: TrainConfig) -> TrainingClasses:
    """Count the classes of a run's training split, of pairs of images too."""
    data = _loaded({**cfg.dataset, "pair": None}, cfg.split_seed)
    classes = data.spec.classes
    assert data.train.y is not None
    counts = np.bincount(data.train.y.numpy(), minlength=len(classes))
    shares = counts / max(1, counts.sum())
    drawn = shares if data.balance is None else (counts > 0) / max(1, (counts > 0).sum())
    rare = cfg.dataset.get("rare")
    return TrainingClasses(counts, drawn, None if rare is None else class_index(rare, classes))


@torch.no_grad()
def _least(classifier: ReferenceClassifier, test: Split) -> float:
    """The quantile of how sure the classifier is of test images."""
    sure = [classifier.network(x.cpu().float()).softmax(1).amax(1) for x in _images(test)]
    return float(torch.cat(sure).quantile(DOUBT))


def _images(split: Split) -> Iterator[torch.Tensor]:
    for batch in split.batches(torch.arange(len(split)).split(EVALUATION_BATCH)):
        yield batch.x


def _loaded(node: Mapping[str, Any], seed: int) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNote)  # the run's own loading has told them
        return load(node, seed)
