"""What a discriminator is made of: spectral normalisation and differentiable augmentation."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from genai_cli.networks.adversarial import _start, spectral_norm, spectrally_normalised
from genai_cli.networks.conv import ConvEncoder
from genai_cli.networks.diffaug import AUGMENTATIONS, augment, color, cutout, draws, translation
from genai_cli.networks.mlp import MLP
from genai_cli.training.init import initialise

SHAPES = [(1, 8), (8, 1), (7, 9), (64, 64), (256, 64), (32, 3, 4, 4)]
NAMES = list(AUGMENTATIONS)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sigma_is_the_largest_singular_value(shape: tuple[int, ...]):
    shares = []
    for _ in range(20):
        weight = torch.randn(*shape)
        true = torch.linalg.matrix_norm(weight.flatten(1), 2)
        shares.append((spectral_norm(weight, _start(weight)) / true).item())
    assert max(shares) <= 1 + 1e-12  # the power method finds it from below
    assert min(shares) > 0.93
    assert sum(shares) / 20 > 0.985


def test_sigma_has_the_gradient_of_the_largest_singular_value():
    u, _, v = torch.linalg.svd(torch.randn(5, 7), full_matrices=False)
    weight = (u * torch.tensor([4.0, 1.0, 0.5, 0.2, 0.1]) @ v).requires_grad_()
    (gradient,) = torch.autograd.grad(spectral_norm(weight, _start(weight)), weight)
    torch.testing.assert_close(gradient, torch.outer(u[:, 0], v[0]), rtol=0, atol=1e-8)


def test_sigma_under_autocast_is_that_without():
    weight = torch.randn(16, 16, dtype=torch.float32)
    plain = spectral_norm(weight, _start(weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spectral_norm(weight, _start(weight)), plain)


@pytest.mark.parametrize("kind", ["fc", "conv"])
def test_a_normalised_network_is_that_of_the_normalised_weights(kind: str):
    plain = MLP([12, 16, 1]) if kind == "fc" else ConvEncoder((3, 8, 8), [4, 6], 1, depth=1)
    x = torch.randn(5, 12) if kind == "fc" else torch.randn(5, 3, 8, 8)
    normal = spectrally_normalised(copy.deepcopy(plain))
    plain.load_state_dict(normal.state_dict())
    layers = [m for m in plain.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.div_(spectral_norm(layer.weight, _start(layer.weight)))
    assert len(layers) > 1
    torch.testing.assert_close(normal(x), plain(x))


def test_a_normalised_map_is_one_lipschitz_and_scale_free():
    network = spectrally_normalised(MLP([12, 32, 32, 1]))
    a, b = torch.randn(2, 500, 12)
    slope = (network(a) - network(b)).abs()[:, 0] / (a - b).norm(dim=1)
    assert slope.max() < 1.05
    before = network.layers[0](a) - network.layers[0].bias
    with torch.no_grad():
        network.layers[0].weight.mul_(7)
    torch.testing.assert_close(network.layers[0](a) - network.layers[0].bias, before)


def test_start_values_reach_a_normalised_layer():
    network = spectrally_normalised(MLP([12, 32, 1]))
    before = network.layers[0].weight.clone()
    initialise(network, "orthogonal")
    assert not torch.equal(network.layers[0].weight, before)


def test_no_layer_begins_at_zero_where_it_has_no_direction():
    plain = ConvEncoder((1, 4, 4), [2], 1, depth=1)
    assert any(not p.any() for p in plain.parameters())
    network = spectrally_normalised(plain)
    assert all(p.any() for p in network.parameters())
    nn.init.zeros_(network.code.weight)
    out = network(torch.randn(3, 1, 4, 4))
    assert torch.equal(out, network.code.bias.expand(3, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_neutral_draws_leave_an_image_as_it_is(channels: int):
    x = torch.rand(4, channels, 9, 12) * 2 - 1
    torch.testing.assert_close(color(x, torch.full((4, 3), 0.5)), x)
    assert torch.equal(translation(x, torch.full((4, 2), 0.5)), x)
    assert augment(x, [], torch.empty(4, 0)) is x


def test_translation_moves_pixels_and_lets_zeros_in():
    x = torch.rand(1, 2, 16, 8) + 0.5
    moved = translation(x, torch.tensor([[0.9999, 0.0]]))  # down by 2 of 16, left by 1 of 8
    torch.testing.assert_close(moved[:, :, 2:, :-1], x[:, :, :-2, 1:])
    assert not moved[:, :, :2].any()
    assert not moved[:, :, :, -1].any()
    u = torch.rand(5000, 2)
    one = torch.zeros(5000, 1, 16, 8)
    one[:, :, 8, 4] = 1.0
    rows = translation(one, u).sum((0, 1, 3)) / 5000
    assert rows.nonzero()[:, 0].tolist() == [6, 7, 8, 9, 10]
    torch.testing.assert_close(rows[6:11], torch.full((5,), 0.2), rtol=0, atol=0.03)


def test_cutout_blanks_one_square():
    x = torch.ones(2000, 1, 8, 8)
    blank = (cutout(x, torch.rand(2000, 2)) == 0)[:, 0]
    count = blank.sum((1, 2))
    assert count.max() == 16  # a quarter, where the square lies inside
    assert count.min() < 8
    height, width = blank.any(2).sum(1), blank.any(1).sum(1)
    assert torch.equal(height * width, count)  # a rectangle
    assert blank.any(0).all()  # anywhere


def test_color_changes_brightness_saturation_and_contrast():
    x = torch.rand(1, 3, 6, 6)
    torch.testing.assert_close(color(x, torch.tensor([[1.0, 0.5, 0.5]])), x + 0.5)
    grey = color(x, torch.tensor([[0.5, 0.0, 0.5]]))
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    flat = color(x, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(flat - x.mean(), 0.5 * (x - x.mean()))


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_its_own_change_and_draws(name: str):
    change, needs = AUGMENTATIONS[name]
    x, u = torch.rand(6, 3, 8, 8), torch.rand(6, needs)
    whole = change(x, u)
    parts = torch.cat([change(x[i : i + 1], u[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(whole, parts)
    assert not torch.allclose(change(x[:1].expand(6, 3, 8, 8), u)[0], change(x, u)[1])


@pytest.mark.parametrize("names", [[n] for n in NAMES] + [NAMES], ids=str)
def test_gradients_pass_and_can_be_taken_again(names: list[str]):
    x, u = torch.rand(2, 2, 8, 8, requires_grad=True), torch.rand(2, draws(names))

    def energy(x: Tensor) -> Tensor:
        return augment(x, names, u).pow(3).sum((1, 2, 3))

    assert torch.autograd.gradcheck(energy, x)
    assert torch.autograd.gradgradcheck(energy, x)


def test_the_same_draws_are_the_same_change():
    x, y, u = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8), torch.rand(3, draws(NAMES))
    both = augment(x, NAMES, u) - augment(y, NAMES, u)  # all three are affine in the image
    brightness_free = augment(x - y, NAMES, u) - augment(torch.zeros_like(x), NAMES, u)
    torch.testing.assert_close(both, brightness_free)


def test_draws_are_used_in_the_order_of_the_names():
    x, u = torch.rand(2, 1, 8, 8), torch.rand(2, 4)
    wanted = cutout(translation(x, u[:, :2]), u[:, 2:])
    assert torch.equal(augment(x, ["translation", "cutout"], u), wanted)
