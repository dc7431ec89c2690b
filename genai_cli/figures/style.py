"""One look for every figure: palette, fonts, heading, and how a PNG is written.

Figures are `matplotlib.figure.Figure` on an Agg canvas, never pyplot: pyplot is slow to import
and keeps every figure alive. Lengths are inches for charts and pixels for sheets of images, where
a cell is a whole number of screen pixels per image pixel.
"""

import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150
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
}

TITLE, DETAIL = 12.0, 9.0  # points
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LEVEL = 4  # of a PNG's compression
MARGIN = 0.12  # inches around everything


@contextmanager
def styled() -> Iterator[None]:
    """House parameters on top of matplotlib's defaults, so that a user's matplotlibrc changes
    nothing; works as a decorator, `@styled()`. The parameters are process-wide: draw from one
    thread at a time."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(PARAMETERS)
        yield


def save(fig: Figure, path: str | Path) -> None:
    """Write the PNG beside `path`, then rename: a reader never sees half a figure. Without the
    version of matplotlib in it, the same input gives the same bytes."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # zlib's level 6 took a sixth of a figure's time, and 4 makes files 2 % larger
        look = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": LEVEL}}
        fig.savefig(beside, format="png", dpi=DPI, **look)
        os.replace(beside, path)
    except BaseException:  # an interrupt too leaves no file behind
        with suppress(FileNotFoundError):
            beside.unlink()
        raise


def chart(width: float, height: float, title: str, detail: str = "") -> Figure:
    """A figure with room for `width × height` inches of axes, arranged by matplotlib, under a bold
    title and a grey line of what the figure itself measured."""
    lines, top = _heading(title, detail, width)
    fig = Figure(figsize=(width, height + top), dpi=DPI, layout="constrained")
    FigureCanvasAgg(fig)
    _write(fig, lines, width, height + top)
    edge, total = MARGIN, height + top
    rect = (edge / width, edge / total, 1 - 2 * edge / width, (height - edge) / total)
    fig.get_layout_engine().set(rect=rect, w_pad=0.07, h_pad=0.05)
    return fig


def sheet(
    width: int, height: int, title: str, detail: str = "", caption: str = ""
) -> tuple[Figure, int]:
    """A figure for `width × height` pixels of content placed by hand; also the pixel row where the
    content starts. The caption stands below it."""
    inches = width / DPI
    lines, top = _heading(title, detail, inches)
    below = wrap(caption, inches - 2 * MARGIN, DETAIL) if caption else []
    top_px = round(top * DPI)
    foot_px = round((len(below) * DETAIL * 1.35 / 72 + 2 * MARGIN) * DPI)
    total = top_px + height + foot_px
    fig = Figure(figsize=(inches, total / DPI), dpi=DPI)
    FigureCanvasAgg(fig)
    _write(fig, lines, inches, total / DPI)
    if below:
        y = 1 - (top_px + height + MARGIN * DPI) / total
        fig.text(MARGIN / inches, y, "\n".join(below), va="top", size=DETAIL, color=GREY)
    return fig, top_px


def place(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Bare axes on a pixel rectangle of a sheet, measured from its top left corner; one data unit
    is one pixel and y points down."""
    w, h = fig.get_figwidth() * DPI, fig.get_figheight() * DPI
    with matplotlib.rc_context({"axes.grid": False}):  # gridlines take time even where unseen
        ax = fig.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return ax


def empty(ax: Axes, text: str) -> None:
    """Say in the panel why there is nothing in it."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def number(value: float, digits: int = 3) -> str:
    """Short and readable: 0.0123, 54.2, 1,234, 1.2×10⁻⁵."""
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
    """A name cut to `most` characters, so that one long class cannot push the axes away."""
    name = str(text)
    return name if len(name) <= most else name[: most - 1] + "…"


def wrap(text: str, inches: float, points: float, em: float = 0.56) -> list[str]:
    """Lines of `text` that fit `inches`; `em` is the mean width of a letter in font sizes."""
    letters = max(12, int(inches * 72 / (points * em)))
    return [line for part in text.splitlines() for line in textwrap.wrap(part, letters)]


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
