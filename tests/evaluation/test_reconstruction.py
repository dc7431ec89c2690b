"""Reconstruction errors against scikit-image and a slow loop; components against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from genai_cli.data.dataset import Dataset, Spec
from genai_cli.data.sources import load
from genai_cli.evaluation import reconstruction as measured
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.ssim import ssim
from genai_cli.models.base import Model
from genai_cli.models.build import model_class

IMAGE = Spec(event_shape=(3, 20, 23), unit_interval=True)


def noisy(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth images in [0, 1] and the same with noise."""
    draws = torch.Generator().manual_seed(seed)
    small = torch.rand(shape[0], shape[1], 4, 4, generator=draws, dtype=torch.float64)
    x = torch.nn.functional.interpolate(small, shape[2:], mode="bilinear", align_corners=False)
    noise = torch.randn(shape, generator=draws, dtype=torch.float64)
    return x, (x + 0.15 * noise).clamp(0, 1)


def slow_ssim(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """Wang et al. 2004, eq. 13, a window at a time, of one channel."""
    r = np.arange(size) - size // 2
    w = np.exp(-(r[:, None] ** 2 + r[None] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    values = []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum()
            cov = (w * (a - ma) * (b - mb)).sum()
            c1, c2 = 0.01**2, 0.03**2
            light = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
            values.append(light * (2 * cov + c2) / (va + vb + c2))
    return float(np.mean(values))


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 20, 23), (2, 1, 11, 40)])
def test_ssim_is_scikit_images(shape):
    from skimage.metrics import structural_similarity

    x, y = noisy(*shape)
    # scikit-image's mean leaves out the border that its padded filter spoils, as ours does
    wanted = [
        structural_similarity(
            *(a.numpy(), b.numpy()),
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(x, y, strict=True)
    ]
    assert np.allclose(ssim(x, y), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(8, 8, 7), (7, 30, 7), (3, 5, 3), (12, 14, 11)]
)
def test_ssim_of_small_images_takes_the_largest_odd_window(height, width, size):
    x, y = noisy(2, 2, height, width)
    wanted = [
        np.mean([slow_ssim(a[c].numpy(), b[c].numpy(), size) for c in range(2)])
        for a, b in zip(x, y, strict=True)
    ]
    assert np.allclose(ssim(x, y), wanted, rtol=0, atol=1e-12)


def test_ssim_is_one_of_the_same_and_less_of_others():
    x, y = noisy(4, 1, 16, 16)
    assert torch.allclose(ssim(x, x), torch.ones(4, dtype=torch.float64))
    assert (ssim(x, y) < 0.95).all()
    assert torch.allclose(ssim(x, y), ssim(y, x))


def test_measures_are_per_example_and_psnr_has_a_ceiling():
    x, y = noisy(5, 3, 20, 23)
    y[0] = x[0]
    found = measured.measures(y, x, IMAGE)
    mse = ((x - y) ** 2).mean((1, 2, 3))
    assert torch.allclose(found["mse"], mse)
    assert found["psnr"][0] == 100
    assert torch.allclose(found["psnr"][1:], -10 * mse[1:].log10())
    assert set(found) == {"mse", "psnr", "ssim"}
    assert set(measured.measures(y, x, IMAGE._replace(unit_interval=False))) == {"mse"}
    rows = x[:, 0, 0]
    assert set(measured.measures(rows, rows, Spec(event_shape=(23,), unit_interval=True))) == {
        "mse"
    }


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load({"name": "digits"})


def matrix(split) -> np.ndarray:
    return split.batch(torch.arange(len(split))).x.flatten(1).double().numpy()


@pytest.mark.parametrize("components", [1, 16, 40])
def test_components_are_scikit_learns(digits, components):
    n = 100
    found = measured.pca(digits, components, n)
    reference = PCA(components, svd_solver="full").fit(matrix(digits.train))
    x = matrix(digits.test)[subset(digits.test, n)]
    rebuilt = reference.inverse_transform(reference.transform(x)).clip(0, 1)
    assert np.allclose(found["mse"], ((x - rebuilt) ** 2).mean(1), rtol=1e-6)
    assert len(found["psnr"]) == len(found["ssim"]) == n


def test_the_floor_of_digits_is_the_table_of_the_literature_notes(digits):
    """16 of 64 components: .0116 unclipped in an 80 : 20 split, .0106 clipped here."""
    mse = measured.pca(digits, 16, len(digits.test))["mse"].mean().item()
    assert 0.0100 < mse < 0.0116


@pytest.mark.parametrize("components", [64, 1000])
def test_as_many_components_as_columns_lose_nothing(digits, components):
    found = measured.pca(digits, components, 20)
    assert found["mse"].max() < 1e-20
    assert (found["psnr"] == 100).all()


def test_components_of_wide_data_span_the_same_space(digits, monkeypatch):
    mean, exact = measured.components_of(digits.train, 5)
    monkeypatch.setattr(measured, "WIDEST", 10)
    again, found = measured.components_of(digits.train, 5)
    assert torch.equal(mean, again)
    assert torch.allclose(found.T @ found, torch.eye(5, dtype=torch.float64), atol=1e-10)
    x = torch.from_numpy(matrix(digits.train)) - mean
    left = [(x - x @ basis @ basis.T).square().sum().item() for basis in (exact, found)]
    assert (1 - 1e-9) * left[0] <= left[1] < 1.001 * left[0]


def test_components_of_a_table_are_not_clipped():
    data = load({"name": "wine"})
    found = measured.pca(data, 3, len(data.test))
    assert set(found) == {"mse"}
    reference = PCA(3, svd_solver="full").fit(matrix(data.train))
    x = matrix(data.test)
    rebuilt = reference.inverse_transform(reference.transform(x))
    assert np.allclose(found["mse"], ((x - rebuilt) ** 2).mean(1), rtol=1e-6)


def test_pairs_have_no_floor():
    data = load({"name": "digits", "pair": "superresolution"})
    with pytest.raises(ValueError, match="pairs"):
        measured.pca(data, 4, 10)


class Half(Model):
    """Reconstructs x as x / 2, the target image as a constant."""

    def __init__(self, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.shape = shape

    def loss(self, batch, noise, player="model"):
        raise AssertionError("measuring asks for no loss")

    def reconstruct(self, x: Tensor) -> Tensor:
        return x / 2 if self.shape is None else x.new_full((len(x), *self.shape), 0.25)


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_the_same_examples_whatever_the_batch(digits, batch):
    ticks = []
    found = measured.reconstruction(Half(), digits, n=30, batch=batch, tick=ticks.append)
    x = matrix(digits.test)[subset(digits.test, 30)]
    assert np.allclose(found["mse"], (x**2 / 4).mean(1))
    assert sum(ticks) == 30
    assert len(ticks) == math.ceil(30 / batch)


def test_a_pair_is_measured_against_its_target():
    data = load({"name": "digits", "pair": "superresolution"})
    model = Half(data.spec.target_shape)
    found = measured.reconstruction(model, data, n=10, batch=4, tick=lambda n: None)
    y = data.test.batch(subset(data.test, 10)).y.double()
    assert torch.allclose(found["mse"], (y - 0.25).square().flatten(1).mean(1))
    assert found["ssim"].shape == (10,)


def test_families_without_a_code_say_why_there_is_no_number():
    words = {"flow": "invertible", "gan": "no encoder", "ddpm": "noised", "mlp": "reconstruct"}
    for name in ("flow", "gan", "ddpm", "mlp", "vae", "autoencoder", "latent_flow"):
        said = measured.reason(model_class(name))
        assert (said is None) == (name not in words)
        assert words.get(name, "") in (said or "")
