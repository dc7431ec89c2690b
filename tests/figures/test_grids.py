"""Sheets of images: rows, codes of every size, broken values."""

import numpy as np
import pytest
from PIL import Image

from genai_cli.figures import grids

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(0)


def images(n, c=1, h=8, w=8):
    return RNG.random((n, c, h, w), dtype=np.float32)


def check(path, least=2_000):
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert least < path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert image.width <= 2000
        assert len(image.convert("L").getcolors()) > 20
        return image.size


@pytest.mark.parametrize("k", [1, 128])
def test_codes_of_every_size(k, tmp_path):
    path = tmp_path / "reconstructions.png"
    x, z = images(12), RNG.normal(size=(12, k))
    grids.reconstructions(path, x, z, x, labels=range(12), title="AE", caption="test")
    check(path)


def broken(n=4):
    x = images(n, 3)
    x[0, :, 2:4] = np.nan
    return x


CASES = {
    "colour": (images(3, 3), RNG.normal(size=(3, 17)), images(3, 3), None),
    "one, constant code": (images(1), np.zeros((1, 4)), images(1), None),
    "not square": (images(4, 1, 8, 16), RNG.normal(size=(4, 6)), images(4, 1, 8, 16), None),
    "super-resolution": (images(4, 1, 4, 4), RNG.normal(size=(4, 6)), images(4), images(4)),
    "no target": (images(4, 1, 4, 4), RNG.normal(size=(4, 6)), images(4), None),
    "no code": (images(4), None, images(4), None),
    "nan": (broken(), np.where(RNG.random((4, 2)) < 0.5, np.nan, 1.0), broken() + 2, None),
    "none": (images(0), np.zeros((0, 4)), images(0), None),
    "larger than a cell": (
        *[np.full((2, 1, 300, 300), 0.5), np.ones((2, 4))],
        images(2, 1, 300, 300) / 9,
        None,
    ),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[pytest.mark.slow] * (c in ("not square", "no target"))) for c in CASES],
)
def test_every_input_becomes_a_figure(case, tmp_path):
    x, z, y, target = CASES[case]
    path = tmp_path / "reconstructions.png"
    grids.reconstructions(path, x, z, y, target=target, title="A long title " * 8, caption="")
    check(path)


@pytest.mark.parametrize(("n", "c"), [(0, 1), (100, 3)])
def test_samples(n, c, tmp_path):
    path = tmp_path / "samples.png"
    grids.samples(path, images(n, c), title="VAE on digits")
    width, height = check(path)
    if n >= 64:
        assert 0.8 < width / height < 1.0  # eight by eight under a heading


def test_the_same_images_give_the_same_bytes(tmp_path):
    x, z = images(4), RNG.normal(size=(4, 16))
    for name in "ab":
        grids.reconstructions(tmp_path / name, x, z, x * 0.9, title="t", caption="c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_image_pixel_is_a_square_of_screen_pixels(tmp_path):
    """A checkerboard sample keeps cells of exactly one size: nothing is resampled."""
    board = np.indices((8, 8)).sum(axis=0) % 2
    grids.samples(tmp_path / "a.png", np.tile(board, (8, 1, 1, 1)).astype(float), title="t")
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    line = pixels[-40] > 128  # through the row of images, 8 × 8 screen pixels of 12 × 12 each
    steps = np.diff(np.flatnonzero(np.diff(line.astype(int))))
    assert set(steps.tolist()) <= {12, 12 + 4}  # between two images lies a gap of 4
    assert len(steps) == 8 * 8 - 1


@pytest.mark.parametrize(
    ("k", "grid"),
    [(1, (1, 1)), (2, (1, 2)), (8, (2, 4)), (16, (4, 4)), (17, (4, 5)), (128, (8, 16))],
)
def test_the_grid_of_a_code_is_nearly_square_and_large_enough(k, grid):
    assert grids._grid(k) == grid
    assert all(r * c >= n for n in range(1, 300) for r, c in [grids._grid(n)])


def test_errors_of_a_row_share_their_decimals():
    assert grids.aligned(np.array([0.011, 0.00431])) == ["0.01100", "0.00431"]
    assert grids.aligned(np.array([np.nan, 1.0])) == ["not finite", "1"]
