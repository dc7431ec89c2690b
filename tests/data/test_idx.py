"""idx files: every layout is found, every kind of damage is one line, the real set is itself."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genai_cli.data.sources import load

N = {"train": 60, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def write(folder: Path, packed: bool = True, dot: str = "-", seed: int = 0) -> Path:
    """A small set in this format: 60 training and 20 test images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(seed)
    for stem, n in N.items():
        images, labels = rng.randint(256, size=(n, 28, 28)), np.arange(n) % 10
        for kind, array in (("images", images), ("labels", labels)):
            name, data = f"{stem}-{kind}{dot}idx{array.ndim}-ubyte", idx(array)
            (folder / (name + ".gz" * packed)).write_bytes(
                gzip.compress(data, 1) if packed else data
            )
    return folder


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inside", [".", "raw", "MNIST/raw", "MNIST", "mnist"])
def test_layouts(tmp_path: Path, inside: str, packed: bool) -> None:
    write(tmp_path / inside, packed, dot="-" if packed else ".")
    dataset = load({"name": "mnist", "root": str(tmp_path)})
    assert dataset.n == {"train": 54, "val": 6, "test": 20}
    assert dataset.spec.event_shape == (1, 28, 28)
    assert dataset.spec.levels == 256
    assert dataset.test.y.tolist() == [k % 10 for k in range(20)]
    rng = np.random.RandomState(0)
    rng.randint(256, size=(60, 28, 28))
    expected = rng.randint(256, size=(20, 28, 28))
    np.testing.assert_array_equal(dataset.test.x[:, 0].numpy(), expected)


def test_the_data_folder_is_looked_in_by_name_only(tmp_path: Path, monkeypatch, refused) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("GENAI_DATA", str(home))
    monkeypatch.setattr("genai_cli.data.download._download", _offline)
    write(home)  # loose files: whose are they?
    refused({"name": "kmnist"}, "kmnist is not in", "genai data fetch kmnist")
    write(home / "KMNIST" / "raw")
    assert load({"name": "kmnist"}).n["test"] == 20
    refused({"name": "mnist"}, "mnist is not in")


def _offline(class_name: str, root: Path) -> None:
    raise OSError("no\nnetwork")


def _rewrite(stem: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Damage to the unpacked content of one file."""

    def damage(folder: Path) -> None:
        file = folder / f"{stem}-idx{3 if 'images' in stem else 1}-ubyte.gz"
        file.write_bytes(gzip.compress(change(gzip.decompress(file.read_bytes()))))

    return damage


def _raw(stem: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Damage to the file as it lies there."""

    def damage(folder: Path) -> None:
        file = folder / f"{stem}-idx{3 if 'images' in stem else 1}-ubyte.gz"
        file.write_bytes(change(file.read_bytes()))

    return damage


def _remove(stem: str) -> Callable[[Path], None]:
    return lambda folder: next(folder.glob(f"{stem}*")).unlink()


DAMAGE = {
    "cut gz": (_raw("train-images", lambda b: b[: len(b) // 2]), "train-images"),
    "cut gz head": (_raw("train-labels", lambda b: b[:5]), "train-labels"),
    "no gz": (_raw("train-images", lambda b: b"<html>not found</html>"), "train-images"),
    "flipped gz": (
        _raw("t10k-images", lambda b: b[:99] + bytes([b[99] ^ 255]) + b[100:]),
        "t10k-images",
    ),
    "empty": (_raw("t10k-labels", lambda b: b""), "t10k-labels"),
    "too short": (_rewrite("train-images", lambda b: b[:-1]), "of data"),
    "too long": (_rewrite("train-labels", lambda b: b + b"\0"), "more than"),
    "tiny": (_rewrite("train-labels", lambda b: b[:3]), "3 bytes"),
    "magic": (_rewrite("train-images", lambda b: b"\1" + b[1:]), "begins with"),
    "dtype": (_rewrite("train-images", lambda b: b[:2] + b"\x0d" + b[3:]), "begins with"),
    "dimensions": (_rewrite("t10k-labels", lambda b: b[:3] + b"\3" + b[4:]), "begins with"),
    "shape": (_rewrite("t10k-images", lambda b: b[:11] + b"\x20" + b[12:]), "28×28"),
    "no examples": (_rewrite("t10k-images", lambda b: b[:7] + b"\0" + b[8:]), "0×28×28"),
    "forged count": (_rewrite("t10k-images", lambda b: b[:4] + b"\xff" * 4 + b[8:]), "promises"),
    "label": (_rewrite("train-labels", lambda b: b[:-1] + b"\x0a"), "label 10"),
    "fewer labels": (
        _rewrite("train-labels", lambda b: b[:7] + bytes([59]) + b[8:-1]),
        "60 images",
    ),
    "missing labels": (_remove("t10k-labels"), "lacks t10k-labels-idx1-ubyte"),
    "missing images": (_remove("train-images"), "holds no files of mnist"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line(tmp_path: Path, kind: str, refused) -> None:
    damage, word = DAMAGE[kind]
    damage(write(tmp_path))
    refused({"name": "mnist", "root": str(tmp_path)}, word)


@pytest.mark.parametrize("root", ["nowhere", ".", ""])
def test_a_wrong_root_is_one_line(tmp_path: Path, root: str, refused, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused({"name": "mnist", "root": root}, "dataset.root")


def test_a_wrong_type_of_root_is_one_line(refused) -> None:
    refused({"name": "mnist", "root": 3}, "dataset.root=3")


def test_one_set_is_never_taken_for_another(tmp_path: Path, refused) -> None:
    write(tmp_path)
    labels = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5] * 6)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    refused({"name": "mnist", "root": str(tmp_path)}, "holds fashion_mnist, not mnist")
    assert load({"name": "fashion_mnist", "root": str(tmp_path)}).n["train"] == 54


@pytest.mark.fashion
def test_the_real_fashion_mnist(fashion_root: Path) -> None:
    dataset = load({"name": "fashion_mnist", "root": str(fashion_root)})
    assert dataset.n == {"train": 54_000, "val": 6_000, "test": 10_000}
    assert dataset.hash == "15034b55b02b4b99"
    assert dataset.split_hash == "c9319cc068cdcfda"
    total = dataset.train.x.sum(dtype=torch.int64) + dataset.val.x.sum(dtype=torch.int64)
    assert total.item() / (60_000 * 784 * 255) == pytest.approx(0.2860, abs=5e-5)
    assert torch.bincount(dataset.val.y).tolist() == [600] * 10
    assert torch.bincount(dataset.test.y).tolist() == [1000] * 10
    assert dataset.spec.classes[9] == "Ankle boot"
