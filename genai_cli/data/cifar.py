"""Load CIFAR-10 from its binary or its python files. No code in a pickle is ever run."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genai_cli.data.download import find_or_download
from genai_cli.data.raw import Raw, one_line
from genai_cli.errors import UserError

_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_PIXELS = 3 * 32 * 32
_STEMS = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
# Binary first: it needs no unpickling. (folder, archive, ending of the files)
_LAYOUTS = (
    ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin"),
    ("cifar-10-batches-py", "cifar-10-python.tar.gz", ""),
)


def cifar10(*, root: str | None = None) -> Raw:
    """Load 60,000 photographs of ten classes, 3×32×32 (Krizhevsky 2009)."""
    path = find_or_download("cifar10", root, locate)
    images, labels = [], []
    contents, ending = _open(path)
    for stem in _STEMS:
        where = f"{one_line(path)} ({stem}{ending})"
        data = contents(stem + ending)
        x, y = (_binary if ending else _python)(data, where)
        if len(x) == 0 or len(x) != len(y):
            raise UserError(f"{where} has {len(x)} images and {len(y)} labels; get it again")
        if y.min() < 0 or y.max() > 9:
            raise UserError(f"{where}: a label is out of range 0..9; get it again")
        images.append(x.reshape(-1, 3, 32, 32))
        labels.append(y.astype(np.int64))
    return Raw(
        np.concatenate(images),
        np.concatenate(labels),
        classes=_CLASSES,
        max_level=255,
        n_test=len(labels[-1]),
    )


def locate(root: Path, given: bool) -> Path | None:
    """Return the folder or archive with the batches, or None."""
    for folder, archive, ending in _LAYOUTS:
        folders = [root / folder, root / "cifar10" / folder, *([root] if given else [])]
        for path in folders:
            if (path / f"data_batch_1{ending}").is_file():
                return path
        for path in (root / archive, root / "cifar10" / archive):
            if path.is_file():
                return path
    return None


def _open(path: Path) -> tuple[Callable[[str], bytes], str]:
    """How to get a batch file's bytes by name, and how the names end."""
    if path.is_dir():
        ending = next(end for _, _, end in _LAYOUTS if (path / f"data_batch_1{end}").is_file())

        def from_folder(name: str) -> bytes:
            try:
                return (path / name).read_bytes()
            except OSError as error:
                raise _refused(path, f"{name}: {error.strerror}") from None

        return from_folder, ending
    folder, _, ending = next(layout for layout in _LAYOUTS if layout[1] == path.name)
    wanted = [stem + ending for stem in _STEMS]
    try:
        with tarfile.open(path) as archive:
            members = {
                Path(m.name).name: archive.extractfile(m).read()  # type: ignore[union-attr]
                for m in archive
                if m.isfile()
                and m.size < 2**27
                and Path(m.name).parent.name == folder
                and Path(m.name).name in wanted  # a forged archive may hold a thousand more
            }
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise _refused(path, f"it cannot be unpacked: {one_line(error)}") from None

    def from_archive(name: str) -> bytes:
        if name not in members:
            raise _refused(path, f"{name} is not in it")
        return members[name]

    return from_archive, ending


def _refused(path: Path, why: str) -> UserError:
    return UserError(
        f"{one_line(path)} is not a whole CIFAR-10: {one_line(why)}; get it again "
        "('genai data fetch cifar10')"
    )


def _binary(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte and 3072 pixel bytes, plane by plane."""
    if len(data) % (1 + _PIXELS):
        raise UserError(
            f"{where}: {len(data)} bytes are not a whole number of records of {1 + _PIXELS}; get "
            "it again"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:], records[:, 0]


def _python(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dict with ``data`` (n, 3072) uint8 and ``labels``, a list."""
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        x = batch.get(b"data", batch.get("data"))
        y = np.asarray(batch.get(b"labels", batch.get("labels")), dtype=np.int64)
        if x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != _PIXELS or y.ndim != 1:
            raise ValueError(f"data of shape {x.shape}, {x.dtype}")
    except Exception as error:  # a forged stream makes the unpickler raise anything
        raise UserError(
            f"{where} is not a batch of CIFAR-10 ({one_line(error)}); get it again"
        ) from None
    return x, y


class _ArraysOnly(pickle.Unpickler):
    """Builds plain values and numpy arrays, and refuses every other name in the stream."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module.startswith("numpy") and name in ("_reconstruct", "_frombuffer"):
            return _reconstruct if name == "_reconstruct" else _frombuffer
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 spells bytes
            return _latin1
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, shape, code)


def _frombuffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _latin1(text: str, encoding: object = "latin1") -> bytes:
    return text.encode("latin1")
