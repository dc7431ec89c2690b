"""Read PNG files of a run folder for a page, each with what it shows and what to look at."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 4_000_000  # of one file
WIDE = 1.8  # times as wide as high, and more
SIGNATURE, END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

# stem → (title, what is seen, what to look at)
CAPTIONS = {
    "loss_curve": (
        "Loss curves",
        "training and validation loss over the epochs",
        "Do both still fall, and does validation stay with training?",
    ),
    "generator": (
        "What the generator learns from",
        "how sure the discriminator is of its samples, and the norm of the generator's gradient",
        "Does the gradient vanish while the discriminator grows sure?",
    ),
    "reconstructions": (
        "Reconstructions",
        "test examples and what the model makes of them",
        "Are strokes kept that set one example apart from its class, or only the class?",
    ),
    "samples": (
        "Samples",
        "new examples drawn from the model",
        "Is each one a thing of its kind, and are all kinds there?",
    ),
    "latent": (
        "Codes",
        "codes of the test split, coloured by class",
        "Do classes keep together, and are there holes from which a sample would be no class?",
    ),
    "trajectory": (
        "From noise to samples",
        "the way of some samples, from noise on the left to the end on the right",
        "When is it decided what a sample will be?",
    ),
    "density": (
        "Density",
        "the model's density beside real points",
        "Is mass where the points are, and only there?",
    ),
    "predictions": (
        "Predictions",
        "predictions against the truth, on the test split",
        "Which errors are frequent, and are they one-sided?",
    ),
    "closest_pairs": (
        "Closest pairs",
        "samples beside the training examples nearest to them",
        "Is a sample a copy? Held-out examples show how near chance comes.",
    ),
    "classes": (
        "Classes among the samples",
        "share of each class among samples and among real examples",
        "Which class is rare or missing?",
    ),
    "calibration": (
        "Calibration",
        "confidence against accuracy",
        "Below the diagonal the model is surer than it is right.",
    ),
    "samples_sheet": (
        "Samples side by side",
        "one run a row, drawn from the same noise",
        "Compare down the columns: the first row is real.",
    ),
    "reconstructions_sheet": (
        "Reconstructions side by side",
        "one run a row, the same test examples in the columns",
        "Compare with the originals in the first row.",
    ),
    "quality_speed": (
        "Quality against sampling time",
        "Fréchet distance over seconds an image",
        "Runs at the lower left are better and faster; the line joins those nothing beats.",
    ),
    "rate_distortion": (
        "Error against the size of the code",
        "reconstruction error over the bottleneck, PCA as the floor",
        "Behind the knee a larger code buys little.",
    ),
    "search": (
        "The search",
        "what each trial gave, how far it was trained, and its value over each key",
        "Did the last trials still find better ones, and does the best lie inside the ranges?",
    ),
    "table": (
        "The sweep as a table",
        "the test metric of each cell",
        "Read along a row: only there is the metric one and the same.",
    ),
    "curves": (
        "Loss curves of the cells",
        "validation and training loss, a panel for each value",
        "Does validation follow training, where does it turn, and how smooth is the way?",
    ),
    "losses": (
        "Losses overlaid",
        "validation losses of all runs",
        "Only curves of the same objective share a panel.",
    ),
    "posterior_prior": (
        "Codes against the prior",
        "codes of test examples beside draws of the prior",
        "Where they differ, samples start from codes the decoder never saw.",
    ),
    "grid": ("Drawn later", "samples of `genai sample`", "One sheet of what was asked for."),
}
OF_A_RUN = (
    *("samples", "reconstructions", "generator", "trajectory", "density", "predictions", "latent"),
)


class Picture(NamedTuple):
    """The bytes of a PNG file that may stand on a page."""

    data: bytes
    width: int  # pixels
    height: int


class Figure(NamedTuple):
    """A picture with its size on the page and the words about it."""

    base64: str
    width: int
    height: int
    wide: bool  # a strip, which scrolls on a phone
    title: str
    note: str
    caption: str
    alt: str


def load(path: Path) -> Picture | None:
    """Read a whole PNG of a sensible size; half-written files and others give None."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if not data.startswith(SIGNATURE) or not data.endswith(END) or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return Picture(data, width, height)


def _known(stem: str) -> str | None:
    """Return the entry of `CAPTIONS` for a file: samples_sheet-digits is a samples_sheet."""
    return max((name for name in CAPTIONS if stem.startswith(name)), key=len, default=None)


def caption_order(path: Path) -> tuple[int, str]:
    """Return the sort key of a figure: the position of its entry in `CAPTIONS`, then its name."""
    names = [*CAPTIONS]
    known = _known(path.stem)
    return (names.index(known) if known else len(names)), path.name


def load_figures(paths: Iterable[Path], context: str, note: str = "") -> list[Figure]:
    """Return the figures of the files that are whole, each for ``context`` ("vae on digits")."""
    pairs = [(path, load(path)) for path in paths]
    return [describe(p, path.stem, context, note) for path, p in pairs if p is not None]


def describe(
    picture: Picture, stem: str, context: str, note: str = "", caption: str = ""
) -> Figure:
    """Return the figure of a picture from a file called ``stem``.

    Args:
        picture: the bytes and their size.
        stem: name of the file, which `CAPTIONS` describes.
        context: for the alternative text, "vae on digits".
        note: which one it is, where there are several.
        caption: in the place of what `CAPTIONS` has.
    """
    words = stem.replace("_", " ")
    known = _known(stem)
    title, shows, look = CAPTIONS[known] if known else (words.capitalize(), words, "")
    # Drawn at 150 dots an inch and meant to be seen at 96: half size is sharp on good screens.
    width = min(picture.width, max(320, round(picture.width * 0.64)))
    return Figure(
        base64.b64encode(picture.data).decode("ascii"),
        width,
        round(picture.height * width / max(picture.width, 1)),
        picture.width >= WIDE * picture.height,
        title,
        note,
        caption or f"{shows}. {look}".rstrip(),
        f"{title} of {context}: {shows}.",
    )
