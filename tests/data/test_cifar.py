"""CIFAR-10 from all four layouts gives one data set; a hostile pickle is refused, not run."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from genai_cli.data.sources import load

STEMS = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


def batches() -> dict[str, tuple[np.ndarray, list[int]]]:
    rng = np.random.RandomState(0)
    return {
        stem: (rng.randint(256, size=(20, 3072)).astype(np.uint8), [k % 10 for k in range(20)])
        for stem in STEMS
    }


def python_file(x: np.ndarray, y: list[int], protocol: int = 2) -> bytes:
    return pickle.dumps({b"data": x, b"labels": y, b"batch_label": b"batch"}, protocol=protocol)


def binary_file(x: np.ndarray, y: list[int]) -> bytes:
    return np.concatenate([np.array(y, np.uint8)[:, None], x], 1).tobytes()


def write(root: Path, layout: str) -> Path:
    ending = ".bin" if "bin" in layout else ""
    make = binary_file if ending else python_file
    files = {stem + ending: make(*batch) for stem, batch in batches().items()}
    folder = f"cifar-10-batches-{'bin' if ending else 'py'}"
    if "tar" in layout:
        with tarfile.open(root / f"cifar-10-{layout.split()[0]}.tar.gz", "w:gz") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(f"{folder}/{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return root
    place = root if "flat" in layout else root / folder
    place.mkdir(exist_ok=True)
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


@pytest.mark.parametrize(
    "layout", ["binary", "python", "binary tar", "python tar", "binary flat", "python flat"]
)
def test_layouts(tmp_path: Path, layout: str) -> None:
    write(tmp_path, layout)
    dataset = load({"name": "cifar10", "root": str(tmp_path)})
    assert dataset.n == {"train": 90, "val": 10, "test": 20}
    assert dataset.spec.event_shape == (3, 32, 32)
    x, y = batches()["test_batch"]
    np.testing.assert_array_equal(dataset.test.x.flatten(1).numpy(), x)
    assert dataset.test.y.tolist() == y


def test_layouts_have_one_hash(tmp_path: Path) -> None:
    hashes = set()
    for layout in ("binary", "python tar"):
        root = tmp_path / layout.replace(" ", "-")
        root.mkdir()
        write(root, layout)
        hashes.add(load({"name": "cifar10", "root": str(root)}).hash)
    assert len(hashes) == 1


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    place = write(tmp_path, "python")
    x, y = batches()["test_batch"]
    (place / "test_batch").write_bytes(python_file(x, y, protocol))
    test = load({"name": "cifar10", "root": str(tmp_path)}).test
    np.testing.assert_array_equal(test.x.flatten(1).numpy(), x)


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_hostile_pickle_is_not_run(tmp_path: Path, refused) -> None:
    place = write(tmp_path, "python")
    mark = tmp_path / "was-run"
    (place / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil(mark)}))
    refused({"name": "cifar10", "root": str(tmp_path)}, "data_batch_3", "it names")
    assert not mark.exists()
    for name in (
        "os system",
        "builtins eval",
        "numpy load",
        "numpy.testing._private.utils runstring",
    ):
        (place / "data_batch_3").write_bytes(b"c" + name.replace(" ", "\n").encode() + b"\n.")
        refused({"name": "cifar10", "root": str(tmp_path)}, "data_batch_3", "it names")


X, Y = batches()["test_batch"]
PICKLES = {
    "empty": b"",
    "text": b"<html>not\nfound</html>",
    "cut": python_file(X, Y)[:1000],
    "a list": pickle.dumps([1, 2]),
    "no data": pickle.dumps({b"labels": Y}),
    "floats": python_file(X.astype(np.float32), Y),
    "shape": python_file(X[:, :100], Y),
    "counts": python_file(X, Y[:-1]),
    "label": python_file(X, [*Y[:-1], 10]),
    "negative label": python_file(X, [*Y[:-1], -1]),
    "no examples": python_file(X[:0], []),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_bad_python_batches_are_one_line(tmp_path: Path, kind: str, refused) -> None:
    place = write(tmp_path, "python")
    (place / "test_batch").write_bytes(PICKLES[kind])
    refused({"name": "cifar10", "root": str(tmp_path)}, "test_batch", "get it again")


BINARIES = {
    "cut": binary_file(X, Y)[:-1],
    "empty": b"",
    "label": b"\x0a" + binary_file(X, Y)[1:],
}


@pytest.mark.parametrize("kind", BINARIES)
def test_bad_binary_batches_are_one_line(tmp_path: Path, kind: str, refused) -> None:
    place = write(tmp_path, "binary")
    (place / "test_batch.bin").write_bytes(BINARIES[kind])
    refused({"name": "cifar10", "root": str(tmp_path)}, "test_batch.bin", "get it again")


def test_missing_and_cut_files_are_one_line(tmp_path: Path, refused) -> None:
    node = {"name": "cifar10", "root": str(tmp_path)}
    refused(node, "holds no files of cifar10")
    place = write(tmp_path, "python")
    (place / "data_batch_4").unlink()
    refused(node, "data_batch_4")
    tar = tmp_path / "tar"
    tar.mkdir()
    write(tar, "binary tar")
    archive = tar / "cifar-10-binary.tar.gz"
    archive.write_bytes(archive.read_bytes()[:5000])
    refused({"name": "cifar10", "root": str(tar)}, "cannot be unpacked")
