"""Split a source's examples into three fixed splits, scaled on the training split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch

from genai_cli.config.signatures import Between, Count, Natural, Rate
from genai_cli.data.augment import Augment
from genai_cli.data.dataset import Dataset, Spec, Split
from genai_cli.data.holdout import holdout
from genai_cli.data.pairs import Degradation, make_pairs
from genai_cli.data.rare import class_index, describe_imbalance, require_labels, thin_class
from genai_cli.data.raw import Raw, content_hash
from genai_cli.data.scale import AffineScaling, fit_scaling
from genai_cli.data.stream import StreamSplit
from genai_cli.errors import UserError

SEEN = (
    "dataset.validation=test: the validation split is the test split, so that best epoch and early "
    "stopping have seen the test set"
)


@dataclass(frozen=True)
class CommonOptions:
    """Keys that data sets have in common; `sources.load` picks those that a source takes."""

    val_fraction: Rate = 0.1  # of what the test set leaves
    validation: Literal["split", "test"] = "split"  # test: the test split again, nothing held out
    test_fraction: Rate = 0.2  # only where the source has no test set of its own
    limit: Count | None = None  # the first N training examples of the shuffled split
    rare: int | str | None = None  # a class, by name or number, that training sees too seldom
    rare_share: Rate = 0.01  # of the training examples; 0: none
    balance: bool = False  # an epoch draws every class equally often
    pair: Literal["superresolution", "inpaint"] | None = None  # (x, y) = (degraded image, image)
    factor: Annotated[int, Between(2)] = 2  # of superresolution
    flip: bool = False  # training images: mirror left and right with probability 1/2
    shift: Natural = 0  # training images: move by up to so many pixels

    def augment(self, shape: tuple[int, ...]) -> Augment | None:
        """Return the augmentation of training images of ``shape`` (C, H, W), if any."""
        if not self.flip and not self.shift:
            return None
        if self.pair is not None:
            raise UserError(
                "dataset.flip and dataset.shift change an image, not its pair; leave them out "
                f"with dataset.pair={self.pair}"
            )
        if self.shift >= min(shape[1:]):
            raise UserError(
                f"dataset.shift={self.shift} moves an image of {shape[1]}×{shape[2]} out of "
                "sight; use a smaller one"
            )
        return Augment(self.flip, self.shift)


class Parts(NamedTuple):
    """Indices into the source, disjoint; together they are all of it unless `limit` is set. With
    `validation: test` the validation split is the test split."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_indices(raw: Raw, shared: CommonOptions, split_seed: int) -> Parts:
    """Return the indices of each split. Official sets stay; the rest is cut by fractions."""
    n = len(raw.x)
    index = np.arange(n)
    rest = index[: n - raw.n_val - raw.n_test]
    labels = np.asarray(raw.y) if raw.has_labels else None

    def cut(rest: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        kept, held = holdout(
            len(rest), fraction, split_seed, None if labels is None else labels[rest]
        )
        return rest[kept], rest[held]

    test = index[n - raw.n_test :]
    if raw.n_test == 0:
        rest, test = cut(rest, shared.test_fraction)
    if shared.validation == "test":
        if not len(test):
            raise UserError(
                "dataset.validation=test needs a test split and dataset.test_fraction=0 leaves "
                "none; give dataset.test_fraction=0.2, or dataset.validation=split"
            )
        rest, _ = cut(np.setdiff1d(index, test), 0.0)  # an official validation set, too
        val = test
    elif raw.n_val:
        val = index[n - raw.n_test - raw.n_val : n - raw.n_test]
        rest, _ = cut(rest, 0.0)  # shuffled, so that `limit` takes a fair sample
    else:
        rest, val = cut(rest, shared.val_fraction)
    if len(rest) == 0:
        raise UserError(
            f"{n} examples leave none to train on after {len(test)} for test and {len(val)} for "
            "validation; give more, or a smaller dataset.val_fraction and dataset.test_fraction"
        )
    limit = None if (shared.limit or 0) > len(rest) else shared.limit  # `assemble` tells it
    if shared.rare is not None:
        y, label = require_labels(raw, "rare"), class_index(shared.rare, raw.classes)
        return Parts(thin_class(rest, y, label, shared.rare_share, limit), val, test)
    return Parts(rest[:limit], val, test)


def split_hash(content: str, members: Parts) -> str:
    """Hash the membership of the splits to 16 hex digits, independent of the order."""
    digest = hashlib.sha256(content.encode())
    for part in members:
        digest.update(f"{len(part)};".encode())
        digest.update(np.sort(part).astype("<i8").data)
    return digest.hexdigest()[:16]


def assemble(raw: Raw, name: str, shared: CommonOptions, split_seed: int) -> Dataset:
    """Assemble the `Dataset` of ``raw``: split, scaled by its training split, on the CPU."""
    members = split_indices(raw, shared, split_seed)
    content = content_hash(raw)
    if not isinstance(raw.x, np.ndarray) or raw.max_level is not None:
        spec, splits = _images(raw, members, shared)
    else:
        spec, splits = _vectors(raw, members)
    augment = shared.augment(spec.event_shape) if spec.is_image else None
    hashes = content, split_hash(content, members)
    notes, balance = raw.notes, None
    if shared.validation == "test":
        notes += (SEEN,)
    there = len(members.train)
    if shared.limit is not None and shared.limit > there:
        notes += (f"dataset.limit={shared.limit} is more than the {there} training examples: all",)
    if shared.balance:
        balance = torch.from_numpy(require_labels(raw, "balance")[members.train]).long()
    if shared.balance or shared.rare is not None:
        label = None if shared.rare is None else class_index(shared.rare, raw.classes)
        notes += describe_imbalance(raw, members.train, label, shared.balance)
    return Dataset(name, spec, *splits, *hashes, notes, augment, balance, shared.validation)


def _images(raw: Raw, members: Parts, shared: CommonOptions) -> tuple[Spec, list[Split]]:
    shape = tuple(int(k) for k in raw.x.shape[1:])
    assert raw.max_level is not None
    pair = None
    if shared.pair is not None:
        pair = Degradation(shared.pair, shared.factor, raw.max_level)
        pair.check(shape)
    splits: list[Split] = []
    for index in members:
        y = None if raw.y is None or pair else torch.from_numpy(raw.y[index])
        if isinstance(raw.x, np.ndarray):
            split = Split(torch.from_numpy(raw.x[index]), y, raw.max_level)
            splits.append(split if pair is None else make_pairs(split, pair))
        else:
            empty = torch.empty((0, *shape), dtype=torch.uint8)
            splits.append(StreamSplit(empty, y, raw.max_level, raw.x.select(index), pair))
    spec = Spec(
        event_shape=shape if pair is None else pair.event_shape(shape),
        levels=raw.max_level + 1 if pair is None or pair.kind == "inpaint" else None,
        unit_interval=True,
    )
    if pair is not None:
        return spec._replace(target="image", target_shape=shape), splits
    if raw.has_labels:
        return spec._replace(target="labels", classes=raw.classes), splits
    return spec, splits


def _vectors(raw: Raw, members: Parts) -> tuple[Spec, list[Split]]:
    assert isinstance(raw.x, np.ndarray)
    scaling = fit_scaling(raw.x[members.train], raw.scale)
    spec = Spec(raw.x.shape[1:], features=raw.features)
    values: AffineScaling | None = None
    if raw.has_labels:
        spec = spec._replace(target="labels", classes=raw.classes)
    elif raw.y is not None:
        values = fit_scaling(raw.y[members.train], raw.target_scale)
        slope = np.diag(values.matrix)  # 0 for a constant target
        spec = spec._replace(
            target="values",
            target_shape=raw.y.shape[1:],
            targets=raw.targets,
            target_mean=tuple(values.shift.tolist()),
            target_std=tuple((1 / np.where(slope > 0, slope, 1.0)).tolist()),
        )
    splits = []
    for index in members:
        y = None
        if raw.y is not None:
            y = torch.from_numpy(raw.y[index] if values is None else values(raw.y[index]))
        splits.append(Split(torch.from_numpy(scaling(raw.x[index])), y))
    inside = all(((s.x >= 0) & (s.x <= 1)).all() for s in splits)
    return spec._replace(unit_interval=bool(inside)), splits
