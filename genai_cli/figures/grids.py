"""Images in rows and columns: reconstructions with their codes, and sheets of samples."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genai_cli.figures.style import (
    DIVERGING,
    EMPTY,
    GREY,
    INK,
    MISSING,
    add_axes,
    fitting,
    margin_pixels,
    number,
    save,
    sheet,
    short,
    styled,
    text_pixels,
)

COLUMNS = 10
SHEET = 64  # samples, 8 × 8
LEFT, RIGHT, GAP = 170, 100, 8  # pixels: row labels, colour bar, between cells


@styled()
def reconstructions(
    path: str | Path,
    original: np.ndarray,
    code: np.ndarray | None,
    reconstruction: np.ndarray | Mapping[str, np.ndarray],
    *,
    target: np.ndarray | None = None,
    baseline: tuple[str, np.ndarray] | None = None,
    labels: Sequence[object] | None = None,
    title: str,
    caption: str | None = "",
) -> None:
    """Draw original, code and reconstruction, one example per column, with each column's MSE.

    original (N, C, H, W), reconstruction and target (N, C, H2, W2) in [0, 1], C 1 or 3; code
    (N, K) or None for a model without one; the first ten examples are drawn. Several rows named by
    a mapping stand below the original in their order, and the error is that of the last. With a
    target (super-resolution, in-painting, denoising) the rows are input, code, output, target and
    the error is against the target; ``baseline``, the name and images (N, C, H2, W2) of what can be
    had without a model, stands above the code with its error below the output's. Values outside
    [0, 1] are clipped, nan is drawn in pink.
    """
    truth = target if target is not None else original
    n = min(COLUMNS, len(original))
    first, word = ("input", "output") if target is not None else ("original", "reconstruction")
    below = reconstruction if isinstance(reconstruction, Mapping) else {word: reconstruction}
    last, rebuilt = list(below.items())[-1]
    comparable = n > 0 and truth.shape[1:] == rebuilt.shape[1:]
    errors = {"MSE": _mse(truth[:n], rebuilt[:n])} if comparable else {}
    if comparable and baseline is not None:
        errors = {"MSE output": errors["MSE"], baseline[0]: _mse(truth[:n], baseline[1][:n])}
    detail = "no examples" if n == 0 else f"{n} example{'s' if n > 1 else ''}"
    if errors:
        over = f"mean of the {n} shown" if n > 1 else detail
        of = f" of “{last}”" if len(below) > 1 else ""
        means = [f"{name}{of} {number(float(mse.mean()))}" for name, mse in errors.items()]
        detail = f"{', '.join(means)}, {over}"

    first = baseline[0] if baseline is not None and baseline[0].endswith(first) else first
    rows = [(first, original[:n])]
    rows += (
        [(baseline[0], baseline[1][:n])] if baseline is not None and baseline[0] != first else []
    )
    rows += [("code", code)]
    rows += [(name, images[:n]) for name, images in below.items()]
    rows += [("target", target[:n])] if target is not None else []
    rows = [(name, values) for name, values in rows if values is not None]
    pictures = [values for name, values in rows if name != "code"]
    cell = cell_width([p.shape[-1] for p in pictures], 112 if n > 5 else 168)
    heights = [row_height(values, name == "code", cell, original) for name, values in rows]

    head = text_pixels(26) if labels is not None else 0
    line = text_pixels(22)
    foot = line * len(errors) + text_pixels(8) if errors else 0
    left = text_pixels(LEFT)
    width = max(left + n * (cell + GAP) + text_pixels(RIGHT), text_pixels(750))
    fig, y = sheet(
        width, head + sum(heights) + GAP * len(rows) + foot, title, detail, caption or ""
    )
    if labels is not None:
        names = [short(label, max(6, cell // text_pixels(9))) for label in labels[:n]]
        _captions(fig, y, names, cell, color=INK)
    y += head
    for (name, values), height in zip(rows, heights, strict=True):
        ax = add_axes(fig, left, y, max(1, n * (cell + GAP)), height)
        if name == "code":
            numbers = np.asarray(values[:n], dtype=float).reshape(n, int(np.prod(values.shape[1:])))
            k = numbers.shape[1]
            name = f"code\n{k} number{'s' if k > 1 else ''}"
            _codes(fig, ax, numbers, cell, height, y)
        else:
            for i, image in enumerate(values):
                draw_image(ax, image, i * (cell + GAP), cell, height)
        name = "\n".join(textwrap.wrap(name, 14)) if name in below else name
        _row_name(ax, name, height / 2, linespacing=1.4)
        y += height + GAP
    for name, mse in errors.items():
        _row_name(add_axes(fig, left, y, 1, text_pixels(20)), name, text_pixels(9), color=GREY)
        _captions(fig, y, aligned(mse), cell, color=GREY)
        y += line
    save(fig, path)


@styled()
def samples(path: str | Path, images: np.ndarray, *, title: str) -> None:
    """Draw the first 64 images (N, C, H, W) in [0, 1] as a tight 8 × 8 sheet."""
    n = min(SHEET, len(images))
    detail = "no samples"
    if n:
        height, width = images.shape[2:]
        detail = f"{n} sample{'s' if n > 1 else ''} of {height} × {width} pixels"
        if len(images) > n:
            detail = f"{n} of {len(images):,} samples, {height} × {width} pixels"
        outside = float(np.mean(~((images >= -1e-6) & (images <= 1 + 1e-6))))
        if outside:
            detail += f" · {max(0.1, 100 * outside):.1f} % of the values outside [0, 1]"
    columns = 8 if n > 4 else max(1, n)
    cell = cell_width([images.shape[3]] if n else [1], 96 if n > 4 else 144)
    height = row_height(images[:n], False, cell, images)
    gap = 4
    rows = -(-n // columns)
    edge = margin_pixels()
    width = max(2 * edge + columns * (cell + gap) - gap, text_pixels(480))
    fig, y = sheet(width, max(1, rows * (height + gap) - gap), title, detail)
    for row in range(rows):
        ax = add_axes(fig, edge, y + row * (height + gap), columns * (cell + gap), height)
        for i, image in enumerate(images[row * columns : min(n, (row + 1) * columns)]):
            draw_image(ax, image, i * (cell + gap), cell, height)
    save(fig, path)


def _mse(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """(N,) mean squared error per example."""
    square = (np.asarray(truth, dtype=float) - np.asarray(guess, dtype=float)) ** 2
    return square.reshape(len(square), -1).mean(axis=1)


def aligned(errors: np.ndarray) -> list[str]:
    """Format errors with the decimals that give their mean three digits, to be read as a row."""
    mean = float(np.mean(errors))
    if not 1e-4 <= mean < 1e3:
        return [number(float(e)) for e in errors]
    decimals = 2 - math.floor(math.log10(mean))
    return [f"{e:.{max(0, decimals)}f}" for e in errors]


def cell_width(widths: list[int], aim: int) -> int:
    """Return the width of a cell in screen pixels, near `aim`.

    It is a whole multiple of every image width where one exists, so that each image pixel
    becomes the same square.
    """
    common = math.lcm(*widths)
    return aim if common > 1.5 * aim else max(1, round(aim / common)) * common


def row_height(values: np.ndarray, is_code: bool, cell: int, original: np.ndarray) -> int:
    """Return the height of a row in screen pixels.

    A code gets the box of the original image, less when its grid is flatter.
    """
    if not len(original):
        return cell
    if is_code:
        rows, columns = _grid(int(np.prod(values.shape[1:])))
        return max(
            28, round(min(cell * original.shape[2] / original.shape[3], cell * rows / columns))
        )
    return max(1, round(cell * values.shape[2] / values.shape[3]))


def _grid(k: int) -> tuple[int, int]:
    """The most square (rows, columns) of k numbers: exact up to 3:1, else the last row is
    short. 16 → 4 × 4, 8 → 2 × 4, 17 → 4 × 5."""
    rows = max(r for r in range(1, math.isqrt(k) + 1) if k % r == 0)
    if k // rows <= 3 * rows:
        return rows, k // rows
    columns = math.ceil(math.sqrt(k))
    return -(-k // columns), columns


def draw_image(ax: Axes, image: np.ndarray, left: float, width: float, height: float) -> None:
    """Draw one image (C, H, W) with a hairline, so that a white image has an edge."""
    finite = np.isfinite(image).all(axis=0)
    rgb = np.clip(np.nan_to_num(np.asarray(image, dtype=float)), 0, 1).transpose(1, 2, 0)
    rgb = np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb.copy()
    rgb[~finite] = to_rgb(MISSING)
    shrunk = image.shape[2] > width
    _draw(ax, rgb, left, 0, width, height, interpolation="antialiased" if shrunk else "none")


def _draw(
    ax: Axes, values: np.ndarray, left: float, top: float, width: float, height: float, **look
) -> None:
    limits = ax.get_xlim(), ax.get_ylim()  # imshow moves them
    extent = (left, left + width, top + height, top)
    ax.imshow(values, extent=extent, aspect="auto", **look)
    ax.set(xlim=limits[0], ylim=limits[1])
    frame = Rectangle((left, top), width, height, fill=False, edgecolor="#c4c9d0", linewidth=0.5)
    ax.add_patch(frame).set_clip_on(False)


def _codes(fig: Figure, ax: Axes, codes: np.ndarray, cell: int, height: int, y: int) -> None:
    """codes (N, K): each a small grid on one colour scale symmetric about 0, with its bar."""
    size = np.abs(codes[np.isfinite(codes)])
    most = float(size.max(initial=0.0)) or 1.0
    # A few large numbers would leave the others white: then the scale ends before them.
    top = float(np.quantile(size, 0.98)) if size.size else most
    top = top if 0 < 2 * top < most else most
    k = codes.shape[1]
    rows, columns = _grid(k)
    side = min(cell / columns, height / rows)
    width, tall = side * columns, side * rows
    colours = ScalarMappable(Normalize(-top, top), DIVERGING)
    for i, code in enumerate(codes):
        picture = np.full(rows * columns, np.nan)
        picture[:k] = code
        rgb = colours.to_rgba(picture.reshape(rows, columns))[..., :3]
        rgb.reshape(-1, 3)[:k][~np.isfinite(code)] = to_rgb(MISSING)
        rgb.reshape(-1, 3)[k:] = to_rgb(EMPTY)  # a place with no number
        left, above = i * (cell + GAP) + (cell - width) / 2, (height - tall) / 2
        _draw(ax, rgb, left, above, width, tall, interpolation="none")
        for j, value in enumerate(code if k <= 2 else ()):
            at = left + (j % columns + 0.5) * side, above + (j // columns + 0.5) * side
            dark = np.isfinite(value) and abs(value) > 0.6 * top
            size = fitting(["−0.00"], side, 8) if k == 1 else fitting(["−0.00"], side, 6.8)
            colour = "white" if dark else INK
            ax.text(*at, _digits(value), ha="center", va="center", size=size, color=colour)

    wide = text_pixels(12)
    bar = add_axes(fig, text_pixels(LEFT + 10) + len(codes) * (cell + GAP), y, wide, height)
    ramp = np.linspace(top, -top, 128)[:, None]
    _draw(bar, colours.to_rgba(ramp)[..., :3], 0, 0, wide, height, interpolation="bilinear")
    less, more = ("", "") if top == most else ("≤ ", "≥ ")
    marks = [(0, more + number(top, 2)), (height, less + number(-top, 2))]
    for at, text in [*marks, (height / 2, "0")] if height >= text_pixels(60) else marks:
        bar.text(text_pixels(18), at, text, va="center", size=7.5, color=GREY)


def _digits(value: float) -> str:
    """At most two decimals: what fits half a cell."""
    small = np.isfinite(value) and abs(value) < 10
    return f"{value:.2f}".replace("-", "−") if small else number(value, 2)


def _captions(fig: Figure, y: int, texts: list[str], cell: int, color: str) -> None:
    """One short text centred on every column."""
    ax = add_axes(fig, text_pixels(LEFT), y, 1, text_pixels(20))
    look = {"size": fitting(texts, cell + GAP, 8), "color": color, "ha": "center", "va": "center"}
    for i, text in enumerate(texts):
        ax.text(i * (cell + GAP) + cell / 2, text_pixels(9), text, **look)


def _row_name(ax: Axes, name: str, y: float, **look) -> None:
    """A name left of the axes of a row."""
    ax.text(-text_pixels(14), y, name, ha="right", va="center", clip_on=False, **look)
