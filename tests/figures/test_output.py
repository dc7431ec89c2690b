"""figures=png|pdf|svg and figures.scale: the same figure in another file, or with larger type."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from PIL import Image

from genai_cli.figures import curves, frontier, generator, grids, style
from genai_cli.figures.curves import CurvePanel, LossCurve
from genai_cli.figures.families import Look

pytestmark = pytest.mark.filterwarnings("error")

EPOCHS = np.arange(1.0, 13.0)
LOOK = Look("VAE", "#D55E00", "s")
ROWS = [{"epoch": e, "lr": 1 / e, "train/loss": 2 / e, "val/loss": 3 / e} for e in EPOCHS]
IMAGES = np.random.default_rng(0).random((9, 1, 8, 8))


def draw(folder: Path, name: str, scale: float = 1.0) -> None:
    """A chart and a sheet of images, in a folder of their own."""
    folder.mkdir()
    with style.output(name, scale):
        about = {"title": "vae on digits ≤ x₁", "unit": "nats", "best_epoch": 12}
        curves.loss_curve(folder / "loss_curve.png", ROWS, **about)
        grids.samples(folder / "samples.png", IMAGES, title="vae on digits: samples")


@pytest.mark.parametrize("name", ["pdf", "svg"])
def test_each_png_has_a_vector_file_beside_it_of_the_same_bytes_each_time(
    name: str, tmp_path: Path
) -> None:
    for folder, kind in (("a", name), ("b", name), ("png", "png")):
        draw(tmp_path / folder, kind)
    files = ["loss_curve.png", "samples.png"]
    assert sorted(p.name for p in (tmp_path / "png").iterdir()) == files
    both = sorted([*files, *(f.replace("png", name) for f in files)])
    for a in both:
        assert (tmp_path / "a" / a).read_bytes() == (tmp_path / "b" / a).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == both
    for png in files:
        assert (tmp_path / "a" / png).read_bytes() == (tmp_path / "png" / png).read_bytes()


def test_a_pdf_has_no_date_and_no_font_that_journals_refuse(tmp_path: Path) -> None:
    draw(tmp_path / "a", "pdf")
    pdf = (tmp_path / "a" / "loss_curve.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/CreationDate" not in pdf
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf


def test_pixels_of_an_image_stay_what_they_are(tmp_path: Path) -> None:
    draw(tmp_path / "a", "svg")
    held = re.findall(r"base64,([^\"]+)", (tmp_path / "a" / "samples.svg").read_text())
    images = [Image.open(io.BytesIO(base64.b64decode(text))) for text in held]
    assert [image.size for image in images] == [(8, 8)] * len(IMAGES)
    shown = np.asarray(images[0].convert("L"), dtype=float)
    flipped = min(np.abs(shown[::k] / 255 - IMAGES[0, 0]).max() for k in (1, -1))
    assert flipped < 0.01


def test_larger_type_on_a_picture_as_wide(tmp_path: Path) -> None:
    for scale in (1.0, 1.6):
        draw(tmp_path / str(scale), "png", scale)
    a, b = (tmp_path / scale / "loss_curve.png" for scale in ("1.0", "1.6"))
    with Image.open(a) as usual, Image.open(b) as larger:
        assert larger.width == pytest.approx(usual.width, rel=0.01)
    heights = []
    for scale in (1.0, 1.6):
        with style.styled(), style.output("png", scale):
            fig = style.chart(9.6, 4.0, "title")
            heights.append(fig.texts[0].get_window_extent().height)
    assert heights[1] == pytest.approx(1.6 * heights[0], rel=0.1)


def test_the_output_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), style.output("pdf", 1.5):
        raise KeyError
    assert style.output_files(tmp_path / "a.png") == [tmp_path / "a.png"]
    with style.output("svg"):
        assert style.output_files(tmp_path / "a.png") == [tmp_path / "a.png", tmp_path / "a.svg"]
        assert style.output_files(tmp_path / "a.gif") == [tmp_path / "a.gif"]


@pytest.mark.parametrize("which", ["run", "gan", "overlay", "cells", "generator", "frontier"])
def test_no_word_of_the_largest_type_is_cut_off(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Figure] = []
    for room in (curves, frontier, generator):
        monkeypatch.setattr(room, "save", lambda fig, path: seen.append(fig))
    path, title = tmp_path / "a.png", "a title of some words"
    lines = [
        LossCurve(EPOCHS, k / EPOCHS, k / EPOCHS / 2, EPOCHS, f"vae bottleneck={k}", LOOK)
        for k in (2, 4, 8, 16)
    ]
    with style.output("png", 1.8):
        if which == "run":
            curves.loss_curve(path, ROWS, title=title, unit="nats per example", best_epoch=12)
        elif which == "gan":
            terms = ("d_real", "d_fake", "gradient", "r1", "r2", "loss")
            rows = [{"epoch": e} | {f"train/generator/{t}": 1 / e for t in terms} for e in EPOCHS]
            curves.loss_curve(path, rows, title=title, unit="", best_epoch=None)
        elif which == "overlay":
            objectives = [CurvePanel("discriminator, nonsaturating loss on digits", lines)] * 2
            curves.overlay(path, objectives, title=title)
        elif which == "cells":
            note = "test MSE 0.0798 · 0.13 s\nlowest 0.0791 in epoch 4\nlast 0.079, training 0.0868"
            cells = [CurvePanel(c.label, [c], note=note) for c in lines * 2]
            curves.cell_curves(path, cells, title=title)
        elif which == "generator":
            pulls = [
                generator.Pull(f"gan loss={loss}", loss, EPOCHS, 1 / EPOCHS, 0.5 / EPOCHS)
                for loss in ("minimax", "nonsaturating")
            ]
            generator.generator(path, pulls, title=title)
        else:
            points = [frontier.Point(f"{k} steps", LOOK, k / 1e3, 9 / k) for k in (1, 5, 50)]
            frontier.frontier(
                path, [frontier.FrontierPanel("digits, 100 samples", points)], title=title
            )
        (fig,) = seen
        fig.draw_without_rendering()
    words = [t for ax in fig.axes for t in (*ax.texts, ax.xaxis.label, ax.yaxis.label)]
    words += [t for each in fig.findobj(Legend) for t in each.get_texts()]
    titles = {ax.get_title(loc="left") for ax in fig.axes} | {title}
    words += [t for t in fig.findobj(Text) if t.get_text() in titles]
    words = [t for t in words if t.get_text()]
    assert len(words) > 5
    for text in words:
        box = text.get_window_extent()
        assert box.x0 >= -1, text.get_text()
        assert box.x1 <= fig.bbox.width + 1, text.get_text()
