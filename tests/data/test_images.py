"""One image file of any kind, whole or damaged: upright 8-bit pixels, or `Broken`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_cli.data import images
from genai_cli.data.folder import folder
from genai_cli.data.images import BrokenImage, decode


def picture(seed: int, width: int = 8, height: int = 8) -> Image.Image:
    pixels = np.random.RandomState(seed).randint(256, size=(height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def save(image: Image.Image, file: Path, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


def read(file: Path, size: int | None = None, channels: int = 3, crop: str = "center"):
    return decode(file.read_bytes(), size, channels, crop)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "jpg"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    flat = Image.new("RGB", (8, 6), (200, 100, 50))
    options = {"lossless": True} if suffix == "webp" else {}
    got = read(save(flat, tmp_path / f"x.{suffix}", **options))
    assert got.shape == (3, 6, 8)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - np.array([200, 100, 50])[:, None, None]).max() <= 3


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for suffix in ("png", "tif"):
        got = read(save(Image.fromarray(values), tmp_path / f"x.{suffix}"), channels=1)
        assert got.tolist() == [[[0, 1, 128, 255]]]


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    got = read(save(clear, tmp_path / "rgba.png"))
    assert got[:, 0, 0].tolist() == [10, 20, 30]
    assert (got[:, 1] == 255).all()
    grey = Image.new("LA", (2, 2), (0, 0))
    assert (read(save(grey, tmp_path / "la.png"), channels=1) == 255).all()
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert (read(save(palette, tmp_path / "p.png", transparency=0)) == 255).all()


def test_palette_cmyk_bilevel_and_float(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert read(save(palette, tmp_path / "p.png"))[:, 0, 0].tolist() == [9, 8, 7]
    cmyk = save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "c.jpg", quality=95)
    red = read(cmyk)[:, 4, 4].astype(int)
    assert red[0] > 220
    assert red[1:].max() < 40
    assert (read(save(Image.new("1", (2, 2), 1), tmp_path / "b.png")) == 255).all()
    inside = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert read(save(inside, tmp_path / "f.tif"), channels=1).tolist() == [[[0, 128, 255]]]


def test_exif_orientation(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 8), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise: the left half is on top
    got = read(save(image, tmp_path / "x.jpg", exif=exif, quality=95), channels=1)
    assert got.shape == (1, 16, 8)
    assert got[0, :6].min() > 200
    assert got[0, 10:].max() < 50


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "tif", "png"):
        file = save(frames[0], tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
        got = read(file)
        assert got[0, 0, 0] > 240
        assert got[2, 0, 0] < 15


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (5000, 4000), (7, 9)])
def test_any_shape_becomes_square(tmp_path: Path, size: tuple[int, int]) -> None:
    for crop in ["center", "stretch", "pad"]:
        file = save(Image.new("L", size, 100), tmp_path / "x.png")
        got = read(file, 8, 1, crop)
        assert got.shape == (1, 8, 8), crop
        assert got.max() == 100, crop
        if crop != "pad":
            assert got.min() == 100, crop


def test_crops(tmp_path: Path) -> None:
    image = Image.new("L", (24, 8), 0)
    image.paste(255, (8, 0, 16, 8))
    file = save(image, tmp_path / "x.png")
    assert (read(file, 8, 1, "center") == 255).all()
    pad = read(file, 24, 1, "pad")[0]
    assert (pad[:8] == 0).all()
    assert (pad[8:16, 8:16] == 255).all()
    assert read(file, 8, 1, "stretch")[0, 4].tolist()[::7] == [0, 0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the damage we do
def test_truncated_garbage_never_crashes() -> None:
    """Every prefix and 300 single-byte changes of small files: pixels, or `Broken`."""
    from io import BytesIO

    rng = np.random.RandomState(0)
    for suffix in ("png", "jpeg", "gif", "bmp", "tiff", "webp"):
        buffer = BytesIO()
        picture(1).save(buffer, suffix)
        whole = buffer.getvalue()
        cases = [whole[:k] for k in range(0, len(whole), 7)]
        for _ in range(50):
            changed = bytearray(whole)
            changed[rng.randint(len(whole))] = rng.randint(256)
            cases.append(bytes(changed))
        for case in cases:
            try:
                assert decode(case, 4, 3, "center").shape == (3, 4, 4)
            except BrokenImage:
                continue


def test_an_image_too_large_is_broken_not_fatal(tmp_path: Path, monkeypatch) -> None:
    file = save(picture(0, 40, 40), tmp_path / "x.png")
    monkeypatch.setattr(images, "MOST_PIXELS", 1599)
    with pytest.raises(BrokenImage, match="more than 1599 pixels"):
        read(file)
    monkeypatch.setattr(images, "MOST_PIXELS", 1600)
    assert read(file).shape == (3, 40, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard, where it is lower
    with pytest.raises(BrokenImage, match="more than 1600 pixels"):
        read(file)


def test_cmyk_is_turned_into_rgb_by_the_formula(tmp_path: Path) -> None:
    inks = np.random.RandomState(0).randint(256, size=(6, 7, 4)).astype(np.uint8)
    file = save(Image.fromarray(inks, "CMYK"), tmp_path / "x.tif")
    light = 255 - inks.astype(float)  # (H, W, 4)
    rgb = light[..., :3] * light[..., 3:] / 255
    assert np.abs(read(file) - rgb.transpose(2, 0, 1)).max() <= 1


def test_what_the_pixels_do_not_hold_is_told(tmp_path: Path) -> None:
    alpha = picture(0).convert("RGBA")
    alpha.putpixel((0, 0), (9, 9, 9, 0))
    more = {"save_all": True, "append_images": [picture(2)]}
    odd = {
        "a.png": (alpha, {}, [images.CLEAR]),
        "b.gif": (picture(1), more, [images.ANIMATED]),
        "c.png": (Image.fromarray(np.full((8, 8), 40000, np.uint16)), {}, [images.DEEP]),
        "d.tif": (picture(3).convert("CMYK"), {}, [images.PRINTED]),
        "e.png": (picture(4).convert("RGBA"), {}, []),  # nothing of it is transparent
        "f.png": (picture(5), {}, []),
    }
    for name, (image, options, lost) in odd.items():
        found: list[str] = []
        file = save(image, tmp_path / name, **options)
        first = decode(file.read_bytes(), None, 3, "center", found)
        assert found == lost, name
        assert np.array_equal(first, read(file)), name
    assert read(tmp_path / "a.png")[:, 0, 0].tolist() == [255, 255, 255]
    notes = " ".join(folder(path=str(tmp_path)).notes)
    assert notes.count("1 of 6 images") == 4
    assert f"(b.gif, …) have {images.ANIMATED}" in notes
