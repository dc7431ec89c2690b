"""One small run, trained once; each test gets copies of it to do harm to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of a VAE on digits, without figures."""
    from genai_cli.cli.front_door import main

    root = tmp_path_factory.mktemp("trained")
    words = "model=vae model.widths=[8] bottleneck=2 dataset.limit=60 batch_size=20 epochs=1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genai_cli.evaluation.run_figures.draw", lambda *about: [])
        code = main(["train", *words.split(), "trainer.max_steps=3", f"outputs={root}"])
    assert code == 0
    return next(root.glob("*/*"))


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the run in this test's outputs."""

    def make(name: str = "12-00-00-vae-digits-aaaa") -> Path:
        place = tmp_path / "outputs" / "2026-11-23" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(trained, place)
        return place

    return make
