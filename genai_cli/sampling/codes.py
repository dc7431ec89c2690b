"""Encode the examples of a split, batch by batch, into an array or a table."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from genai_cli.data.dataset import Dataset, Spec
from genai_cli.errors import UserError
from genai_cli.models.base import Model
from genai_cli.sampling.store import Arrays
from genai_cli.system.text import csv_cell

SPLITS = ("train", "val", "test")


@dataclass
class Codes:
    """Encode the first ``n`` examples of ``splits`` in order.

    Attributes:
        seconds: spent in the model so far.
        broken: codes so far with numbers that are not finite.
    """

    model: Model
    data: Dataset
    splits: tuple[str, ...]
    n: int
    batch_size: int
    seconds: float = field(default=0.0, init=False)
    broken: int = field(default=0, init=False)

    @torch.no_grad()
    def batches(self) -> Iterator[tuple[str, int, np.ndarray, np.ndarray | None]]:
        """Yield (split, index of the first, codes (B, K) float32, targets (B, …) or None)."""
        left = self.n
        for name in self.splits:
            split = getattr(self.data, name)
            index = torch.arange(min(left, len(split)))
            left -= len(index)
            start = 0
            for batch in split.batches(index.split(self.batch_size) if len(index) else ()):
                began = time.perf_counter()
                z = self.model.encode(batch.x).flatten(1).float().cpu().numpy()
                self.seconds += time.perf_counter() - began
                self.broken += int((~np.isfinite(z).all(1)).sum())
                yield name, start, z, targets(batch.y, self.data.spec)
                start += len(z)


def targets(y: torch.Tensor | None, spec: Spec) -> np.ndarray | None:
    """Return labels (B,), or values (B, K) in the table's units; None where targets are images."""
    if y is None or spec.target not in ("labels", "values"):
        return None
    if spec.target == "labels":
        return y.cpu().numpy()
    std, mean = (np.array(v or (d,)) for v, d in ((spec.target_std, 1), (spec.target_mean, 0)))
    return y.double().cpu().numpy() * std + mean


def write_npz(path: Path, codes: Codes) -> int:
    """Write the codes as an npz file and return their width K.

    It holds ``z`` (n, K) float32, ``index`` (n,) within the split, ``y`` where there are
    targets, and ``split`` (n,) where there are several.
    """
    parts = codes.batches()
    part = next(parts)
    width = part[2].shape[1]
    names, index, y = [], [], []
    with Arrays(path) as arrays:
        with arrays.stream("z", (codes.n, width)) as file:
            while part is not None:
                name, start, z, target = part
                file.write(np.ascontiguousarray(z, dtype="<f4").tobytes())
                names += [name] * len(z)
                index.append(np.arange(start, start + len(z)))
                if target is not None:
                    y.append(target)
                part = next(parts, None)
        arrays.add("index", np.concatenate(index))
        if y:
            arrays.add("y", np.concatenate(y))
        if len(codes.splits) > 1:
            arrays.add("split", np.array(names))
    return width


def write_csv(path: Path, codes: Codes) -> int:
    """Write a line for each example: ``index``, ``label`` or target values, ``z0`` ….

    With several splits the first column is ``split``. Nine digits give each float32 back. The
    width K.
    """
    spec, several = codes.data.spec, len(codes.splits) > 1
    width = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        for name, start, z, target in codes.batches():
            if not width:
                width = z.shape[1]
                middle = ["label"] if spec.target == "labels" else []
                if spec.target == "values":
                    k = target.shape[1]
                    middle = list(spec.targets) or [f"y{i}" for i in range(k)]
                head = ["split"] * several + ["index", *middle]
                table.writerow([*map(csv_cell, head), *(f"z{i}" for i in range(width))])
            for i, row in enumerate(z.tolist()):
                known = []
                if spec.target == "labels" and target is not None:
                    known = [csv_cell(spec.classes[target[i]])]
                elif target is not None:
                    known = [f"{v:.9g}" for v in target[i].tolist()]
                table.writerow([name] * several + [start + i, *known] + [f"{v:.9g}" for v in row])
    return width


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to ``path`` on success and removed on failure.

    Raises:
        UserError: the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()
        with suppress(OSError):
            path.parent.rmdir()  # where nothing else is in it
