"""Images in named rows and columns, along a sampler or a path of codes, still and as a GIF."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from genai_cli.figures.grids import cell_width, draw_image, row_height
from genai_cli.figures.style import (
    GREY,
    INK,
    add_axes,
    margin_pixels,
    save,
    sheet,
    styled,
    text_pixels,
)

NARROW, GAP, HEAD = 26, 4, 26  # pixels: left edge without names, between cells, column captions
LETTER = 11  # pixels a letter of a row's name takes
SIDE = 320  # pixels a moving picture is wide, about
GREYS = 64  # of it: more cannot be seen in motion and double the file


@styled()
def strip(
    path: str | Path,
    images: np.ndarray,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str,
    detail: str = "",
    caption: str = "",
    together: int = 1,
) -> None:
    """Draw images (R, F, C, H, W) in [0, 1] as a grid of R named rows and F named columns.

    Values outside [0, 1] are clipped, nan is drawn in pink. Every ``together`` rows stand closer.
    """
    r, f = images.shape[:2]
    cell = cell_width([images.shape[-1]], 84 if f > 8 else 104)
    height = row_height(images[0], False, cell, images[0])
    names = ["\n".join(textwrap.wrap(name, 18)) for name in rows]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    left = margin_pixels() + (text_pixels(LETTER * longest + 18) if names else 0)
    head = text_pixels(HEAD) if columns else 0
    tops = [head + i * (height + GAP) + (i // together) * (3 * GAP) * (together > 1)
            for i in range(r)]  # fmt: skip
    width = max(left + f * (cell + GAP) + margin_pixels(), text_pixels(600))
    fig, y = sheet(width, tops[-1] + height, title, detail, caption)
    if columns:
        ax = add_axes(fig, left, y, 1, head)
        widest = text_pixels(LETTER * max(map(len, columns)))
        for j in range(0, f, -(-widest // (cell + GAP))):  # large type: every other one
            at = j * (cell + GAP) + cell / 2
            ax.text(at, head / 2 - 2, columns[j], ha="center", va="center", size=8, color=GREY)
    for i, row in enumerate(images):
        ax = add_axes(fig, left, y + tops[i], f * (cell + GAP), height)
        for j, image in enumerate(row):
            draw_image(ax, image, j * (cell + GAP), cell, height)
        if names:
            ax.text(
                -text_pixels(12),
                height / 2,
                names[i],
                ha="right",
                va="center",
                color=INK,
                clip_on=False,
            )
    save(fig, path)


def moving(
    path: str | Path,
    frames: np.ndarray,
    *,
    columns: int,
    back: bool = False,
    seconds: float = 4.0,
) -> None:
    """Write a GIF of N images side by side: frames (F, N, C, H, W) in [0, 1], ``columns`` a row.

    It runs ``seconds`` and rests on the last frame; with ``back`` it rests on both ends and returns
    the way it came. nan is black.
    """
    n, c, h, w = frames.shape[1:]
    rows = -(-n // columns)
    scale = max(1, SIDE // (columns * (w + 1)))
    gap = max(1, scale // 2)
    sheets = []
    for frame in frames:
        canvas = np.full((c, rows * (h * scale + gap) - gap, columns * (w * scale + gap) - gap),
                         255, np.uint8)  # fmt: skip
        levels = np.rint(np.clip(np.nan_to_num(frame), 0, 1) * (GREYS - 1)) * 255 / (GREYS - 1)
        large = levels.astype(np.uint8).repeat(scale, axis=2).repeat(scale, axis=3)
        for i, image in enumerate(large):
            top, left = i // columns * (h * scale + gap), i % columns * (w * scale + gap)
            canvas[:, top : top + h * scale, left : left + w * scale] = image
        sheets.append(Image.fromarray(canvas[0] if c == 1 else canvas.transpose(1, 2, 0)))
    animate(path, sheets, back=back, seconds=seconds)


def animate(
    path: str | Path, sheets: list[Image.Image], *, back: bool = False, seconds: float = 4.0
) -> None:
    """Write images of one size as an endless GIF, atomically."""
    path, each, rest = Path(path), max(20, round(1000 * seconds / len(sheets))), 1000
    times = [each] * len(sheets)
    times[-1] += rest
    if sheets[0].mode != "L":
        # one palette for all frames: no flicker, and only what changes is stored
        palette = _palette(sheets)
        sheets = [s.quantize(palette=palette, dither=Image.Dither.NONE) for s in sheets]
    if back:
        times[0] += rest
        sheets, times = sheets + sheets[-2:0:-1], times + times[-2:0:-1]
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        sheets[0].save(
            *[beside, "GIF"],
            save_all=True,
            append_images=sheets[1:],
            duration=times,
            loop=0,
            optimize=True,
        )
        os.replace(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise


def _palette(sheets: list[Image.Image]) -> Image.Image:
    """255 colours of a dozen frames from first to last."""
    at = np.linspace(0, len(sheets) - 1, min(12, len(sheets))).astype(int)
    some = np.concatenate([np.asarray(sheets[i].convert("RGB")) for i in at])
    palette = Image.fromarray(some).quantize(255)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    if some.max() == 255:  # the mean of what is nearly white is not white, and shows as a tint
        colours[(255 - colours).sum(axis=1).argmin()] = 255
    palette.putpalette(colours.ravel().tolist())
    return palette
