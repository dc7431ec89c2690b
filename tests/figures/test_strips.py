"""Strips of images, moving pictures, and the density of the plane."""

import numpy as np
import pytest
from PIL import Image

from genai_cli.figures import grids, scatter, strips
from genai_cli.figures.density import density

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(0)


def size(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert len(image.convert("L").getcolors(1 << 16)) > 20
        return image.size


def test_a_strip_grows_by_a_cell_for_each_row_and_column(tmp_path):
    sizes = {}
    for r, f, c in ((2, 10, 1), (4, 10, 3), (2, 12, 1)):
        (tmp_path / f"{r}-{f}").mkdir()
        path = tmp_path / f"{r}-{f}" / "a.png"
        x = RNG.random((r, f, c, 8, 8))
        x[0, 0, :, 0] = np.nan
        names = {"rows": [f"row {i}" for i in range(r)], "columns": list(map(str, range(f)))}
        strips.strip(path, x, **names, title="t", detail="d")
        sizes[r, f] = size(path)
    cell = 80 + strips.GAP  # the multiple of 8 next to 84
    assert sizes[4, 10] == (sizes[2, 10][0], sizes[2, 10][1] + 2 * cell)
    assert sizes[2, 12] == (sizes[2, 10][0] + 2 * cell, sizes[2, 10][1])


@pytest.mark.parametrize("c", [1, 3])
def test_a_moving_picture_shows_every_frame_and_rests_at_its_end(c, tmp_path):
    frames = np.linspace(0, 1, 6)[:, None, None, None, None] * np.ones((6, 4, c, 8, 8))
    for back, order in ((False, range(6)), (True, (0, 1, 2, 3, 4, 5, 4, 3, 2, 1))):
        strips.moving(tmp_path / "a.gif", frames, columns=2, back=back, seconds=0.6)
        with Image.open(tmp_path / "a.gif") as gif:
            assert gif.info["loop"] == 0
            assert gif.n_frames == len(order)
            for i, frame in enumerate(order):
                gif.seek(i)
                assert gif.info["duration"] == 100 + 1000 * (frame == 5 or (back and frame == 0))
                assert abs(gif.convert("L").getpixel((3, 3)) - 255 * frame / 5) < 5
    assert (tmp_path / "a.gif").stat().st_size < 20_000


def test_named_rows_stand_below_the_original(tmp_path):
    x, heights = RNG.random((4, 1, 8, 8)), []
    for n in (1, 2, 3):
        path = tmp_path / f"{n}.png"
        rows = {f"a longer name of row {i}": x * (1 - 0.1 * i) for i in range(n)}
        grids.reconstructions(path, x, None, rows, title="t", caption="c")
        with Image.open(path) as image:
            heights.append(image.height)
    assert heights[2] - heights[1] == heights[1] - heights[0] == 168 + grids.GAP


def test_a_density_on_its_grid_has_its_mass(tmp_path):
    data, asked = RNG.normal(size=(500, 2)), []

    def log_prob(points):
        asked.append(points)
        return -0.5 * (points**2).sum(1) - np.log(2 * np.pi)

    fig = {}
    density_of(tmp_path, data, log_prob, fig)
    assert asked[0].shape == (40 * 40, 2)
    low, high = scatter.frame(data)
    assert (asked[0].min(0) > low).all()
    assert (asked[0].max(0) < high).all()
    assert float(fig["detail"].split(", ")[-1].split(" %")[0]) == pytest.approx(99.9, abs=0.3)
    size(tmp_path / "density.png")


def density_of(folder, data, log_prob, seen):
    """Draw it, and keep the line of figures below the title."""
    from genai_cli.figures import density as room

    chart = room.chart
    room.chart = lambda w, h, title, detail: (
        seen.update(detail=detail) or chart(w, h, title, detail)
    )
    try:
        density(folder / "density.png", data, log_prob, kind="exact", side=40, title="t")
    finally:
        room.chart = chart


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_a_density_that_is_not_finite_is_a_figure_too(value, tmp_path):
    points = RNG.normal(size=(50, 2))
    path = tmp_path / "density.png"
    density(path, points, lambda p: np.full(len(p), value), kind="bound", side=8, title="t")
    size(path)


def test_points_on_their_way(tmp_path):
    data, frames = RNG.normal(size=(300, 2)), RNG.normal(size=(7, 50, 2))
    scatter.scatter_frames(tmp_path / "a.png", data, frames, list("abcdefg"), title="t")
    size(tmp_path / "a.png")
    pictures = scatter.scatter_pictures(data, frames)
    strips.animate(tmp_path / "a.gif", pictures)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 7
        assert gif.size == pictures[0].size
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.gif").unlink()
    ways = RNG.normal(size=(2, 3, 5, 2))
    scatter.scatter_ways(tmp_path / "a.png", data, ways, "ab", title="t", lines_of="xyz")
    size(tmp_path / "a.png")
