"""Hold a data set as tensors: its `Spec` for the model, its splits, its batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from genai_cli.data.augment import Augment
from genai_cli.rng import balanced_order, permutation


class Spec(NamedTuple):
    """Specification of a data set for a model. Shapes come from here; no YAML repeats one."""

    event_shape: tuple[int, ...]  # (C, H, W) for images, (D,) for vectors
    target: Literal["none", "labels", "values", "image"] = "none"
    target_shape: tuple[int, ...] = ()  # () for labels, (K,) for values, (C, H, W) for images
    classes: tuple[str, ...] = ()  # names, in label order; empty unless target is "labels"
    levels: int | None = None  # grey levels an entry can take (256; digits 17); None = continuous
    unit_interval: bool = False  # every entry lies in [0, 1]
    features: tuple[str, ...] = ()  # column names of a table
    targets: tuple[str, ...] = ()  # names of the target columns of a table
    target_mean: tuple[float, ...] = ()  # (K,) of "values": value = target · target_std +
    target_std: tuple[float, ...] = ()  # target_mean in the table's own units

    @property
    def is_image(self) -> bool:
        return len(self.event_shape) == 3


@dataclass(frozen=True)
class Split:
    """Examples that live in memory: integers as stored, floats already in data space.

    Integer tensors are divided by ``max_level`` (e.g. 255) when a batch is cut, so an
    image set costs one byte an entry on the device.
    """

    x: Tensor  # (n, *event), uint8 or float
    y: Tensor | None = None  # (n,) int64 labels, (n, K) float values or (n, *target) images
    max_level: int | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Split:
        y = None if self.y is None else self.y.to(device)
        return replace(self, x=self.x.to(device), y=y)

    def batch(self, index: Tensor) -> Batch:
        """Return the examples ``index`` (B,) int64 in data space, on the split's device."""
        index = index.to(self.x.device, non_blocking=True)
        y = None if self.y is None else self._scaled(self.y.index_select(0, index))
        return Batch(self._scaled(self.x.index_select(0, index)), y)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield one batch for each index tensor, in order. A streaming split prefetches here."""
        for index in indices:
            yield self.batch(index)

    def _scaled(self, values: Tensor) -> Tensor:
        dtype = torch.get_default_dtype()  # double where the run's precision says so
        if values.dtype == torch.uint8 and self.max_level is not None:
            return values.to(dtype).div_(self.max_level)
        return values.to(dtype) if values.is_floating_point() else values


@dataclass(frozen=True)
class Dataset:
    """Three fixed, named splits and the hashes that name their content."""

    name: str
    spec: Spec
    train: Split
    val: Split
    test: Split
    hash: str  # of every example and target, in source order
    split_hash: str  # of the membership of the three splits
    notes: tuple[str, ...] = ()  # what the user was told on loading (broken files left out)
    augment: Augment | None = None  # of training images
    balance: Tensor | None = None  # labels (n,) of the training split, if classes are equalised
    validation: Literal["split", "test"] = "split"  # test: `val` is `test`, which training has seen

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return (n,) indices of training examples in the order of ``epoch``, drawn on the CPU."""
        if self.balance is not None:
            return balanced_order(self.balance, seed, epoch)
        return permutation(len(self.train), seed, epoch)

    @property
    def n(self) -> dict[str, int]:
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    def to(self, device: torch.device) -> Dataset:
        return replace(
            self,
            train=self.train.to(device),
            val=self.val.to(device),
            test=self.test.to(device),
        )


class Batch(NamedTuple):
    """One batch in data space."""

    x: Tensor  # (B, *event): images in [0, 1]; tables as scaled by the data set
    y: Tensor | None  # (B,) labels, (B, K) targets or (B, *target) images
