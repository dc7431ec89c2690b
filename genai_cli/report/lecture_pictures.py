"""Find the pictures of a lecture's page by name and make them small enough to mail forty."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from genai_cli.report.curves import Curves, loss_panels
from genai_cli.report.facts import read
from genai_cli.report.figures import Figure, Picture, describe, load
from genai_cli.store import run_folder
from genai_cli.store.outputs import folders

BUDGET = 8_000_000  # bytes of all pictures; base64 makes 4 of 3
WIDEST = 1200  # pixels: sharp on the 768 of the page
COLOURS = 128  # of a figure's palette: its anti-aliased lines and greys
CURVE = "loss_curve.png"
MOST = 4  # pictures of one name in an experiment


class Pictures(NamedTuple):
    """What an experiment has of one picture's name."""

    name: str
    look: str  # what to see there
    figures: list[Figure]
    left_out: int  # files that are not shown
    curves: list[Curves]  # in the place of a loss curve that no run has drawn


class Album:
    """Collects the pictures of a page that must stay small."""

    def __init__(self) -> None:
        self.spent = 0

    def pictures(self, home: Path, name: str, look: str) -> Pictures:
        """Return the pictures called ``name`` in an experiment's folder, within the budget."""
        files = find_pictures(home, name)
        drawn: list[Figure] = []
        for file in files[:MOST]:
            picture = load(file)
            small = picture and shrink(picture)
            if small is None or self.spent + len(small.data) > BUDGET:
                continue
            self.spent += len(small.data)
            owner = _owner(file)
            title = read(owner).title if run_folder.is_run(owner) else "the experiment's runs"
            note = _which(file, owner) if len(files) > 1 else ""
            drawn.append(describe(small, file.stem, title, note, look))
        charts = losses(home) if name == CURVE and not files else []
        return Pictures(name, look, drawn, len(files) - len(drawn), charts)


def losses(home: Path) -> list[Curves]:
    """Return the curves of an experiment's runs from their numbers: a failed run draws none."""
    each = (
        loss_panels(read(run).rows, prefix=run.name)
        for run in filter(run_folder.is_run, folders(home))
    )
    return [curves for curves in each if curves]


def find_pictures(home: Path, name: str) -> list[Path]:
    """Return the files of a picture's name, oldest first: those of a sweep or a run itself, and
    only where there are none those of a sweep's cells. ``samples_sheet.png`` is also
    samples_sheet-digits.png, one of several data sets."""
    stem = name.removesuffix(".png")
    files = [file for each in (name, f"{stem}-*.png") for file in sorted(home.glob(f"**/{each}"))]
    whole = [file for file in files if not run_folder.is_sweep(_owner(file).parent)]
    return whole or files


def shrink(picture: Picture) -> Picture:
    """Return a picture with a palette and no wider than the page needs, if that is fewer bytes."""
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
    """Return the run or the sweep that a file belongs to, else its folder."""
    return next(
        (up for up in file.parents if run_folder.is_run(up) or run_folder.is_sweep(up)), file.parent
    )


def _which(file: Path, owner: Path) -> str:
    """Return what sets a picture apart from others of its name: its cell, or its data set."""
    return owner.name.partition("-")[2] if run_folder.is_sweep(owner.parent) else file.stem
