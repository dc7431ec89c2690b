"""The backbones: exact sizes, masks, identities at the start, the layer table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models.autoencoder import Autoencoder
from genai_cli.models.summary import layers
from genai_cli.networks.conv import ConvDecoder, ConvEncoder, check_stages, halvings
from genai_cli.networks.mlp import ACTIVATIONS, MLP
from genai_cli.networks.pair import dropout_masks, make_pair, split_mask

SIDES = [(2, 2), (2, 9), (3, 5), (4, 7), (7, 13), (8, 8), (15, 9), (16, 31), (28, 28), (33, 64)]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("side", "stages", "sides"),
    [(28, 0, [28]), (28, 3, [28, 14, 7, 3]), (15, 3, [15, 7, 3, 1]), (32, 5, [32, 16, 8, 4, 2, 1])],
)
def test_halvings_are_whole_halves(side: int, stages: int, sides: list[int]):
    assert halvings(side, stages) == sides


def test_conv_networks_give_exact_sizes_for_every_number_of_stages():
    for h, w in SIDES:
        for stages in range(1, int(min(h, w)).bit_length()):
            channels = list(range(2, 2 + stages))
            encoder = ConvEncoder((3, h, w), channels, out=5, depth=1)
            decoder = ConvDecoder((3, h, w), channels, code=5, depth=1)
            maps: list[tuple[int, ...]] = []
            for stage in encoder.stages:
                stage.register_forward_hook(lambda m, i, out, maps=maps: maps.append(out.shape[2:]))
            code = encoder(torch.rand(2, 3, h, w))
            assert code.shape == (2, 5), (h, w)
            assert maps == list(
                zip(halvings(h, stages)[1:], halvings(w, stages)[1:], strict=True)
            ), (h, w)
            assert decoder(code).shape == (2, 3, h, w), (h, w)


def test_stages_are_allowed_down_to_one_pixel_and_no_further():
    for h, w in SIDES:
        most = int(min(h, w)).bit_length() - 1
        check_stages((1, h, w), [1] * most)
        with pytest.raises(UserError, match=rf"halves an image {most + 1} times.*at most {most}"):
            check_stages((1, h, w), [1] * (most + 1))


def test_residual_blocks_start_as_identities():
    for name in ACTIVATIONS:
        deep = ConvEncoder((1, 8, 8), [4, 6], out=3, activation=name, depth=2)
        plain = ConvEncoder((1, 8, 8), [4, 6], out=3, activation=name, depth=0)
        plain.load_state_dict({k: v for k, v in deep.state_dict().items() if "blocks" not in k})
        x = torch.rand(2, 1, 8, 8)
        assert torch.equal(deep(x), plain(x)), name
        (block, _), _ = deep.blocks
        (gradient,) = torch.autograd.grad(deep(x).sum(), block.second.weight)
        assert gradient.abs().max() > 0, name  # and can leave it


def test_mlp_is_linear_maps_with_activations_between():
    for name in ACTIVATIONS:
        network, x = MLP([3, 4, 5, 2], name, last="tanh"), torch.randn(6, 3)
        activation = {
            "linear": nn.Identity(),
            "elu": nn.ELU(),
            "gelu": nn.GELU(),
            "silu": nn.SiLU(),
            "relu": nn.ReLU(),
            "tanh": nn.Tanh(),
            "sigmoid": nn.Sigmoid(),
            "leaky_relu": nn.LeakyReLU(),
        }[name]
        a, b, c = network.layers
        twin = nn.Sequential(a, activation, b, activation, c, nn.Tanh())
        torch.testing.assert_close(network(x), twin(x), msg=f"{name}: {{}}".format)


def test_mlp_mask_covers_its_hidden_units_in_order():
    network, x = MLP([3, 4, 5, 2]), torch.randn(6, 3)
    assert network.droppable == 9
    keep = torch.randint(2, (6, 9)).float() * 2
    a, b, c = network.layers
    wanted = c(F.relu(b(F.relu(a(x)) * keep[:, :4])) * keep[:, 4:])
    torch.testing.assert_close(network(x, keep), wanted)


@pytest.fixture(params=["fc", "conv"])
def pair(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module]:
    return make_pair(
        request.param,
        (2, 8, 6),
        (1, 7, 9),
        3,
        encoder_out=4,
        widths=[10, 6],
        channels=[3, 5],
        depth=1,
    )


def test_a_pair_maps_event_to_code_and_code_to_target(pair):
    encoder, decoder = pair
    assert encoder(torch.rand(2, 2, 8, 6)).shape == (2, 4)
    assert decoder(torch.rand(2, 3)).shape == (2, 1, 7, 9)


@pytest.mark.parametrize("part", [0, 1])
def test_a_mask_reaches_every_droppable_unit_of_its_own_example(pair, part: int):
    network = pair[part]
    inputs = torch.rand((2, 2, 8, 6) if part == 0 else (2, 3))
    keep = torch.ones(2, network.droppable, requires_grad=True)
    torch.testing.assert_close(network(inputs, keep), network(inputs))
    (influence,) = torch.autograd.grad(network(inputs, keep)[0].sum(), keep)
    assert (influence[1] == 0).all()
    assert (influence[0] != 0).sum() > network.droppable // 4  # the rest: dead relus
    zeros = torch.zeros(2, network.droppable)
    assert torch.equal(*network(inputs, zeros))  # nothing of x is left


def test_masks_of_several_networks_lie_side_by_side(pair):
    n = [network.droppable for network in pair]
    masks = dropout_masks(7, 0.4, pair, torch.Generator().manual_seed(0))
    assert masks["keep"].shape == (7, sum(n))
    down, up = split_mask(masks["keep"], *pair)
    assert torch.equal(torch.cat([down, up], 1), masks["keep"])
    assert [down.shape[1], up.shape[1]] == n
    assert split_mask(None, *pair) == [None, None]


def test_no_mask_is_drawn_at_rate_zero_or_without_hidden_units():
    draws = torch.Generator().manual_seed(0)
    before = draws.get_state()
    assert dropout_masks(7, 0.0, [MLP([3, 4, 2])], draws) == {}
    assert dropout_masks(7, 0.5, [MLP([3, 2])], draws) == {}
    assert torch.equal(draws.get_state(), before)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_are_inverted_dropout(rate: float):
    keep: Tensor = dropout_masks(2000, rate, [MLP([1, 100, 1])], torch.Generator())["keep"]
    deviation = (rate * (1 - rate) / keep.numel()) ** 0.5
    assert abs((keep == 0).double().mean().item() - rate) < 5 * deviation
    torch.testing.assert_close(keep.max().item(), 1 / (1 - rate), rtol=1e-6, atol=0)
    assert abs(keep.double().mean().item() - 1) < 5 * deviation / (1 - rate)


@pytest.fixture(params=["fc", "conv"])
def autoencoder(request: pytest.FixtureRequest) -> Autoencoder:
    data = Spec(event_shape=(1, 8, 9), unit_interval=True)
    keys = {"channels": [2, 4], "widths": [6], "depth": 1, "hidden": 5}
    model = Autoencoder(data, {"name": "mse"}, 3, network=request.param, **keys)
    model.extra = nn.Parameter(torch.zeros(7))  # outside every layer
    return model


@pytest.fixture
def one() -> Batch:
    return Batch(torch.rand(1, 1, 8, 9), None)


def test_the_layers_count_every_parameter_once(autoencoder: Autoencoder, one: Batch):
    found = layers(autoencoder, one, {})
    assert sum(x.parameters for x in found) == sum(p.numel() for p in autoencoder.parameters())
    assert found[0].shape in ("6", "2×4×4")
    assert found[-1] == ("other parameters", "", 7, 0)


def test_the_layers_count_the_multiply_adds_torch_counts(autoencoder: Autoencoder, one: Batch):
    with FlopCounterMode(display=False) as torchs, torch.no_grad():
        autoencoder.loss(one, {})
    assert sum(x.work for x in layers(autoencoder, one, {})) == torchs.get_total_flops() / 2


def test_looking_at_the_layers_changes_nothing(autoencoder: Autoencoder, one: Batch):
    before = {k: v.clone() for k, v in autoencoder.state_dict().items()}
    layers(autoencoder, one, {})
    assert all(torch.equal(before[k], v) for k, v in autoencoder.state_dict().items())
    assert autoencoder.training
    assert not any(module._forward_hooks for module in autoencoder.modules())
