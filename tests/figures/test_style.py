"""The look: cheap to import, no pyplot, atomic writes, readable numbers."""

import subprocess
import sys

import pytest
from PIL import Image

from genai_cli.figures import style

pytestmark = pytest.mark.filterwarnings("error")


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_alone_imports_no_matplotlib():
    run("import sys, genai_cli.figures; assert 'matplotlib' not in sys.modules")


def test_no_figure_imports_pyplot_or_torch(tmp_path):
    path = tmp_path / "a.png"
    rooms = "curves, grids, latent, predictions, scatter, style, tables"
    run(
        f"import sys; from genai_cli.figures import {rooms};"
        f"curves.loss_curve({str(path)!r}, [], title='', unit='', best_epoch=None);"
        "assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)"
    )


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with style.styled():
        fig = style.chart(3, 2, "title")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(style.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        style.save(fig, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"old"


def test_the_png_names_no_software_version(tmp_path):
    with style.styled():
        style.save(style.chart(3, 2, "title", "detail"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert "Software" not in image.info


def test_a_users_matplotlibrc_changes_nothing(tmp_path):
    import matplotlib

    for name, size in (("a", 10.0), ("b", 30.0)):
        with matplotlib.rc_context({"font.size": size, "savefig.bbox": "tight"}):
            with style.styled():
                style.save(style.chart(3, 2, "title"), tmp_path / f"{name}.png")
            assert matplotlib.rcParams["font.size"] == size
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_numbers_are_short():
    for value, text in [
        (0.012345, "0.0123"),
        (-54.23, "−54.2"),
        (1234.5, "1,234"),
        (0.0, "0"),
        (1.23e-5, "1.2×10⁻⁵"),
        (-1e-6, "−10⁻⁶"),
        (1e8, "10⁸"),
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
    ]:
        assert style.number(value) == text, (value, text)
