"""A folder of results within a run, written under a temporary name and then renamed."""

from __future__ import annotations

import errno
import secrets
import shutil
import string
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from PIL import Image

from genai_cli.errors import UserError

SAMPLES = "samples"
ARRAYS, DESCRIBED, IMAGES = "samples.npz", "sample.json", "images"
_ALPHABET = string.ascii_lowercase + string.digits


class Folder:
    """``RUN/WITHIN/TIME-what-xxxx``, under a hidden name until `publish`; without, it is removed.

    Raises:
        UserError: the run's folder cannot be written.
    """

    def __init__(self, run: Path, what: str, within: str = SAMPLES) -> None:
        self.parent, now = run / within, datetime.now()
        while True:
            suffix = "".join(secrets.choice(_ALPHABET) for _ in range(4))
            self.name = f"{now:%H-%M-%S}-{what}-{suffix}"
            self.path = self.parent / f".{self.name}.part"
            try:
                self.parent.mkdir(exist_ok=True)
                self.path.mkdir()
            except FileExistsError:
                if not self.parent.is_dir():
                    raise UserError(f"{self.parent} is a file; move it away") from None
                continue
            except FileNotFoundError:  # another sampling removed the empty folder just now
                if not run.is_dir():
                    raise UserError(f"{run} is gone") from None
                continue
            except OSError as error:
                raise UserError(f"cannot write into {run}: {error.strerror or error}") from None
            break

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # gone already once it is published
        with suppress(OSError):
            self.parent.rmdir()  # where nothing else is in it

    def publish(self, name: str | None = None) -> Path:
        """Rename to ``name``, replacing a folder of that name, or to the name with the time.

        Another process may do the same: the last one stays, and both are told the place.

        Raises:
            UserError: the run's folder cannot be written any more.
        """
        target = self.parent / (name or self.name)
        old = self.path.with_name(f".{self.name}.old")
        try:
            while True:
                with suppress(FileNotFoundError):
                    target.rename(old)
                try:
                    return self.path.rename(target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    shutil.rmtree(old, ignore_errors=True)  # another one took it just now
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}") from None
        finally:
            if not target.exists():  # stopped between the two: what was there stays
                with suppress(OSError):
                    old.rename(target)
            shutil.rmtree(old, ignore_errors=True)


class Arrays:
    """Write an npz file batch by batch, so that memory holds one batch."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    @contextmanager
    def stream(self, name: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
        """Yield a file that takes the bytes of a float32 array of ``shape``, in C order."""
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the same seed, the same bytes
        with self.zip.open(member, "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            yield file

    def add(self, name: str, array: np.ndarray) -> None:
        """Write a whole array; floats as float32."""
        array = array.astype("<f4") if array.dtype.kind == "f" else array
        with self.zip.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def write_images(folder: Path, images: np.ndarray, start: int) -> None:
    """Write images (N, C, H, W) in [0, 1] as 8-bit 000000.png …, numbered from ``start``."""
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(eight_bits(images), start):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        image.save(folder / f"{i:06d}.png")


def eight_bits(images: np.ndarray) -> np.ndarray:
    """Convert to uint8, rounded and clipped; nan becomes 0 (and is counted elsewhere)."""
    return np.rint(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)
