"""Figures of a comparison and of an evaluation: what is drawn, where, and that names stay apart."""

import itertools

import numpy as np
import pytest
from PIL import Image

from genai_cli.figures import compare_sheet, curves, evaluated, frontier, labels, style
from genai_cli.figures import posterior as codes
from genai_cli.figures import rate_distortion as rd
from genai_cli.figures.compare_sheet import ImageRow
from genai_cli.figures.families import Look, colours
from genai_cli.figures.frontier import FrontierPanel, Point, pareto
from genai_cli.models.families import FAMILIES, USER_STYLES, family

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(0)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written, to be looked into."""
    seen = []
    real = style.save
    for room in (compare_sheet, evaluated, frontier, curves, codes, rd):
        monkeypatch.setattr(room, "save", lambda fig, path: (seen.append(fig), real(fig, path)))
    return seen


def texts(thing):
    return [t.get_text() for t in thing.findobj(lambda o: hasattr(o, "get_text")) if t.get_text()]


def size(path):
    with Image.open(path) as image:
        assert len(image.convert("L").getcolors(1 << 16)) > 10
        return image.size


def boxes(ax):
    """Boxes in pixels of the annotations that name points or lines."""
    renderer = ax.figure.canvas.get_renderer()
    return [t.get_window_extent(renderer) for t in ax.texts if t.get_text()]


def apart(found):
    """No two boxes share more than a hairline."""
    for a, b in itertools.combinations(found, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        tall = min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > 0.5 and tall > 0.5:
            return False
    return True


# --- families and labels


def look(model):
    return Look(*family(model)[:3])


def test_every_family_has_a_colour_and_a_marker_of_its_own():
    looks = [*(f[1:3] for f in FAMILIES.values()), *USER_STYLES]
    assert len({c for c, _ in looks}) == len({m for _, m in looks}) == len(looks)
    assert family("mine") == family("mine")
    assert family("mine")[1:3] in USER_STYLES


@pytest.mark.parametrize("models", [["vae"] * 6, ["vae", "vae", "flow", "vae"], list(FAMILIES)])
def test_lines_of_one_panel_have_different_colours(models):
    assert len(set(colours([*map(look, models)]))) == len(models)


def test_a_family_alone_keeps_its_colour():
    looks = [look("vae"), look("flow")]
    assert [c.upper() for c in colours(looks)] == [one.colour for one in looks]


def test_spread_keeps_order_and_gap_and_moves_no_more_than_it_must():
    out = labels.spread([0.5, 0.5, 0.5, 0.1], 0.1, 0.0, 1.0)
    np.testing.assert_allclose(out, [0.4, 0.5, 0.6, 0.1])
    np.testing.assert_allclose(labels.spread([1.0, 1.0], 0.1, 0.0, 1.0), [0.9, 1.0])
    far = [0.05, 0.4, 0.9]
    np.testing.assert_allclose(labels.spread(far, 0.1, 0.0, 1.0), far)
    many = labels.spread(RNG.random(9), 0.1, 0.0, 1.0)
    assert np.diff(np.sort(many)).min() > 0.1 - 1e-9
    assert many.min() >= 0
    assert many.max() <= 1


# --- sheets


def test_a_sheet_grows_by_a_row_for_each_run_and_holds_every_image(figures, tmp_path):
    heights = []
    for runs in (1, 3):
        rows = [ImageRow("original", RNG.random((10, 1, 8, 8)))]
        rows += [
            ImageRow(f"run {i}", RNG.random((10, 1, 8, 8)), 0.01 * (i + 1)) for i in range(runs)
        ]
        path = tmp_path / f"{runs}.png"
        compare_sheet.image_rows(path, rows, columns="0123456789", title="t", caption="c")
        heights.append(size(path)[1])
        assert sum(len(ax.images) for ax in figures[-1].axes) == 10 * (runs + 1)
    assert heights[1] - heights[0] == 2 * (80 + compare_sheet.GAP)
    assert {"MSE", "0.0100", "0.0300", "run 2", "original", "9"} <= set(texts(figures[-1]))


def test_a_sheet_without_errors_has_no_column_for_them(figures, tmp_path):
    rows = [
        ImageRow("test images", RNG.random((4, 3, 16, 12))),
        ImageRow("r", RNG.random((4, 3, 16, 12))),
    ]
    compare_sheet.image_rows(tmp_path / "a.png", rows, title="t")
    assert "MSE" not in texts(figures[-1])
    size(tmp_path / "a.png")


def test_a_long_name_stays_on_the_sheet(figures, tmp_path):
    name = "a run with a name that is longer than any name of a run should be, really, and more"
    rows = [ImageRow(name, RNG.random((10, 1, 28, 28)))] * 2
    compare_sheet.image_rows(tmp_path / "a.png", rows, title="t")
    fig = figures[-1]
    renderer = fig.canvas.get_renderer()
    for ax in fig.axes:
        for text in ax.texts:
            assert text.get_window_extent(renderer).x0 >= 0


@pytest.mark.parametrize("runs", [1, 6])
def test_points_get_a_panel_for_each_run_and_one_for_the_data(runs, figures, tmp_path):
    rows = [ImageRow(f"run {i}", RNG.normal(size=(300, 2)), 0.5) for i in range(runs)]
    compare_sheet.point_panels(tmp_path / "a.png", RNG.normal(size=(400, 2)), rows, title="t")
    shown = [ax for ax in figures[-1].axes if ax.axison]
    assert len(shown) == runs + 1
    assert shown[0].get_title(loc="left") == "test split"
    assert "MSE 0.5" in shown[-1].get_title(loc="left")
    size(tmp_path / "a.png")


# --- quality against speed


def test_the_front_is_what_nobody_beats():
    a, b, c, d, e = (Point(n, look("vae"), *xy) for n, xy in zip(
        "abcde", [(1, 9), (2, 5), (3, 6), (4, 5), (5, 1)], strict=True))  # fmt: skip
    assert pareto([e, d, c, b, a]) == [a, b, e]
    assert pareto([]) == []


def sweep_points():
    found = [Point(m, look(m), 2e-5 * (1 + 0.1 * i), 40 - 4 * i, 38 - 4 * i, 42 - 4 * i, m)
             for i, m in enumerate(("vae", "autoencoder", "latent_flow", "gan"))]  # fmt: skip
    return found + [
        Point(f"ddim, {n} steps", look("ddpm"), n * 3e-5, 5 + 300 / n, None, None, "d")
        for n in (10, 20, 50, 100, 250)
    ]


def test_quality_and_speed_draw_every_point_the_floor_and_names_apart(figures, tmp_path):
    points = sweep_points()
    frontier.frontier(tmp_path / "a.png", [FrontierPanel("p", points, 4.0)], title="t")
    ax = figures[-1].axes[0]
    dots = [line for line in ax.lines if line.get_marker() in {f.marker for f in FAMILIES.values()}
            and line.get_fillstyle() == "full"]  # fmt: skip
    assert len(dots) == len(points)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert any(np.allclose(line.get_ydata(), 4.0) for line in ax.lines)
    rings = [line for line in ax.lines if line.get_fillstyle() == "none"]
    assert len(rings[0].get_xdata()) == len(pareto(points))
    assert len(boxes(ax)) == len(points)
    assert apart(boxes(ax))
    frame = ax.get_window_extent()
    assert all(b.x0 > frame.x0 - 1 and b.x1 < frame.x1 + 1 for b in boxes(ax))
    size(tmp_path / "a.png")


def test_a_name_nearer_to_another_point_has_a_line_to_its_own(figures, tmp_path):
    # two families in a clump, as twelve runs of a sweep on digits fell
    spots = [
        (1.9, 63.7),
        (2.0, 65),
        (2.52, 97),
        (2.57, 71),
        (5.8, 71.8),
        (5.85, 108.7),
        (5.6, 80.7),
    ]
    points = [Point(f"bottleneck={i}", look("vae"), x * 1e-6, y) for i, (x, y) in enumerate(spots)]
    frontier.frontier(tmp_path / "a.png", [FrontierPanel("p", points, 0.5)], title="t")
    ax = figures[-1].axes[0]
    dots = ax.transData.transform([(p.seconds, p.quality) for p in points])
    lost = 0
    for text in ax.texts:
        own = int(text.get_text().removeprefix("bottleneck="))
        box = text.get_window_extent()
        off = np.maximum.reduce([[box.x0, box.y0] - dots, dots - [box.x1, box.y1], 0 * dots])
        if np.hypot(*off.T).argmin() != own:
            lost += 1
            assert text.arrow_patch is not None
    assert lost  # else this tests nothing


def test_of_many_points_only_the_front_is_named(figures, tmp_path):
    points = [Point(f"run {i}", look("vae"), 1e-4 * (1 + i % 7), 10.0 + i) for i in range(40)]
    frontier.frontier(tmp_path / "a.png", [FrontierPanel("p", points)], title="t")
    assert len(boxes(figures[-1].axes[0])) == len(pareto(points)) < 5


def test_few_and_odd_points_are_a_figure_too(figures, tmp_path):
    odd = [
        [],
        [Point("one", look("gan"), 1e-3, 3.0)],
        [Point("a", look("gan"), 1e-3, 0.0), Point("b", look("vae"), 1e-3, 0.0)],
        [Point("a", look("gan"), 1e-3, float("nan")), Point("b", look("vae"), 0.0, 2.0)],
        [
            Point("a", look("gan"), 1e-3, -0.02, -0.1, 0.1),
            Point("b", look("vae"), 1.0, 3.0, 2.9, 3.1),
        ],
    ]
    floors = (1.0, None, 1.0, None, 1.0)
    panels = [
        FrontierPanel(f"panel {i}", *both) for i, both in enumerate(zip(odd, floors, strict=True))
    ]
    frontier.frontier(tmp_path / "a.png", panels, title="t")
    assert sum(ax.axison for ax in figures[-1].axes) == len(odd)
    size(tmp_path / "a.png")


# --- rate and distortion


def test_the_knee_is_where_a_bent_curve_bends():
    k = np.array([1, 2, 4, 8, 16, 32, 64.0])
    bent = np.where(k <= 8, k**-2.0, 8**-2.0 * (k / 8) ** -0.2)
    assert k[rd.knee(k, bent)] == 8


@pytest.mark.parametrize(
    "mse",
    [
        lambda k: k**-1.0,  # a power law has none
        lambda k: k**0.5,  # does not fall
        lambda k: 0 * k,
        lambda k: np.exp(-(k**0.9) / 9),  # bends the other way
    ],
)
def test_a_curve_without_a_knee_has_none(mse):
    k = np.array([1, 2, 4, 8, 16.0])
    assert rd.knee(k, mse(k)) is None


def test_two_points_have_no_knee():
    assert rd.knee(np.array([2, 4]), np.array([0.2, 0.1])) is None


def curve(label, model, mse):
    mse = np.array(mse)
    return rd.RateCurve(
        label, look(model), 2.0 ** np.arange(1, 1 + len(mse)), mse, 0.9 * mse, 1.1 * mse
    )


def test_bottlenecks_show_curves_intervals_floor_knee_and_psnr(figures, tmp_path):
    curves = [curve("VAE", "vae", [0.1, 0.02, 0.018, 0.017]),
              curve("autoencoder", "autoencoder", [0.1, 0.05, 0.025, 0.0125])]  # fmt: skip
    floor = (np.array([2, 4, 8, 16.0]), np.array([0.12, 0.09, 0.05, 0.02]))
    rd.rate_distortion(tmp_path / "a.png", curves, floor, title="t")
    ax, right = figures[-1].axes
    names = [t.get_text() for t in ax.texts if t.get_text()]
    assert names == ["VAE, knee at 4", "autoencoder", "PCA, a linear code"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "4", "8", "16"]
    np.testing.assert_allclose(right.get_ylim(), -10 * np.log10(ax.get_ylim()))
    assert len(ax.collections) == 2  # the intervals of each curve
    assert apart(boxes(ax))
    size(tmp_path / "a.png")


def test_bottlenecks_without_floor_interval_and_psnr(figures, tmp_path):
    none = np.full(3, np.nan)
    lines = [
        rd.RateCurve("mine", look("mine"), np.array([1, 2, 3.0]), np.array([3, 2, 1.0]), none, none)
    ]
    rd.rate_distortion(tmp_path / "a.png", lines, None, psnr=False, title="t")
    assert len(figures[-1].axes) == 1
    size(tmp_path / "a.png")


# --- losses


def line(label, model="vae", n=20, start=1.0):
    e = np.arange(1.0, n + 1)
    return curves.LossCurve(e, start / e, seconds=e * 0.3, label=label, look=look(model))


def test_each_objective_has_its_own_two_panels(figures, tmp_path):
    objectives = [
        curves.CurvePanel("mse loss", [line("a"), line("b", start=2.0)]),
        curves.CurvePanel("generator", [line("gan", "gan", 9, -1.0)], falls=False),
    ]
    curves.overlay(tmp_path / "a.png", objectives, title="t")
    axes = figures[-1].axes
    assert len(axes) == 4
    assert [ax.get_yscale() for ax in axes] == ["log", "log", "linear", "linear"]
    assert [t.get_text() for t in axes[1].texts if t.get_text()] == ["a  0.05", "b  0.1"]
    assert [t.get_text() for t in axes[3].texts if t.get_text()] == ["gan"]
    assert axes[0].lines[0].get_xdata()[-1] == pytest.approx(6.0)
    assert axes[1].lines[0].get_xdata()[-1] == 20
    assert axes[0].get_title(loc="left") == "mse loss, log axis"
    size(tmp_path / "a.png")


def test_names_of_many_curves_stay_apart_and_on_the_figure(figures, tmp_path):
    lines = [line(f"run with a long name {i}") for i in range(30)]
    curves.overlay(tmp_path / "a.png", [curves.CurvePanel("x", lines)], title="t")
    ax = figures[-1].axes[1]
    found = boxes(ax)
    assert len(found) == curves.MOST_LINES
    assert apart(found)
    assert max(b.x1 for b in found) <= figures[-1].bbox.width
    assert any("6 more curves" in t for t in texts(figures[-1]))


def test_a_diverged_run_and_a_comparison_without_losses_are_figures_too(figures, tmp_path):
    dead, huge = (
        curves.LossCurve(np.arange(3.0), np.array(values), seconds=np.arange(3.0), label="x")
        for values in ([np.nan] * 3, [1e6, 3.0, -1.0])
    )
    curves.overlay(tmp_path / "a.png", [curves.CurvePanel("x", [dead])], title="t")
    assert "no finite value" in texts(figures[-1])
    curves.overlay(tmp_path / "b.png", [curves.CurvePanel("x", [dead, huge])], title="t")
    assert figures[-1].axes[0].get_yscale() == "symlog"
    curves.overlay(tmp_path / "c.png", [], title="t")
    assert "no run has a validation loss" in texts(figures[-1])


# --- codes and prior


@pytest.mark.parametrize("k", [1, pytest.param(2, marks=pytest.mark.slow), 16])
def test_codes_and_draws_share_a_frame(k, figures, tmp_path):
    pairs = [
        codes.CodesAndDraws(
            *(f"run {i}", "N(0, I)", 3 * RNG.normal(size=(200, k)), RNG.normal(size=(200, k))),
            *(0.05, 0.01 * i),
        )
        for i in range(2)
    ]
    codes.posterior_prior(tmp_path / "a.png", pairs, title="t")
    top, _, bottom, other = figures[-1].axes
    assert top.get_xlim() == bottom.get_xlim()
    assert "mismatch 5 %" in bottom.get_xlabel()
    assert "5.0 ×" in other.get_xlabel()
    size(tmp_path / "a.png")


def test_the_projection_is_that_of_the_codes():
    x = RNG.normal(size=(500, 6)) * np.array([1, 9, 1, 5, 1, 1.0]) + 7
    ours, other = codes.project(x, x[:10])
    np.testing.assert_allclose(ours[:10], other)
    np.testing.assert_allclose(ours.std(0), [9, 5], rtol=0.1)
    np.testing.assert_allclose(ours.mean(0), 0, atol=1e-9)


# --- one evaluation


def test_closest_pairs_show_ten_pairs_and_as_many_of_unseen_images(figures, tmp_path):
    grey, x = RNG.random((12, 1, 8, 8)), RNG.random((12, 3, 8, 8))
    d = np.linspace(0.5, 0.9, 12)
    evaluated.closest_pairs(tmp_path / "a.png", grey, grey, d, p=0.4, title="t")
    assert sum(len(ax.images) for ax in figures[-1].axes) == 20
    evaluated.closest_pairs(tmp_path / "b.png", x, x, d, (x, x, d), p=1e-9, title="t")
    assert sum(len(ax.images) for ax in figures[-1].axes) == 40
    assert "0.500" in texts(figures[-1])
    assert size(tmp_path / "b.png")[1] > 1.5 * size(tmp_path / "a.png")[1]


def test_a_p_value_is_put_into_words():
    assert evaluated.in_words(0.3).startswith("samples lie no closer")
    assert "p = 0.3" in evaluated.in_words(0.3)
    assert evaluated.in_words(1e-9).startswith("samples lie closer")
    assert "p < 0.001" in evaluated.in_words(1e-9)
    assert "no number" in evaluated.in_words(float("nan"))


@pytest.mark.parametrize("k", [10, pytest.param(26, marks=pytest.mark.slow), 41])
def test_class_shares_name_every_class_and_those_never_sampled(k, figures, tmp_path):
    real, shares = np.full(k, 1 / k), RNG.dirichlet([9] * k)
    shares[-1] = 0
    names = [f"class {i}" for i in range(k)]
    path = tmp_path / "a.png"
    evaluated.class_shares(path, names, shares, shares * 0.8, shares * 1.2, real, title="t")
    fig = figures[-1]
    ticks = [t.get_text() for ax in fig.axes
             for t in (ax.get_xticklabels() if k <= 40 else ax.get_yticklabels())]  # fmt: skip
    assert sorted(ticks) == sorted(names)
    said = " ".join(texts(fig))
    assert f"{k - 1} of {k} classes" in said
    assert f"class {k - 1}" in said
    assert style.number(0.5 * np.abs(shares - real).sum()) in said
    size(path)
