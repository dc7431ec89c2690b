"""Folders of images: layouts, broken files, and streaming that equals memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genai_cli.data.images import BrokenImage
from genai_cli.data.sources import load


def picture(seed: int, width: int = 8, height: int = 8) -> Image.Image:
    pixels = np.random.RandomState(seed).randint(256, size=(height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def save(image: Image.Image, file: Path, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


def fill(root: Path, count: int = 30, **size: int) -> Path:
    """``count`` pictures in two labelled subfolders."""
    for k in range(count):
        save(picture(k, **size), root / "ab"[k % 2] / f"{k:03d}.png")
    return root


# ---- layouts -----------------------------------------------------------------------------------


def test_subfolders_are_labels(tmp_path: Path) -> None:
    dataset = load({"name": "folder", "path": str(fill(tmp_path))})
    assert dataset.n == {"train": 21, "val": 3, "test": 6}
    assert dataset.spec.event_shape == (3, 8, 8)
    assert dataset.spec.classes == ("a", "b")
    assert torch.bincount(dataset.test.y).tolist() == [3, 3]
    assert dataset.spec.levels == 256
    everything = torch.cat([dataset.train.x, dataset.val.x, dataset.test.x])
    theirs = {np.asarray(picture(k)).transpose(2, 0, 1).tobytes() for k in range(30)}
    assert {x.numpy().tobytes() for x in everything} == theirs


@pytest.mark.parametrize("val", [False, True])
def test_split_folders_are_the_splits(tmp_path: Path, val: bool) -> None:
    fill(tmp_path / "train", 20)
    fill(tmp_path / "test", 6)
    if val:
        fill(tmp_path / "val", 4)
    dataset = load({"name": "folder", "path": str(tmp_path)})
    assert dataset.n == (
        {"train": 20, "val": 4, "test": 6} if val else {"train": 18, "val": 2, "test": 6}
    )
    assert dataset.spec.classes == ("a", "b")
    assert dataset.test.y.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.asarray(picture(2)).transpose(2, 0, 1)
    np.testing.assert_array_equal(dataset.test.x[1].numpy(), expected)


def test_no_labels_in_one_folder_or_mixed(tmp_path: Path) -> None:
    fill(tmp_path / "only" / "deep")
    (tmp_path / "only" / "deep" / "b").rename(tmp_path / "only" / "deep" / "a" / "b")
    dataset = load({"name": "folder", "path": str(tmp_path)})
    assert dataset.spec.target == "none"
    assert dataset.train.y is None
    fill(tmp_path / "second", 3)
    assert load({"name": "folder", "path": str(tmp_path)}).spec.classes == ("only", "second")
    save(picture(99), tmp_path / "loose.png")
    with pytest.warns(UserWarning, match=r"no labels: 1 images \(loose.png"):
        mixed = load({"name": "folder", "path": str(tmp_path)})
    assert mixed.spec.target == "none"
    assert len(mixed.notes) == 1


def test_other_files_hidden_files_and_link_loops_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / "._000.png").write_text("a Macintosh was here")
    save(picture(0), tmp_path / ".cache" / "x.png")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    os.symlink(tmp_path / "a", tmp_path / "b" / "again")
    assert sum(load({"name": "folder", "path": str(tmp_path)}).n.values()) == 30


def test_hash_follows_bytes_and_view(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    fill(tmp_path / "two")
    node = {"name": "folder", "path": str(tmp_path / "one")}
    one = load(node)
    assert load(node | {"path": str(tmp_path / "two")}).hash == one.hash
    assert load(node | {"memory_mb": 0}).hash == one.hash
    assert load(node | {"channels": 1}).hash != one.hash
    assert load(node | {"size": 4}).hash != one.hash
    save(picture(77), tmp_path / "two" / "a" / "000.png")
    assert load(node | {"path": str(tmp_path / "two")}).hash != one.hash


# ---- streaming ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "extra"),
    [
        (0, {}),
        (2, {}),
        (0, {"size": 6, "channels": 1}),
        (0, {"pair": "superresolution"}),
        (2, {"pair": "superresolution"}),
        (0, {"pair": "superresolution", "size": 9, "factor": 3}),
        (0, {"pair": "inpaint"}),
        (2, {"pair": "inpaint"}),
    ],
)
def test_streamed_equals_resident(tmp_path: Path, workers: int, extra: dict) -> None:
    node = {"name": "folder", "path": str(fill(tmp_path, width=8, height=8)), **extra}
    resident = load(node)
    streamed = load(node | {"memory_mb": 0, "workers": workers})
    assert resident.spec == streamed.spec
    assert (resident.hash, resident.split_hash) == (streamed.hash, streamed.split_hash)
    assert resident.n == streamed.n
    assert type(streamed.train) is not type(resident.train)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    for split in ("train", "test"):
        a, b = getattr(resident, split), getattr(streamed, split).to(torch.device("cpu"))
        indices = order.split(5) if split == "train" else torch.arange(6).split(4)
        pairs = list(zip(a.batches(indices), b.batches(iter(indices)), strict=True))
        assert len(pairs) == len(indices)
        for one, other in pairs:
            assert torch.equal(one.x, other.x)
            assert one.x.dtype == other.x.dtype == torch.float32
            assert torch.equal(one.y, other.y)
        assert torch.equal(a.batch(indices[0]).x, b.batch(indices[0]).x)


def test_a_file_that_changes_later_is_named(tmp_path: Path) -> None:
    node = {"name": "folder", "path": str(fill(tmp_path)), "memory_mb": 0, "workers": 0}
    train = load(node).train
    for file in tmp_path.rglob("*.png"):
        file.write_text("gone")
    with pytest.raises(BrokenImage, match=r"png changed since it was scanned: not an image"):
        train.batch(torch.tensor([0]))


# ---- broken files ------------------------------------------------------------------------------


def break_some(root: Path) -> list[str]:
    """Five files that are no images; their names."""
    (root / "a" / "empty.png").write_bytes(b"")
    (root / "a" / "text.jpg").write_text("I was renamed")
    whole = save(picture(5, 64, 64), root / "b" / "cut.jpg").read_bytes()
    (root / "b" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    whole = save(picture(5, 64, 64), root / "b" / "cut.png").read_bytes()
    (root / "b" / "cut.png").write_bytes(whole[: len(whole) // 2])
    os.symlink(root / "nowhere", root / "b" / "dangling.gif")
    return ["a/empty.png", "a/text.jpg", "b/cut.jpg", "b/cut.png", "b/dangling.gif"]


@pytest.mark.parametrize("memory_mb", [0, 1024])
def test_broken_files_are_named_and_refused_or_left_out(
    tmp_path: Path, memory_mb: int, refused
) -> None:
    clean = load({"name": "folder", "path": str(fill(tmp_path))})
    names = break_some(tmp_path)
    node = {"name": "folder", "path": str(tmp_path), "memory_mb": memory_mb}
    refused(node, "5 of 35 images cannot be read", *names, "dataset.allow_broken=true")
    with pytest.warns(UserWarning, match="left out: 5 of 35"):
        dataset = load(node | {"allow_broken": True})
    assert dataset.n == clean.n
    assert (dataset.hash, dataset.split_hash) == (clean.hash, clean.split_hash)
    index = torch.arange(21)
    assert torch.equal(dataset.train.batch(index).x, clean.train.batch(index).x)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"path": None}, ["dataset.path is missing"]),
        ({"path": "gone"}, ["dataset.path=gone is not there"]),
        ({"path": "a/000.png"}, ["is not a folder"]),
        ({"path": "empty"}, ["holds no images", "png"]),
        ({"size": 0}, ["dataset.size=0"]),
        ({"size": "big"}, ["dataset.size=big"]),
        ({"channels": 4}, ["dataset.channels=4", "1, 3"]),
        ({"channels": 2}, ["dataset.channels=2", "1, 3"]),
        ({"crop": "centre"}, ["dataset.crop=centre", "did you mean 'center'"]),
        ({"memory_mb": -1}, ["dataset.memory_mb=-1"]),
        ({"pair": "superresolution", "factor": 3}, ["dataset.factor=3", "8×8", "2, 4, 8"]),
        ({"factor": 1}, ["dataset.factor=1"]),
    ],
)
def test_mistakes_in_a_folder_are_one_line(tmp_path: Path, monkeypatch, refused, extra, words):
    monkeypatch.chdir(fill(tmp_path, 10))
    (tmp_path / "empty").mkdir()
    refused({"name": "folder", "path": "."} | extra, *words)


def test_sizes_must_agree_or_be_given(tmp_path: Path, refused) -> None:
    fill(tmp_path)
    save(picture(0, 9, 8), tmp_path / "a" / "odd.png")
    refused({"name": "folder", "path": str(tmp_path)}, "a/odd.png is 9×8", "dataset.size=8")
    assert load({"name": "folder", "path": str(tmp_path), "size": 8}).n["test"] == 7


def test_a_split_folder_of_broken_files_is_one_line(tmp_path: Path, refused) -> None:
    fill(tmp_path / "train")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "x.png").write_text("no")
    node = {"name": "folder", "path": str(tmp_path), "allow_broken": True}
    refused(node, "every image in", "test")


def test_names_with_odd_characters_stay_on_one_line(tmp_path: Path, refused) -> None:
    fill(tmp_path)
    (tmp_path / "a" / "two\nlines.png").write_text("no")
    refused({"name": "folder", "path": str(tmp_path)}, "a/two?lines.png")
