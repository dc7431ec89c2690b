"""Averaged weights: the closed form, and that looking through them changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genai_cli.training.ema import Ema


class Net(nn.Module):
    """Weights, a shared weight and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2, dtype=torch.float64)
        self.again = self.a
        self.register_buffer("seen", torch.zeros(2))


def weights(t: int) -> Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(t), dtype=torch.float64)


@pytest.fixture
def net() -> Net:
    net = Net()
    with torch.no_grad():
        net.a.weight.copy_(weights(0))
    return net


def run(net: Net, ema: Ema, steps: int) -> None:
    for t in range(1, steps + 1):
        with torch.no_grad():
            net.a.weight.copy_(weights(t))
            net.seen.fill_(t)
        ema.update(net)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("steps", [0, 1, 2, 60])
def test_average_has_its_closed_form(net: Net, decay: float, steps: int):
    ema = Ema(net, decay)
    run(net, ema, steps)
    rates = [min(decay, (1 + t) / (10 + t)) for t in range(steps)]
    wanted = torch.tensor(rates, dtype=torch.float64).prod() * weights(0)
    for t, rate in enumerate(rates):
        later = torch.tensor(rates[t + 1 :], dtype=torch.float64).prod()
        wanted = wanted + (1 - rate) * later * weights(t + 1)
    torch.testing.assert_close(ema.shadow["a.weight"], wanted)


def test_first_step_replaces_nine_tenths_of_the_random_start(net: Net):
    ema = Ema(net, 0.9999)
    run(net, ema, 1)
    torch.testing.assert_close(ema.shadow["a.weight"], 0.1 * weights(0) + 0.9 * weights(1))


def test_average_of_constant_weights_is_that_weight(net: Net):
    ema = Ema(net, 0.99)
    for _ in range(50):
        ema.update(net)
    torch.testing.assert_close(ema.shadow["a.weight"], weights(0))


def test_updating_leaves_the_model_alone(net: Net):
    ema = Ema(net, 0.9)
    run(net, ema, 3)
    assert torch.equal(net.a.weight, weights(3))
    assert not any(shadow.requires_grad for shadow in ema.shadow.values())


def test_buffers_are_not_averaged(net: Net):
    ema = Ema(net, 0.9)
    assert set(ema.tensors()) == {"a.weight", "a.bias"}  # the shared weight once
    run(net, ema, 4)
    with ema.applied(net):
        assert torch.equal(net.seen, torch.full((2,), 4.0))


def test_applied_shows_the_average_and_gives_the_weights_back(net: Net):
    ema = Ema(net, 0.9)
    run(net, ema, 3)
    parameter, storage = net.a.weight, net.a.weight.data_ptr()
    with ema.applied(net):
        assert torch.equal(net.a.weight, ema.shadow["a.weight"])
        assert not torch.equal(net.a.weight, weights(3))
    assert net.a.weight is parameter
    assert net.a.weight.data_ptr() == storage  # the optimizer's own tensors
    assert torch.equal(net.a.weight, weights(3))


def test_applied_gives_the_weights_back_after_an_error(net: Net):
    ema = Ema(net, 0.9)
    run(net, ema, 3)
    with pytest.raises(ZeroDivisionError), ema.applied(net):
        _ = 1 / 0
    assert torch.equal(net.a.weight, weights(3))


def test_looking_between_steps_does_not_change_the_average(net: Net):
    plain, looked = Ema(net, 0.9), Ema(net, 0.9)
    for t in range(1, 6):
        with torch.no_grad():
            net.a.weight.copy_(weights(t))
        plain.update(net)
        looked.update(net)
        with looked.applied(net):
            pass
    assert torch.equal(plain.shadow["a.weight"], looked.shadow["a.weight"])
