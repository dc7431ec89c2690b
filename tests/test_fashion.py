"""What docs/results.md claims on real Fashion-MNIST, trained at full size by the real command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.store import run_folder

PCA_16 = 0.02045  # test MSE of 16 principal components fitted on the training images

pytestmark = [pytest.mark.slow, pytest.mark.fashion]


@pytest.fixture
def trained(
    genai: Callable, fashion_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, float]]:
    """Train an experiment; its test metrics."""

    def train(name: str, *words: str) -> dict[str, float]:
        done = genai("train", f"experiment={name}", f"dataset.root={fashion_root}", *words)
        assert done.code == 0, done.err
        summary = run_folder.read_json(done.folders[-1] / "summary.json")
        return {key: entry["value"] for key, entry in summary["metrics"].items()}

    return train


def test_autoencoder_64_reaches_0080(trained: Callable) -> None:
    assert trained("fashion_autoencoder")["test/mse"] <= 0.0080


def test_conv_autoencoder_16_beats_pca_by_a_third(trained: Callable) -> None:
    assert trained("fashion_conv_autoencoder", "epochs=3")["test/mse"] < PCA_16 * 2 / 3


def test_conv_vae_does_not_collapse(trained: Callable) -> None:
    metrics = trained("fashion_conv_vae", "epochs=2")
    assert metrics["test/active_units"] >= 8
    assert metrics["test/kl"] > 10
    assert metrics["test/mse"] < PCA_16


def test_mlp_classifies(trained: Callable) -> None:
    assert trained("fashion_mlp", "epochs=8")["test/accuracy"] >= 0.885
