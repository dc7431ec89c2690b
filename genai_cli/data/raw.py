"""Define the result of every source: the examples before any split or scaling."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from genai_cli.data.images import ImageFiles

_CHUNK = 4096  # examples hashed at a time, so that a large set is never copied whole


class Raw(NamedTuple):
    """Examples in source order; an official validation and test set are the last ones, in order.

    No torch here: a source is read, hashed and cut with numpy alone.
    """

    x: np.ndarray | ImageFiles  # (n, *event): uint8 with `max_level`, else float
    y: np.ndarray | None = None  # (n,) int64 labels or (n, K) float values
    classes: tuple[str, ...] = ()  # names in label order; empty unless y holds labels
    max_level: int | None = None  # the largest level of a uint8 entry (255; digits 16)
    features: tuple[str, ...] = ()  # column names of a table
    targets: tuple[str, ...] = ()  # names of the target columns
    n_val: int = 0  # examples of an official validation set; 0 = split by a fraction
    n_test: int = 0  # examples of the official test set, after those of n_val; 0 = by a fraction
    scale: str = "none"  # of x: none | standard | minmax | whiten, fitted on the training split
    target_scale: str = "none"  # of values: none | standard, fitted on the training split
    digest: str | None = (
        None  # content hash where the source knows a better one than `content_hash`
    )
    notes: tuple[str, ...] = ()  # what the user should be told, one line each

    @property
    def has_labels(self) -> bool:
        return self.y is not None and self.y.dtype.kind in "iu"


def content_hash(raw: Raw) -> str:
    """Hash every example and target, in source order, to 16 hex digits.

    The same numbers give the same hash on every platform and in every dtype that can hold them:
    whole numbers are hashed as uint8 where they fit, else as little-endian int64; the rest as
    little-endian float64.
    """
    if raw.digest is not None:
        return raw.digest
    digest = hashlib.sha256()
    for array in (raw.x, raw.y):
        if array is None:
            digest.update(b"none;")
            continue
        assert isinstance(array, np.ndarray)
        wire = _wire(array)
        digest.update(f"{wire} {tuple(map(int, array.shape))};".encode())
        for start in range(0, len(array), _CHUNK):
            chunk = array[start : start + _CHUNK].astype(wire)
            if wire == "<f8":
                chunk = chunk + 0.0  # -0.0 and 0.0 are one number
            digest.update(np.ascontiguousarray(chunk).data)
    digest.update("\0".join(raw.classes).encode())
    return digest.hexdigest()[:16]


def _wire(array: np.ndarray) -> str:
    if array.dtype.kind not in "iub":
        return "<f8"
    if array.dtype == np.uint8 or array.size == 0:
        return "<u1"
    return "<u1" if array.min() >= 0 and array.max() <= 255 else "<i8"


def one_line(value: object, most: int = 200) -> str:
    """Format ``value`` on one line for a message: a file name or a cell may hold anything.

    A long one loses its middle: the end of a path is the file's name.
    """
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
