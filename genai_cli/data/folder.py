"""Load a user's folder of images: checked and decoded once, streamed when too large."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from genai_cli.config.signatures import Between, Count, Natural
from genai_cli.data.home import user_path
from genai_cli.data.images import SUFFIXES, BrokenImage, ImageFiles, decode, decoder_pool, read_file
from genai_cli.data.raw import Raw, one_line
from genai_cli.errors import UserError

Side = Annotated[int, Between(1, 8192)]  # pixels; more of them are a slip of the keyboard
_PARTS = ("train", "val", "test")


def folder(
    *,
    path: str | None = None,
    size: Side | None = None,
    channels: Count = 3,
    crop: Literal["center", "stretch", "pad"] = "center",
    allow_broken: bool = False,
    memory_mb: Natural = 1024,
    workers: Natural = 4,
) -> Raw:
    """Load the images under ``path``, recursively, in the order of their names.

    Subfolders are labels when there are at least two and every image is in one. Top-level folders
    ``train`` and ``test`` and/or ``val``, and no others, are the splits. Every file is read and
    decoded once here, so that a broken one is found before the first step and not during it.
    """
    if channels not in (1, 3):
        raise UserError(f"dataset.channels={channels} is not allowed: choose from 1, 3")
    root = user_path(path, "dataset.path", "DIR")
    if not root.is_dir():
        raise UserError(f"dataset.path={one_line(path)} is not a folder; give a folder of images")
    layout = read_layout(root)
    if not layout.files:
        kinds = " ".join(s[1:] for s in SUFFIXES)
        raise UserError(f"dataset.path={one_line(path)} holds no images (looked for {kinds})")
    scanned = scan(root, layout.files, size, channels, crop, memory_mb)
    notes = [*layout.notes]
    if scanned.broken:
        message = _describe_broken(root, layout.files, scanned.broken)
        if not allow_broken or len(scanned.broken) == len(layout.files):
            raise UserError(
                f"dataset.path={one_line(path)}: {message}; mend or remove them, or leave them out "
                "with dataset.allow_broken=true"
            )
        notes.append(f"left out: {message}")
    for what, files in sorted(scanned.odd.items()):
        example = one_line(os.path.relpath(files[0], root))
        notes.append(f"{len(files)} of {len(layout.files)} images ({example}, …) have {what}")
    keep = np.array([i for i in range(len(layout.files)) if i not in scanned.broken])
    part = np.array(layout.part)[keep]
    _refuse_empty_part(root, layout.part, part)
    y = None if layout.labels is None else np.array(layout.labels, np.int64)[keep]
    files = [layout.files[i] for i in keep]
    shape = scanned.event_shape
    x = scanned.pixels
    if x is not None and scanned.broken:
        x = x[keep]
    digest = hashlib.sha256(f"{shape} {size} {channels} {crop if size else ''}".encode())
    for i in keep:
        digest.update(scanned.digests[i])
    digest.update(b"" if y is None else y.astype("<i8").tobytes())
    return Raw(
        x=ImageFiles(files, shape, size, channels, crop, workers) if x is None else x,
        y=y,
        classes=layout.classes if y is not None else (),
        max_level=255,
        n_val=int((part == 1).sum()),
        n_test=int((part == 2).sum()),
        digest=digest.hexdigest()[:16],
        notes=tuple(notes),
    )


class Layout(NamedTuple):
    """Image files and labels of a folder: those of train first, then val, then test."""

    files: list[str]
    part: list[int]  # 0 train, 1 val, 2 test; all 0 without split folders
    labels: list[int] | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def read_layout(root: Path) -> Layout:
    """Read splits and labels from the layout of folders under ``root``. Opens no file."""
    relative = sorted(_walk(root))
    tops = {parts[0] for parts in relative if len(parts) > 1}
    split = "train" in tops and len(tops) > 1 and tops <= set(_PARTS)
    split = split and all(len(parts) > 1 for parts in relative)
    part = [_PARTS.index(parts[0]) if split else 0 for parts in relative]
    order = sorted(range(len(relative)), key=lambda i: part[i])  # stable: by name within a part
    inner = [relative[i][1:] if split else relative[i] for i in order]
    classes = tuple(sorted({parts[0] for parts in inner if len(parts) > 1}))
    loose = [os.path.join(*parts) for parts in inner if len(parts) == 1]
    labels, notes = None, ()
    if len(classes) > 1 and not loose:
        labels = [classes.index(parts[0]) for parts in inner]
    elif len(classes) > 1:
        notes = (
            f"no labels: {len(loose)} images ({one_line(loose[0])}, …) lie beside the subfolders "
            f"of {one_line(root)}",
        )
    files = [os.path.join(root, *relative[i]) for i in order]
    return Layout(files, [part[i] for i in order], labels, classes, notes)


def _walk(root: Path) -> Iterator[tuple[str, ...]]:
    """Image files under ``root`` as path parts; follows links, but into no folder twice."""
    seen = set()
    for where, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        inner = Path(where).relative_to(root).parts
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield (*inner, name)


class Scan(NamedTuple):
    """Result of one pass over the files."""

    event_shape: tuple[int, int, int]
    pixels: np.ndarray | None  # (n, C, H, W) uint8 in file order; None: too large, to be streamed
    digests: list[bytes]  # of each file's bytes
    broken: dict[int, str]  # index of a file → why
    odd: dict[str, list[str]]  # what the pixels do not hold → of which files


def scan(
    root: Path, files: list[str], size: int | None, channels: int, crop: str, memory_mb: int
) -> Scan:
    """Read, hash and decode every file once, by threads."""

    def one(file: str) -> tuple[bytes, np.ndarray | str, list[str]]:
        odd: list[str] = []
        try:
            data = read_file(file)
            return hashlib.sha256(data).digest(), decode(data, size, channels, crop, odd), odd
        except BrokenImage as error:
            return b"", str(error), []

    shape: tuple[int, ...] | None = None
    first, pixels, digests, broken = "", None, [], {}
    odd: dict[str, list[str]] = {}
    with decoder_pool() as threads, _quiet(files), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of files that are read or refused all the same
        # Some at a time: the pool would decode the whole set ahead of us.
        step = 256
        for start in range(0, len(files), step):
            results = threads.map(one, files[start : start + step])
            for i, (digest, image, lost) in enumerate(results, start):
                digests.append(digest)
                for what in lost:
                    odd.setdefault(what, []).append(files[i])
                if isinstance(image, str):
                    broken[i] = image
                    continue
                if shape is None:
                    shape, first = image.shape, files[i]
                    if len(files) * image.size <= memory_mb * 2**20:
                        pixels = np.zeros((len(files), *shape), np.uint8)
                if image.shape != shape:
                    raise UserError(_disagree(root, first, shape, files[i], image.shape))
                if pixels is not None:
                    pixels[i] = image
    event_shape = shape or (channels, 0, 0)
    return Scan(event_shape, pixels, digests, broken, odd)  # type: ignore[arg-type]


@contextlib.contextmanager
def _quiet(files: list[str]) -> Iterator[None]:
    """libtiff writes its complaints past Python, on stderr itself; they are told in our words."""
    if not any(file.lower().endswith((".tif", ".tiff")) for file in files):
        yield
        return
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def _disagree(root: Path, a: str, one: tuple[int, ...], b: str, other: tuple[int, ...]) -> str:
    return (
        f"images differ in size: {one_line(os.path.relpath(a, root))} is {one[2]}×{one[1]}, "
        f"{one_line(os.path.relpath(b, root))} is {other[2]}×{other[1]}; "
        f"add dataset.size={min(*one[1:], *other[1:])} (or another size) to make them one"
    )


def _describe_broken(root: Path, files: list[str], broken: dict[int, str], most: int = 5) -> str:
    names = [
        f"{one_line(os.path.relpath(files[i], root))} ({one_line(why)})"
        for i, why in list(broken.items())[:most]
    ]
    more = ", …" if len(broken) > most else ""
    return f"{len(broken)} of {len(files)} images cannot be read: {', '.join(names)}{more}"


def _refuse_empty_part(root: Path, before: list[int], after: np.ndarray) -> None:
    for k, name in enumerate(_PARTS):
        if k in before and not (after == k).any():
            raise UserError(
                f"every image in {one_line(root / name)} is broken; mend or remove them"
            )
