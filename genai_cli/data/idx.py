"""Load MNIST and its two successors from their idx files, packed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genai_cli.data.download import find_or_download
from genai_cli.data.home import data_home
from genai_cli.data.raw import Raw, one_line
from genai_cli.errors import UserError

_SIDE = 28
_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")


class Edition(NamedTuple):
    """One of the data sets in this format."""

    folder: str  # torchvision's name of it
    classes: tuple[str, ...]
    first: tuple[int, ...]  # its first training labels, which tell one set from another


EDITIONS = {
    "mnist": Edition("MNIST", tuple("0123456789"), (5, 0, 4, 1, 9, 2, 1, 3, 1, 4)),
    "fashion_mnist": Edition(
        "FashionMNIST",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
    ),
    "kmnist": Edition("KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"), ()),
}


def mnist(*, root: str | None = None) -> Raw:
    """Load 70,000 handwritten digits, 28×28 grey (LeCun et al. 1998)."""
    return _load("mnist", root)


def fashion_mnist(*, root: str | None = None) -> Raw:
    """Load 70,000 articles of clothing, 28×28 grey (Xiao et al. 2017)."""
    return _load("fashion_mnist", root)


def kmnist(*, root: str | None = None) -> Raw:
    """Load 70,000 cursive Japanese characters, 28×28 grey (Clanuwat et al. 2018)."""
    return _load("kmnist", root)


def places(name: str, root: Path, given: bool) -> list[Path]:
    """Where the files may lie under ``root``: torchvision's layout, or a folder of the set's name.
    Loose in ``root`` only where the user named it: in the data folder they could be any set's."""
    folder = EDITIONS[name].folder
    inside = [root / folder / "raw", root / folder, root / name, root / name.replace("_", "-")]
    return [root, root / "raw", *inside] if given else inside


def _load(name: str, root: str | None) -> Raw:
    folder = find_or_download(name, root, lambda at, given: locate(name, at, given))
    files = {stem: _file(folder, stem) for stem in _STEMS}
    missing = [stem for stem, file in files.items() if file is None]
    if missing:
        raise UserError(
            f"{one_line(folder)} lacks {missing[0]}-idx{3 if 'images' in missing[0] else 1}-ubyte"
            f"[.gz]; copy it there, or type 'genai data fetch {name}'"
        )
    images, labels = [], []
    for stem in ("train", "t10k"):
        x_file, y_file = files[f"{stem}-images"], files[f"{stem}-labels"]
        assert x_file is not None
        assert y_file is not None
        images.append(read(x_file, (_SIDE, _SIDE)))
        labels.append(read(y_file, ()))
        _check(x_file, y_file, images[-1], labels[-1])
    _refuse_other(name, folder, labels[0])
    return Raw(
        np.concatenate(images)[:, None],  # (n, 1, 28, 28)
        np.concatenate(labels).astype(np.int64),
        classes=EDITIONS[name].classes,
        max_level=255,
        n_test=len(labels[1]),
        notes=() if root or data_home() in folder.parents else (f"{name} is read from {folder}",),
    )


def locate(name: str, root: Path, given: bool) -> Path | None:
    return next((p for p in places(name, root, given) if _file(p, "train-images")), None)


def _file(folder: Path, stem: str) -> Path | None:
    dims = 3 if "images" in stem else 1
    names = [f"{stem}{dot}idx{dims}-ubyte{end}" for end in ("", ".gz") for dot in "-."]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read the uint8 array (n, *shape) of an idx file; anything else in it is a `UserError`."""
    dims = 1 + len(shape)
    head_size = 4 + 4 * dims
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as opened:
            head = opened.read(head_size)
            if len(head) < head_size:
                raise _bad(file, f"only {len(head)} bytes long")
            if head[:4] != bytes([0, 0, 8, dims]):
                raise _bad(
                    file, f"it begins with {head[:4].hex()} where idx has {0x0800 + dims:08x}"
                )
            n, *rest = (int(k) for k in np.frombuffer(head, ">u4", dims, 4))
            if tuple(rest) != shape or n == 0:
                shape_text = "×".join(map(str, (n, *rest)))
                raise _bad(file, f"it holds {shape_text} where n×{_SIDE}×{_SIDE} was expected")
            size = n * int(np.prod(shape))
            if size > 2**34:  # asked of read() at once, a forged n would take all memory
                raise _bad(file, f"its head promises {n} examples")
            data = opened.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(file, f"it cannot be unpacked: {one_line(error)}") from None
    except MemoryError:
        raise _bad(file, f"its head promises {n} examples, more than memory holds") from None
    if len(data) != size:
        size_text = f"{len(data)} of {size}" if len(data) < size else f"more than {size}"
        raise _bad(file, f"it has {size_text} bytes of data")
    return np.frombuffer(data, np.uint8).reshape(n, *shape)


def _bad(file: Path, why: str) -> UserError:
    return UserError(f"{one_line(file)} is not a whole idx file: {why}; get it again")


def _check(x_file: Path, y_file: Path, images: np.ndarray, labels: np.ndarray) -> None:
    if len(images) != len(labels):
        raise UserError(
            f"{one_line(x_file)} has {len(images)} images but {one_line(y_file.name)} "
            f"{len(labels)} labels; get both again"
        )
    if labels.max() > 9:
        raise UserError(
            f"{one_line(y_file)}: label {labels.max()} of example {labels.argmax()} is out of "
            "range 0..9; get it again"
        )


def _refuse_other(name: str, folder: Path, labels: np.ndarray) -> None:
    """The files of all these sets have the same names and shapes: never take one for another."""
    head = tuple(labels[:10].tolist())
    for other, edition in EDITIONS.items():
        if other != name and head == edition.first:
            raise UserError(
                f"{one_line(folder)} holds {other}, not {name}; type dataset={other} "
                f"dataset.root={one_line(folder)}"
            )
