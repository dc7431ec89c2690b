"""The U-Net and the MLP that are told a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from genai_cli.errors import UserError
from genai_cli.networks.time import TimeEmbedding, TimeMLP
from genai_cli.networks.unet import Attention, Block, UNet, norm, sides

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 15, 9), (1, 3, 3)]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


def awake(network: nn.Module) -> nn.Module:
    """The same network with random numbers where it starts at zero."""
    with torch.no_grad():
        for p in network.parameters():
            if not p.any():
                p.normal_(std=0.1)
    return network


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_any_size_come_back_in_their_shape(shape: tuple[int, ...]):
    for bottleneck in [1, 5, 64]:
        channels = [6, 10] if min(shape[1:]) > 4 else [6]
        network = awake(UNet(shape, channels, bottleneck, depth=2))
        x = torch.randn(3, *shape)
        out = network(x, torch.tensor([1.0, 500.0, 1000.0]))
        assert out.shape == x.shape, bottleneck
        assert out.isfinite().all(), bottleneck
        assert (out.flatten(1).std(1) > 0).all(), bottleneck


@pytest.mark.parametrize(
    "network",
    [lambda: UNet((1, 8, 8), [8], 5, classes=3), lambda: TimeMLP((1, 8, 8), [16], 5, classes=3)],
    ids=["unet", "mlp"],
)
def test_examples_time_and_class_matter_and_only_their_own(network):
    net = awake(network())
    x, t, y = torch.randn(4, 1, 8, 8), torch.tensor([1.0, 9.0, 300.0, 999.0]), torch.arange(4)
    together = net(x, t, y)
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(net(x, t + 1, y), together)
    assert not torch.allclose(net(x, t, y.flip(0)), together)


@pytest.mark.parametrize("network", [UNet, TimeMLP])
def test_a_network_starts_at_zero(network: type[nn.Module]):
    assert not network((1, 8, 8), [8], 5)(torch.randn(2, 1, 8, 8), torch.ones(2)).any()


@pytest.mark.trains
@pytest.mark.parametrize("network", ["unet", "mlp"])
def test_detail_passes_a_bottleneck_of_one(network: str, train_seed: int, assert_below: Callable):
    """What the innermost layer cannot hold goes around it: the map x → x is learned."""
    torch.manual_seed(train_seed)
    net = UNet((1, 8, 8), [8], 1) if network == "unet" else TimeMLP((1, 8, 8), [128], 1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        x = torch.randn(16, 1, 8, 8)
        loss = (net(x, torch.ones(16)) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert_below(loss.item(), 0.2)


def test_groups_divide_the_channels():
    assert [norm(c).num_groups for c in (1, 5, 6, 12, 32, 64)] == [1, 1, 3, 6, 8, 8]


def test_a_block_and_attention_start_as_the_identity():
    x, time = torch.randn(2, 6, 4, 4), torch.randn(2, 7)
    assert torch.equal(Block(6, 6, 7)(x, time), x)
    assert torch.equal(Attention(6)(x), x)


def test_attention_sees_every_pixel():
    layer = awake(Attention(6))
    x = torch.randn(1, 6, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, :, 0, 0].sum(), x)
    assert (gradient.abs().sum(1) > 0).all()


@pytest.mark.parametrize("channels", [1, 64, 65, 96, 128, 131])
def test_heads_divide_the_channels_and_are_not_too_wide(channels: int):
    heads = Attention(channels).heads
    assert channels % heads == 0
    assert channels // heads <= 64


def test_times_have_vectors_of_their_own():
    embedding = TimeEmbedding(32)
    t = torch.arange(1.0, 1001.0)
    vectors = embedding(t)
    near = torch.cdist(vectors, vectors) + torch.eye(1000)
    assert near.min() > 1e-4
    assert embedding.label is None


def test_sides_round_up():
    assert sides(15, 3) == [15, 8, 4, 2]
    assert sides(9, 2) == [9, 5, 3]


@pytest.mark.parametrize(
    ("shape", "channels", "words"),
    [
        ((5,), [8], "needs images.*5 columns.*network=mlp"),
        ((1, 8, 8), [8, 8, 8], "halves an image 3 times.*8×8.*allows 2"),
        ((1, 2, 9), [8], "3×3 pixels or more.*2×9.*network=mlp"),
        ((1, 8, 8), [], r"needs a stage in model.channels=\[\]"),
    ],
)
def test_what_cannot_be_halved_is_refused(shape, channels, words: str):
    with pytest.raises(UserError, match=words):
        UNet(shape, channels, 4)
