"""The figure of what a generator learns from, and which runs of a comparison are in it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from genai_cli.comparison import charts
from genai_cli.figures import generator


def pull(loss: str, values: list[float], label: str = "a") -> generator.Pull:
    epochs = np.arange(1.0, len(values) + 1)
    return generator.Pull(label, loss, epochs, np.array(values), np.array(values) / 10)


@pytest.mark.parametrize(
    ("pulls", "panels"),
    [
        ([pull("minimax", [1.0, 1e-3, 1e-6]), pull("nonsaturating", [1.0, 2.0, 3.0])], 3),
        ([pull("hinge", [1.0, 2.0]), pull("lsgan", [0.5, 0.25], "b" * 60)], 1),
        pytest.param([pull("minimax", [0.3])], 3, marks=pytest.mark.slow),
        ([pull("minimax", [0.0, 0.0])], 3),
        ([pull("nonsaturating", [np.nan, 1.0])], 3),
        pytest.param(
            [pull("minimax", [0.1, 0.2], str(i)) for i in range(40)], 3, marks=pytest.mark.slow
        ),
    ],
)
def test_it_is_drawn_whatever_the_numbers_are(pulls, panels, tmp_path: Path):
    generator.generator(tmp_path / "a.png", pulls, title="t")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == (1560 if panels == 3 else 900)
        assert len(set(picture.convert("L").getdata())) > 20


def test_only_runs_that_recorded_a_gradient_are_compared(tmp_path: Path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        generator, "generator", lambda path, pulls, **more: drawn.extend(pulls) or path
    )
    row = {"epoch": 1, "train/generator/gradient": 0.5, "train/generator/d_fake": 0.25}
    runs = [
        SimpleNamespace(label="new", config={"loss.name": "minimax"}, metrics=[row]),
        SimpleNamespace(label="old", config={"loss.name": "minimax"}, metrics=[{"epoch": 1}]),
        SimpleNamespace(label="a VAE", config={}, metrics=[{"epoch": 1, "train/loss": 3.0}]),
    ]
    assert charts.generators(tmp_path, runs) == [tmp_path / "generator.png"]
    assert [(p.label, p.loss, *p.gradient, *p.d_fake) for p in drawn] == [
        ("new", "minimax", 0.5, 0.25)
    ]
    assert charts.generators(tmp_path, runs[1:]) == []
