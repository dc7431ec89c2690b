"""Stream a split too large for memory, in the order and with the bits of a resident one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from genai_cli.config.ranks import local_world_size
from genai_cli.data.dataset import Batch, Split
from genai_cli.data.images import ImageFiles
from genai_cli.data.pairs import Degradation
from genai_cli.system.cpu import cores


@dataclass(frozen=True)
class StreamSplit(Split):
    """`Split` over image files. ``x`` (0, C, H, W) holds no example: it tells shape and device."""

    files: ImageFiles = field(default_factory=lambda: ImageFiles([], (0, 0, 0), 1, 1, "center"))
    pair: Degradation | None = None  # the input is made from the image when a batch is cut

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, index: Tensor) -> Batch:
        return self._cut(torch.from_numpy(self.files.read(index.tolist())), index)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Batch]:
        workers = min(self.files.workers, max(1, cores() // local_world_size()))
        cuda = self.x.device.type == "cuda"
        loader = DataLoader(
            _Reader(self.files),
            batch_sampler=_Lists(indices),
            num_workers=workers,
            collate_fn=_unchanged,
            pin_memory=cuda,
        )
        for images, index in loader:
            yield self._cut(images, index)

    def _cut(self, images: Tensor, index: Tensor) -> Batch:
        device = self.x.device
        if self.pair is not None:
            x = self.pair.degrade(images).to(device, non_blocking=True)
            return Batch(self._scaled(x), self._scaled(images.to(device, non_blocking=True)))
        x = self._scaled(images.to(device, non_blocking=True))
        if self.y is None:
            return Batch(x, None)
        return Batch(x, self.y.index_select(0, index.to(device, non_blocking=True)))


class _Lists:
    """Index tensors as lists: a tensor should not be sent to a worker process."""

    def __init__(self, indices: Iterable[Tensor]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.indices:
            yield index.tolist()


class _Reader(TorchDataset):
    """The files as torch's loader asks for them: a whole batch at a time."""

    def __init__(self, files: ImageFiles) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, index: list[int]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.files.read(index)), torch.tensor(index)


def _unchanged(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch
