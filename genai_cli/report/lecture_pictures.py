"""The pictures of a lecture's page: found by name, made small enough to mail forty of them."""

from __future__ import annotations

import io
from pathlib import Path

from genai_cli.report import curves, figures
from genai_cli.report.facts import read
from genai_cli.report.figures import Picture
from genai_cli.report.markup import Html, el, join
from genai_cli.store import run_folder
from genai_cli.store.outputs import folders

BUDGET = 8_000_000  # bytes of all pictures; base64 makes 4 of 3
WIDEST = 1200  # pixels: sharp on the 768 of the page
COLOURS = 128  # of a figure's palette: its anti-aliased lines and greys
CURVE = "loss_curve.png"
MOST = 4  # pictures of one name in an experiment


class Album:
    """What has been shown so far, of a page that must stay small."""

    def __init__(self) -> None:
        self.spent = 0

    def figures(self, home: Path, name: str, look: str) -> Html:
        """The pictures called ``name`` in an experiment's folder; ``look``: what to see there."""
        files = found(home, name)
        shown, left = [], files[MOST:]
        for file in files[:MOST]:
            picture = figures.load(file)
            small = picture and smaller(picture)
            if small is None or self.spent + len(small.data) > BUDGET:
                left = [file, *left]
                continue
            self.spent += len(small.data)
            own = _owner(file)
            title = read(own).title if run_folder.is_run(own) else "the experiment's runs"
            note = _which(file, own) if len(files) > 1 else ""
            shown.append(figures.drawn(small, file.stem, title, note, look))
        if not files:
            return _without(home, name, look)
        more = f"{len(left)} more {name} in the experiment's folder." if left else ""
        return join(*shown, el("p", more, class_="small soft") if more else "")


def losses(home: Path) -> Html:
    """The curves of an experiment's runs, drawn from their numbers: a failed run draws none."""
    below = filter(run_folder.is_run, folders(home))
    return join(*(curves.loss_panels(read(run).rows, prefix=run.name) for run in below))


def _without(home: Path, name: str, look: str) -> Html:
    """In the place of a picture that no run has drawn."""
    charts = losses(home) if name == CURVE else ""
    return join(charts, el("p", "" if charts else f"{name} was not drawn. ", look, class_="soft"))


def found(home: Path, name: str) -> list[Path]:
    """The files of a picture's name, oldest first: those of a sweep or a run itself, and only
    where there are none those of a sweep's cells. ``samples_sheet.png`` is also
    samples_sheet-digits.png, one of several data sets."""
    stem = name.removesuffix(".png")
    files = [file for each in (name, f"{stem}-*.png") for file in sorted(home.glob(f"**/{each}"))]
    whole = [file for file in files if not run_folder.is_sweep(_owner(file).parent)]
    return whole or files


def smaller(picture: Picture) -> Picture:
    """A picture with a palette and no wider than the page needs, if that is fewer bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(picture.data)) as image:
        image = image.convert("RGB")
        if image.width > WIDEST:
            height = round(image.height * WIDEST / image.width)
            image = image.resize((WIDEST, height), Image.Resampling.LANCZOS)
        image = image.quantize(COLOURS, dither=Image.Dither.NONE)
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
    data = file.getvalue()
    return Picture(data, *image.size) if len(data) < len(picture.data) else picture


def _owner(file: Path) -> Path:
    """The run or the sweep that a file belongs to, else its folder."""
    return next(
        (up for up in file.parents if run_folder.is_run(up) or run_folder.is_sweep(up)), file.parent
    )


def _which(file: Path, own: Path) -> str:
    """What tells a picture from others of its name: its cell, or the data set in its own name."""
    return own.name.partition("-")[2] if run_folder.is_sweep(own.parent) else file.stem
