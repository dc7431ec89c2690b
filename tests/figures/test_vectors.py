"""Points, tables and latent spaces: every number of dimensions, classes and examples."""

import numpy as np
import pytest
from PIL import Image

from genai_cli.figures import latent as room
from genai_cli.figures.latent import latent
from genai_cli.figures.scatter import scatter_reconstructions, scatter_samples
from genai_cli.figures.tables import _kolmogorov_smirnov, reconstructions_table, samples_table

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(0)


def check(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert 4_000 < path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert image.width <= 2200
        assert len(image.convert("L").getcolors()) > 20


def gauss(n, k):
    return RNG.normal(size=(n, k))


NAN_CODES = gauss(30, 4)
NAN_CODES[3] = np.nan
LABELS = {
    "K = 1": (gauss(200, 1), RNG.integers(0, 10, 200)),
    "K = 1, continuous": (gauss(200, 1), RNG.random(200)),
    "K = 1, constant": (np.ones((20, 1)), np.zeros(20, int)),
    "K = 16": (gauss(200, 16), RNG.integers(0, 20, 200)),
    "K = 784": (gauss(60, 784), None),
    "50 classes": (gauss(400, 8), RNG.integers(0, 50, 400)),
    "continuous with nan": (gauss(3, 8), np.array([0.5, np.nan, 1.0])),
    "constant codes": (np.ones((50, 4)), RNG.integers(0, 3, 50)),
    "one example": (gauss(1, 4), np.array([1])),
    "none": (np.zeros((0, 4)), np.zeros(0, int)),
    "nan": (NAN_CODES, RNG.integers(0, 3, 30)),
    "only nan": (np.full((5, 4), np.nan), np.zeros(5, int)),
    "many": (gauss(20_000, 2), RNG.integers(0, 2, 20_000)),
}


LESS = (  # in the slow run alone
    *("K = 784", "50 classes", "one example", "constant codes", "continuous with nan"),
    "K = 1, continuous",
)


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * (c in LESS)) for c in LABELS]
)
def test_latent(case, tmp_path):
    codes, labels = LABELS[case]
    classes = tuple(f"class number {i} with a long name" for i in range(50))
    latent(tmp_path / "latent.png", codes, labels, classes, title="AE on digits")
    check(tmp_path / "latent.png")


def test_principal_components_are_those_of_the_data():
    codes = gauss(500, 6) * np.array([5.0, 3.0, 1.0, 0.1, 0.1, 0.1])
    points, names = room._principal(codes)
    values = np.sort(np.linalg.eigvalsh(np.cov(codes.T, bias=True)))[::-1]
    np.testing.assert_allclose(points.var(axis=0), values[:2], rtol=1e-9)
    share = [f"PC {i + 1} ({100 * values[i] / values.sum():.0f} %)" for i in range(2)]
    assert list(names) == share


@pytest.mark.parametrize(("n", "labels"), [(1, "floats"), (300, "classes")])
def test_scatter_reconstructions(n, labels, tmp_path):
    x = gauss(n, 2)
    y = {"none": None, "classes": RNG.integers(0, 2, n), "floats": RNG.random(n)}[labels]
    scatter_reconstructions(tmp_path / "a.png", x, x * 0.9, y, title="AE on moons")
    check(tmp_path / "a.png")


def test_scatter_samples_with_strays(tmp_path):
    samples = gauss(100, 2)
    samples[:3] += 1e9
    samples[3:6] = np.nan
    scatter_samples(tmp_path / "a.png", gauss(300, 2), samples, title="Flow on moons")
    check(tmp_path / "a.png")


@pytest.mark.slow
def test_scatters_without_data(tmp_path):
    scatter_samples(tmp_path / "a.png", gauss(0, 2), gauss(9, 2), title="Flow")
    check(tmp_path / "a.png")
    scatter_reconstructions(tmp_path / "a.png", gauss(0, 2), gauss(0, 2), None, title="AE")
    check(tmp_path / "a.png")


@pytest.mark.parametrize(("n", "d", "k"), [(0, 4, 2), (20, 50, 4)])
def test_reconstructions_table(n, d, k, tmp_path):
    x = gauss(n, d)
    names = [f"feature_{i} in $" for i in range(d)]
    reconstructions_table(tmp_path / "a.png", x, gauss(n, k), x * 0.9, names, title="AE on wine")
    check(tmp_path / "a.png")


def test_reconstructions_table_without_a_code_or_a_finite_column(tmp_path):
    x = np.ones((4, 3)) * [0.5, 0.5, np.nan]
    reconstructions_table(tmp_path / "a.png", x, None, x, list("abc"), title="AE")
    check(tmp_path / "a.png")


@pytest.mark.parametrize(("n", "m", "d"), [(0, 100, 3), (9, 5, 13)])
def test_samples_table(n, m, d, tmp_path):
    data = gauss(n, d)
    data[:, 0] = 1.0  # a constant feature
    samples = gauss(m, d)
    samples[:2, 1] = np.nan
    samples[:2, 2] = 1e12
    names = [f"feature {i}" for i in range(d)]
    samples_table(tmp_path / "a.png", data, samples, names, title="VAE on wine")
    check(tmp_path / "a.png")


def test_kolmogorov_smirnov():
    a = np.arange(10.0)
    assert _kolmogorov_smirnov(a, a) == 0
    assert _kolmogorov_smirnov(a, a + 100) == 1
    assert _kolmogorov_smirnov(a, a + 5) == pytest.approx(0.5)
    assert _kolmogorov_smirnov(a, a[:0]) is None


@pytest.mark.slow  # test_curves.py and _grids.py ask it of a chart and of a sheet
def test_the_same_arrays_give_the_same_bytes(tmp_path):
    x, y = gauss(20, 5), RNG.integers(0, 2, 20)
    for name in "ab":
        latent(tmp_path / f"latent {name}", x, y, (), title="t")
        reconstructions_table(
            tmp_path / f"table {name}", x[:2], None, x[:2], list("abcde"), title="t"
        )
        scatter_samples(tmp_path / f"scatter {name}", x[:, :2], x[:, 2:4], title="t")
    for kind in ("latent", "table", "scatter"):
        assert (tmp_path / f"{kind} a").read_bytes() == (tmp_path / f"{kind} b").read_bytes()
