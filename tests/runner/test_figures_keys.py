"""figures=NAME and figures.scale=N wherever something is drawn; figures/ itself is tested there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from genai_cli.config import validation
from genai_cli.errors import UserError

WORDS = ("epochs=1", "dataset.limit=64", "model.widths=[16]", "bottleneck=2")


def stems(folder: Path, suffix: str) -> set[str]:
    return {path.stem for path in folder.glob(f"*.{suffix}")}


def test_a_run_says_how_all_that_reads_it_draws(genai: Callable, tmp_path: Path) -> None:
    (run,) = genai("train", *WORDS, "figures=svg", "figures.scale=1.5").folders
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["figures"] == {"name": "svg", "scale": 1.5}
    assert stems(run, "svg") == stems(run, "png") == {
        "loss_curve", "reconstructions", "samples", "latent"}  # fmt: skip
    done = genai("sample", str(run), "n=4")
    assert [len(stems(f, "svg")) for f in (run / "samples").iterdir()] == [1]
    assert "grid.svg" in done.out
    done = genai("sample", str(run), "what=traversal", "n=2", "frames=3", "figures=png")
    assert "grid.png" in done.out
    assert ".svg" not in done.out
    done = genai("compare", str(run), "out=both", "figures=pdf")
    assert stems(tmp_path / "both", "pdf") == stems(tmp_path / "both", "png") >= {"losses"}
    assert "losses.pdf" in done.out
    assert not stems(tmp_path / "both", "svg")


def test_figures_of_a_finished_run_are_drawn_anew_from_the_same_numbers(genai: Callable) -> None:
    """Of one, too, that was trained before there was such a key."""
    (run,) = genai("train", *WORDS).folders
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["figures"]
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    before = json.loads((run / "summary.json").read_text())
    pictures = {path: path.read_bytes() for path in run.glob("*.png")}
    assert genai("resume", str(run)).code == 0
    assert "figures" not in yaml.safe_load((run / "config.yaml").read_text())

    done = genai("resume", str(run), "figures=pdf")
    assert done.code == 0, done.err
    assert "safe   figures.name: png → pdf" in done.out
    assert stems(run, "pdf") == stems(run, "png")
    after = json.loads((run / "summary.json").read_text())
    assert after["metrics"] == before["metrics"]
    assert after["step"] == before["step"]
    assert after["measured"] is True
    assert {path: path.read_bytes() for path in run.glob("*.png")} == pictures
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["figures"] == {"name": "pdf", "scale": 1.0}
    assert "is finished" in genai("resume", str(run), "figures=pdf").out


def test_the_line_wins_then_what_all_runs_have() -> None:
    svg = {"figures.name": "svg", "figures.scale": 1.5}
    assert validation.figure_settings({}, []) == {"name": "png", "scale": 1.0}
    assert validation.figure_settings({}, [svg, svg]) == {"name": "svg", "scale": 1.5}
    assert validation.figure_settings({}, [svg, svg | {"figures.scale": 1.2}]) == {
        "name": "svg",
        "scale": 1.0,
    }
    assert validation.figure_settings({}, [svg, {}]) == {
        "name": "png",
        "scale": 1.0,
    }  # one from before
    assert validation.figure_settings({"figures": "pdf"}, [svg]) == {"name": "pdf", "scale": 1.5}
    assert validation.figure_settings({"figures.scale": 1.1}, [svg]) == {
        "name": "svg",
        "scale": 1.1,
    }
    for odd in ({"figures.name": "../x"}, {"figures.scale": "big"}, {"figures.scale": 99}):
        with pytest.raises(UserError, match=r"figures\.\w+=.* is not allowed"):
            validation.figure_settings({}, [svg | odd])
