"""The autoencoder: sizes, the noisy input, other target images, what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models.autoencoder import Autoencoder
from genai_cli.networks.gaussian_mixture import Mixture
from genai_cli.rng import RowGenerator

MSE = {"name": "mse"}
MNIST = Spec(event_shape=(1, 28, 28), levels=256, unit_interval=True)
LINEAR = {"output_activation": "linear"}


@pytest.fixture
def autoencoder(build: Callable[..., Autoencoder]) -> Callable[..., Autoencoder]:
    def make(data: Spec = MNIST, bottleneck: int = 3, loss: dict = MSE, **keys) -> Autoencoder:
        return build("autoencoder", data, loss, bottleneck, **(LINEAR | keys))

    return make


@pytest.mark.parametrize(
    ("widths", "bottleneck", "parameters"), [([128], 64, 218_192), ([128, 64, 32], 16, 223_456)]
)
def test_fully_connected_sizes_are_the_textbooks(autoencoder, widths, bottleneck, parameters):
    model = autoencoder(widths=widths, bottleneck=bottleneck)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_convolutional_size_is_counted_by_hand(autoencoder):
    model = autoencoder(network="conv", channels=[4, 8], hidden=5, depth=1, bottleneck=3)
    kernels = (16 * 1 * 4 + 4) + (16 * 4 * 8 + 8)  # down
    kernels += (16 * 8 * 4 + 4) + (16 * 4 * 1 + 1)  # up
    residual = 2 * sum(2 * (9 * c * c + c) for c in (4, 8))
    flat = 8 * 7 * 7
    dense = (flat * 5 + 5) + (5 * 3 + 3) + (3 * 5 + 5) + (5 * flat + flat)
    assert sum(p.numel() for p in model.parameters()) == kernels + residual + dense


def test_loss_is_the_error_of_the_reconstruction(autoencoder):
    model, x = autoencoder(output_activation="sigmoid"), torch.rand(4, 1, 28, 28)
    terms = model.loss(Batch(x, None), {})
    wanted = F.mse_loss(model.reconstruct(x), x, reduction="none").mean((1, 2, 3))
    torch.testing.assert_close(terms, {"loss": wanted})


def test_other_losses_log_mse_beside_their_own(autoencoder):
    keys = {"output_activation": "sigmoid"}
    model, x = autoencoder(loss={"name": "bce"}, **keys), torch.rand(4, 1, 28, 28)
    terms, rebuilt = model.loss(Batch(x, None), {}), model.reconstruct(x)
    bce = F.binary_cross_entropy(rebuilt, x, reduction="none").mean((1, 2, 3))
    mse = (rebuilt - x).square().mean((1, 2, 3))
    torch.testing.assert_close(terms, {"loss": bce, "mse": mse})


def test_denoising_rebuilds_the_clean_image_from_x_plus_eps(autoencoder):
    model, x = autoencoder(denoise=0.4), torch.rand(4, 1, 28, 28)
    noise = model.noise(4, torch.Generator().manual_seed(0))
    assert noise["eps"].shape == x.shape
    rebuilt = model.reconstruct(x + 0.4 * noise["eps"])
    wanted = (rebuilt - x).square().mean((1, 2, 3))
    torch.testing.assert_close(model.loss(Batch(x, None), noise)["loss"], wanted)


def test_without_denoising_there_is_no_noise(autoencoder):
    assert autoencoder().noise(4, torch.Generator()) == {}


@pytest.mark.parametrize("network", ["fc", "conv"])
@pytest.mark.parametrize("target", [(1, 28, 28), (1, 8, 6), (3, 15, 9)])
def test_a_target_image_of_any_size_is_what_is_rebuilt(autoencoder, network, target):
    data = Spec(event_shape=(1, 8, 6), target="image", target_shape=target, unit_interval=True)
    model = autoencoder(data, network=network, channels=[4, 4])
    x, y = torch.rand(2, 1, 8, 6), torch.rand(2, *target)
    wanted = (model.reconstruct(x) - y).square().mean((1, 2, 3))
    torch.testing.assert_close(model.loss(Batch(x, y), {})["loss"], wanted)
    assert model.decode(torch.zeros(5, 3)).shape == (5, *target)


def test_code_activation_bounds_the_code(autoencoder):
    for network in ("fc", "conv"):
        model = autoencoder(network=network, code_activation="tanh")
        model.requires_grad_(False)
        code = model.encode(1e4 * torch.rand(4, 1, 28, 28))
        assert code.abs().max() <= 1
        assert code.abs().max() > 0.99


@pytest.mark.parametrize(
    ("data", "keys", "words"),
    [
        (Spec(event_shape=(13,)), {"network": "conv"}, ("13 columns", "model.network=fc")),
        (
            Spec(event_shape=(1, 8, 8)),
            {"network": "conv", "channels": [2, 2, 2, 2]},
            ("model.channels=[2, 2, 2, 2]", "8×8", "at most 3"),
        ),
        (
            Spec(event_shape=(1, 28, 7)),
            {"network": "conv", "channels": [2, 2, 2]},
            ("28×7", "at most 2"),
        ),
        (MNIST, {"network": "conv", "channels": []}, ("model.channels",)),
        (MNIST, {"network": "cnn"}, ("model.network=cnn", "fc, conv")),
        (MNIST, {"widths": [128, 0]}, ("model.widths", ">= 1")),
        (MNIST, {"dropout": 1.0}, ("model.dropout=1.0", "< 1")),
        (MNIST, {"loss": {"name": "gaussian"}}, ("loss=gaussian",)),
    ],
)
def test_what_cannot_be_built_is_one_line(autoencoder, data, keys, words):
    with pytest.raises(UserError) as caught:
        autoencoder(data, **keys)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def clusters(n: int = 4000) -> torch.Tensor:
    """Codes (n, 2) of two far clusters, one of them three times as large and correlated."""
    draws = torch.Generator().manual_seed(0)
    eps = torch.randn(n, 2, generator=draws)
    tilted = eps @ torch.tensor([[1.0, 0.0], [0.8, 0.6]]).T
    first = torch.arange(n) < 3 * n // 4
    return torch.where(first[:, None], tilted + 10, 0.1 * eps - 10)


def test_the_mixture_finds_weights_means_and_covariances():
    mixture, z = Mixture(2), clusters()
    mixture.fit(z)
    order = mixture.weights.argsort()
    torch.testing.assert_close(mixture.weights[order], torch.tensor([0.25, 0.75]))
    for k, part in zip(order, (z[3000:], z[:3000]), strict=True):
        torch.testing.assert_close(mixture.means[k], part.mean(0), rtol=1e-3, atol=1e-3)
        covariance = mixture.scales[k] @ mixture.scales[k].T
        torch.testing.assert_close(covariance, part.T.cov(correction=0), rtol=1e-2, atol=2e-3)


def test_draws_from_the_mixture_have_its_moments_and_rows_of_their_own():
    mixture, z = Mixture(2), clusters()
    mixture.fit(z)
    drawn = mixture.sample(20_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), z.mean(0), rtol=0, atol=0.3)
    torch.testing.assert_close(drawn.T.cov(), z.T.cov(), rtol=0.03, atol=0.5)
    parts = [mixture.sample(n, RowGenerator(0, "sample", i, n)) for i, n in ((0, 3), (3, 30))]
    whole = mixture.sample(33, RowGenerator(0, "sample", 0, 33))
    torch.testing.assert_close(torch.cat(parts), whole)
    cold = mixture.sample(100, torch.Generator().manual_seed(1), temperature=0.0)
    nearest = (cold[:, None] - mixture.means).abs().sum(2).amin(1)
    assert nearest.max() < 1e-12


@pytest.mark.parametrize(
    ("n", "d", "components"), [(1, 3, 1), (6, 16, 1), (200, 3, 10), (45, 3, 2)]
)
def test_few_codes_get_few_components(n, d, components):
    mixture = Mixture(10)
    mixture.fit(torch.randn(n, d, generator=torch.Generator().manual_seed(0)))
    assert len(mixture.weights) == components
    assert mixture.sample(5).isfinite().all()


def test_codes_that_never_vary_are_drawn_as_they_are():
    mixture = Mixture(10)
    mixture.fit(torch.full((100, 2), 3.0))
    torch.testing.assert_close(mixture.sample(4), torch.full((4, 2), 3.0), rtol=0, atol=1e-4)


def test_sampling_needs_finish_and_is_not_saved(autoencoder):
    model, x = autoencoder(widths=[16]), torch.rand(50, 1, 28, 28)
    saved = set(model.state_dict())
    with pytest.raises(UserError, match="finish"):
        model.sample(2)
    model.finish([Batch(x[:30], None), Batch(x[30:], None)])
    assert set(model.state_dict()) == saved
    draws = [model.sample(5, generator=RowGenerator(0, "sample", 0, 5)) for _ in range(2)]
    assert torch.equal(*draws)
    cold = model.sample(20, generator=RowGenerator(0, "sample", 0, 20), temperature=0.0)
    assert len(cold.flatten(1).round(decimals=9).unique(dim=0)) <= len(model.density.weights)
    model.finish([Batch(x * torch.nan, None)])  # as with weights that diverged
    with pytest.raises(UserError, match="finite"):
        model.sample(2)
