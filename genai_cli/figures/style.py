"""The common style of all figures: palette, font sizes, headings, legends, file formats.

Figures are `matplotlib.figure.Figure` on an Agg canvas, never pyplot: pyplot is slow to import
and keeps every figure alive. Lengths are inches for charts and pixels for sheets of images, where
a cell is a whole number of screen pixels per image pixel. Larger type (`output`) is the same type
on a smaller canvas at more dots an inch, so lines and markers grow with it; what a drawer sizes for
its text it passes through `text_inches` or `text_pixels`.
"""

import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

DPI = 150  # of a PNG with type of the usual size
SHARP = 300  # dots an inch of what a PDF or SVG holds as an image
INK, GREY, RULE, EMPTY = "#1f2430", "#6b7280", "#e3e6ea", "#f1f2f4"
# Okabe & Ito: told apart under the common colour blindnesses, and in grey.
TRAIN, VALIDATION = "#0072B2", "#D55E00"
PLAYERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c6d31", "#5b5b9e")
MISSING = "#CC79A7"  # not a number: a colour that no greyscale or diverging map contains
# Petroff 2021 (arXiv 2107.02270), ten colours chosen for colour-vision deficiencies.
CLASSES = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6")
CLASSES += ("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"

PARAMETERS = {
    "figure.dpi": DPI,
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a feature may be called "price_$": it is a name, not TeX
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.edgecolor": "#9aa1ab",
    "axes.linewidth": 0.8,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": "#9aa1ab",
    "ytick.color": "#9aa1ab",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "pdf.fonttype": 42,  # journals refuse matplotlib's usual Type 3 fonts
    "svg.hashsalt": "genai-cli",  # else the names inside a file are drawn anew each time
}
UNDATED = {  # metadata by format: the same input gives the same bytes
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}

TITLE, DETAIL = 12.0, 9.0  # points
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LEVEL = 4  # of a PNG's compression
MARGIN = 0.12  # inches around everything


class Output(NamedTuple):
    """The settings of configs/figures/ that hold for all figures drawn together."""

    name: str = "png"  # png | pdf | svg
    scale: float = 1.0


_OUTPUT: ContextVar[Output] = ContextVar("figures")


@contextmanager
def output(name: str = "png", scale: float = 1.0) -> Iterator[None]:
    """Draw the figures of a block with type ``scale`` times as large, and as PDF or SVG, too.

    ``name`` is the second format; a PNG is always written: pages, loggers and previews show it.
    """
    token = _OUTPUT.set(Output(name, scale))
    try:
        yield
    finally:
        _OUTPUT.reset(token)


def text_inches(length: float = 1.0) -> float:
    """Scale a length of a `chart` with the font size, like the height of a row of text."""
    return length * _OUTPUT.get(Output()).scale


def text_pixels(length: float) -> int:
    """Scale a length of a `sheet` with the font size, in whole pixels."""
    return round(length * _OUTPUT.get(Output()).scale)


def margin_pixels() -> int:
    """Return the pixels around the content of a `sheet`."""
    return text_pixels(MARGIN * DPI)


@contextmanager
def styled() -> Iterator[None]:
    """Set the package's parameters on top of matplotlib's defaults.

    A user's matplotlibrc changes nothing; works as a decorator, `@styled()`. The parameters are
    process-wide: draw from one thread at a time.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(PARAMETERS)
        yield


def save(fig: Figure, path: str | Path) -> None:
    """Write the PNG ``path`` and, where `output` asks for it, a PDF or SVG of that name beside it.

    Each is written under another name and renamed: a reader never sees half a figure. Neither a
    date nor a version stands in them.
    """
    for file in output_files(Path(path)):
        kind = "png" if file == Path(path) else file.suffix[1:]
        # zlib's level 6 took a sixth of a figure's time, and 4 makes files 2 % larger
        more = {"pil_kwargs": {"compress_level": LEVEL}} if kind == "png" else {}
        more["dpi"] = text_inches(DPI) if kind == "png" else SHARP
        beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            fig.savefig(beside, format=kind, metadata=UNDATED[kind], **more)
            os.replace(beside, file)
        except BaseException:  # an interrupt too leaves no file behind
            with suppress(FileNotFoundError):
                beside.unlink()
            raise


def output_files(path: Path) -> list[Path]:
    """Return the files that `save` writes for the PNG ``path``; of another file, only that."""
    kind = _OUTPUT.get(Output()).name
    png_only = kind == "png" or path.suffix != ".png"
    return [path] if png_only else [path, path.with_suffix(f".{kind}")]


def chart(width: float, height: float, title: str, detail: str = "") -> Figure:
    """Return a figure with room for `width × height` inches of axes, laid out by matplotlib.

    It has a bold title and a grey line with what the figure itself measured.
    """
    width, height, dpi = width / text_inches(), height / text_inches(), text_inches(DPI)
    lines, top = _heading(title, detail, width)
    fig = Figure(figsize=(width, height + top), dpi=dpi, layout="constrained")
    FigureCanvasAgg(fig)
    _write(fig, lines, width, height + top)
    edge, total = MARGIN, height + top
    rect = (edge / width, edge / total, 1 - 2 * edge / width, (height - edge) / total)
    fig.get_layout_engine().set(rect=rect, w_pad=0.07, h_pad=0.05)
    return fig


def panels(fig: FigureBase, n: int, across: int, **shared: Any) -> list[Axes]:
    """Return the axes of ``n`` panels, ``across`` in a row; the rest of the last row stays blank.

    ``shared``: of `Figure.subplots`, like ``sharex``.
    """
    axes = fig.subplots(-(-max(n, 1) // across), across, squeeze=False, **shared).ravel()
    for ax in axes[n:]:
        ax.set_axis_off()
    return list(axes[:n])


def legend(at: Axes | Figure, handles: Sequence[Artist] | None = None, **look: Any) -> None:
    """Add a legend where it covers nothing: right of a panel, or below the whole figure.

    Without ``handles``, of what is labelled in the panel. ``look``: of `Axes.legend`; a ``loc``
    of "lower left" or "lower right" puts it above the panel, from that side on.
    """
    where = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02)}
    if isinstance(at, Figure):
        where = {"loc": "outside lower center"}
    elif "loc" in look:
        where = {"bbox_to_anchor": (float(look["loc"] == "lower right"), 1), "borderaxespad": 0.2}
    if handles is not None:
        where["handles"] = handles
    if "ncols" in look:  # of large type fewer stand side by side
        where["ncols"] = max(1, int(look.pop("ncols") / text_inches() ** 1.5 + 0.25))
    at.legend(**{**where, **look})


def sheet(
    width: int, height: int, title: str, detail: str = "", caption: str = ""
) -> tuple[Figure, int]:
    """Return a figure for `width × height` pixels of content, and the pixel row where it starts.

    The caption stands below the content.
    """
    dpi = text_inches(DPI)
    across = width / dpi
    lines, top = _heading(title, detail, across)
    below = wrap(caption, across - 2 * MARGIN, DETAIL) if caption else []
    top_px = round(top * dpi)
    foot_px = round((len(below) * DETAIL * 1.35 / 72 + 2 * MARGIN) * dpi)
    total = top_px + height + foot_px
    fig = Figure(figsize=(across, total / dpi), dpi=dpi)
    FigureCanvasAgg(fig)
    _write(fig, lines, across, total / dpi)
    if below:
        y = 1 - (top_px + height + MARGIN * dpi) / total
        fig.text(MARGIN / across, y, "\n".join(below), va="top", size=DETAIL, color=GREY)
    return fig, top_px


def add_axes(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add bare axes on a pixel rectangle of a sheet, measured from its top left corner.

    One data unit is one pixel and y points down.
    """
    w, h = fig.get_figwidth() * fig.dpi, fig.get_figheight() * fig.dpi
    with matplotlib.rc_context({"axes.grid": False}):  # gridlines take time even where unseen
        ax = fig.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return ax


def fitting(texts: Sequence[str], width: float, size: float) -> float:
    """Return the font size, at most ``size``, at which each text fits ``width`` pixels."""
    longest = max(map(len, texts), default=1) or 1
    return min(size, width * 72 / (0.62 * longest * text_inches(DPI)))


def empty(ax: Axes, text: str) -> None:
    """Write into an empty panel why it is empty."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def number(value: float, digits: int = 3) -> str:
    """Format a number for a figure: 0.0123, 54.2, 1,234, 1.2×10⁻⁵."""
    if not np.isfinite(value):
        return "not finite"
    size = abs(value)
    if size and (size < 1e-4 or size >= 1e6):
        factor, exponent = f"{value:.1e}".split("e")
        factor = factor.removesuffix(".0")
        power = "10" + str(int(exponent)).translate(SUPERSCRIPT)
        text = {"1": power, "-1": f"-{power}"}.get(factor, f"{factor}×{power}")
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "−")


def short(text: object, most: int = 18) -> str:
    """Cut a name to `most` characters, so that one long class cannot push the axes away."""
    name = str(text)
    return name if len(name) <= most else name[: most - 1] + "…"


def wrap(text: str, inches: float, points: float, em: float = 0.56) -> list[str]:
    """Wrap `text` to lines of `inches`; `em` is the mean width of a letter in font sizes."""
    letters = max(12, int(inches * 72 / (points * em)))
    return [line for part in text.splitlines() for line in textwrap.wrap(part, letters)]


def panel_title(text: str, width: float) -> str:
    """Wrap ``text`` to lines that fit above a panel of ``width`` inches of a `chart`."""
    return "\n".join(wrap(text, 0.85 * width / text_inches(), PARAMETERS["axes.titlesize"]))


def _heading(title: str, detail: str, width: float) -> tuple[list[tuple[str, bool]], float]:
    """Lines (text, is title) and the height in inches they need."""
    room = width - 2 * MARGIN
    lines = [(line, True) for line in wrap(title, room, TITLE, em=0.61)]
    lines += [(line, False) for line in wrap(detail, room, DETAIL)]
    height = sum((TITLE if bold else DETAIL) * 1.4 for _, bold in lines) / 72
    return lines, height + (0.1 if lines else 0) + MARGIN


def _write(fig: Figure, lines: list[tuple[str, bool]], width: float, height: float) -> None:
    y = MARGIN
    for text, bold in lines:
        points = TITLE if bold else DETAIL
        look = {"size": points, "weight": "bold"} if bold else {"size": points, "color": GREY}
        fig.text(MARGIN / width, 1 - y / height, text, va="top", **look)
        y += points * 1.4 / 72
