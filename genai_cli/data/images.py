"""Decode an image file to uint8 (C, H, W), and a list of files to a batch."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from genai_cli.system.cpu import cores

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


MOST_BYTES = 2**30  # of a file; it is read at once
MOST_PIXELS = 2**26  # of an image, 8192×8192: a bomb of a few bytes would unpack to gigabytes


class BrokenImage(Exception):
    """A file that cannot be read as an image, and why in a few words."""


@dataclass(frozen=True)
class ImageFiles:
    """Files that stand for the uint8 array (n, C, H, W) they decode to."""

    paths: Sequence[str]
    event_shape: tuple[int, int, int]  # (C, H, W)
    size: int | None  # null: the files already have the event's size
    channels: int
    crop: str
    workers: int = 0  # processes that decode a streamed split

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), *self.event_shape)

    def select(self, index: np.ndarray) -> ImageFiles:
        return replace(self, paths=[self.paths[i] for i in index])

    def read(self, index: Sequence[int]) -> np.ndarray:
        """Read the files ``index`` as uint8 (B, C, H, W)."""
        out = np.empty((len(index), *self.event_shape), np.uint8)
        for row, i in enumerate(index):
            try:
                data = read_file(self.paths[i])
                out[row] = decode(data, self.size, self.channels, self.crop)
            except (BrokenImage, ValueError) as error:
                raise BrokenImage(
                    f"{self.paths[i]} changed since it was scanned: {error}"
                ) from None
        return out


def read_file(file: str) -> bytes:
    """Return the bytes of an image file.

    Raises:
        Broken: a pipe, a device or a folder by an image's name, too long, or unreadable.
    """
    try:
        about = os.stat(file)
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, /dev/zero never ends
            raise BrokenImage("not a regular file")
        if about.st_size > MOST_BYTES:
            raise BrokenImage(f"more than {MOST_BYTES} bytes")
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise BrokenImage(error.strerror or "unreadable") from None


def decoder_pool() -> ThreadPoolExecutor:
    """Return a pool of decoding threads: Pillow's decoders release the GIL."""
    return ThreadPoolExecutor(min(16, cores()))


def decode(
    data: bytes, size: int | None, channels: int, crop: str, odd: list[str] | None = None
) -> np.ndarray:
    """Decode the first frame of an image to uint8 (C, H, W).

    Upright by its EXIF orientation; transparency laid on white; 16-bit grey to 8 bit by 257; CMYK
    as R = (255 − C)(255 − K)/255, whatever its profile.

    Args:
        data: the file's bytes.
        size: side of the square result in pixels, or None for the image's own size.
        channels: 1 (ITU-R 601 luma) or 3.
        crop: center (the central square, resized) | stretch | pad (whole image on black).
        odd: is told what there is in the file that the result does not hold.

    Raises:
        Broken: not an image, cut off, or pixels with no 8-bit meaning.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise BrokenImage("empty file")
    try:
        with Image.open(BytesIO(data)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise BrokenImage(f"more than {MOST_PIXELS} pixels")
            if odd is not None:
                odd += _list_losses(opened)
            opened.load()
            image = ImageOps.exif_transpose(opened)
            image = _to_eight_bit(image)
            image = image.convert("L" if channels == 1 else "RGB")
            if size is not None:
                image = _resize(image, size, crop)
    except BrokenImage:
        raise
    except UnidentifiedImageError:
        raise BrokenImage("not an image") from None
    except Image.DecompressionBombError:
        raise BrokenImage(f"more than {MOST_PIXELS} pixels") from None
    except Exception as error:  # decoders fed with garbage raise nearly anything
        words = " ".join(str(error).split())
        raise BrokenImage(words[:60] or type(error).__name__) from None
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


ANIMATED = "more than one frame: the first is used"
CLEAR = "transparency: laid on white"
DEEP = "more than 8 bits a channel: rounded to 8"
PRINTED = "CMYK: turned into RGB without a colour profile"


def _list_losses(image: Image.Image) -> list[str]:
    """What an image has that 8-bit RGB has not."""
    losses = [ANIMATED] if getattr(image, "is_animated", False) else []
    if image.mode.startswith("I") or image.mode == "F":
        losses.append(DEEP)
    if image.mode == "CMYK":
        losses.append(PRINTED)
    if _has_alpha(image) and image.convert("RGBA").getextrema()[3][0] < 255:  # type: ignore[index]
        losses.append(CLEAR)
    return losses


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Modes that ``convert`` would clip or turn black, as 8-bit grey or RGB."""
    from PIL import Image

    mode: str = image.mode
    if mode.startswith("I"):  # 16-bit grey; "I" is how some Pillow versions open it
        values = np.asarray(image).astype(np.int64)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise BrokenImage("32-bit pixels")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if mode == "F":
        values = np.asarray(image)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise BrokenImage("floating-point pixels outside [0, 1]")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if _has_alpha(image):
        image = image.convert("RGBA")
        white: Any = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image


def _resize(image: Image.Image, size: int, crop: str) -> Image.Image:
    """Square, bicubic with anti-aliasing. Crops before it resizes: a long thin image would grow."""
    from PIL import Image

    width, height = image.size
    bicubic = Image.Resampling.BICUBIC
    if crop == "stretch":
        return image.resize((size, size), bicubic)
    if crop == "pad":
        longest = max(width, height)
        small = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
        out = Image.new(image.mode, (size, size))
        out.paste(image.resize(small, bicubic), ((size - small[0]) // 2, (size - small[1]) // 2))
        return out
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.resize((size, size), bicubic, box=(left, top, left + side, top + side))
