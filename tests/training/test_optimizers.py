"""Optimizers by name, start values by name."""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from genai_cli.config import compose, validation
from genai_cli.config.schema import INITS, TrainConfig
from genai_cli.config.validation import SCALED
from genai_cli.errors import UserError
from genai_cli.models.base import Player
from genai_cli.training.init import SCHEMES, initialise
from genai_cli.training.optimizers import FUSED, OPTIMIZERS, check, make

YAMLS = {p.stem: p for p in (Path(__file__).parents[2] / "configs" / "optimizer").glob("*.yaml")}
CPU = torch.device("cpu")


def node(name: str, **keys: Any) -> dict[str, Any]:
    """A shipped YAML's values, some set anew."""
    return yaml.safe_load(YAMLS[name].read_text()) | keys


class Bowl(nn.Module):
    """½ Σ kᵢ wᵢ² with curvatures 1, 2, 4, from w = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        return (torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64) * self.w.square()).sum() / 2


def players(*rates: float | None) -> list[Player]:
    return [Player(f"p{i}", Bowl(), lr=rate) for i, rate in enumerate(rates)]


def descend(optimizer: torch.optim.Optimizer, bowl: Bowl, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        bowl().backward()
        optimizer.step()


def test_every_optimizer_has_a_yaml_with_all_its_keys():
    assert set(YAMLS) == set(OPTIMIZERS)
    assert len(OPTIMIZERS) == 9
    for name, (_, keys) in OPTIMIZERS.items():
        assert set(node(name)) == {"name", *keys}


def test_every_yaml_binds_to_torchs_class_and_trains_a_quadratic_down():
    for name in OPTIMIZERS:
        (player,) = players(None)
        lr = {"adadelta": 5.0, "adagrad": 0.5}.get(name, 0.05)
        (optimizer,) = make([player], node(name, lr=lr), CPU).values()
        assert isinstance(optimizer, OPTIMIZERS[name][0]), name
        start = player.module().item()
        descend(optimizer, player.module, 250)
        assert player.module().item() < start / 100, name


def test_keys_reach_torch():
    for name in OPTIMIZERS:
        given = node(name)
        (optimizer,) = make(players(None), given, CPU).values()
        (group,) = optimizer.param_groups
        for key in set(given) - {"name"}:
            value = list(group[key]) if isinstance(group[key], tuple) else group[key]
            assert value == given[key], key


@pytest.mark.parametrize("name", FUSED)
def test_fused_steps_are_the_plain_ones(name: str):
    (player,), twin = players(None), Bowl()
    values = node(name, weight_decay=0.1)
    (fused,) = make([player], values, CPU).values()
    cls, arguments = check(values)
    assert fused.param_groups[0]["fused"]
    descend(fused, player.module, 20)
    descend(cls(twin.parameters(), **arguments, foreach=False), twin, 20)
    torch.testing.assert_close(player.module.w, twin.w, rtol=1e-10, atol=0)


def test_two_players_have_optimizers_and_rates_of_their_own():
    pair = players(None, 0.5)
    optimizers = make(pair, node("sgd", lr=0.1), CPU)
    assert [o.param_groups[0]["lr"] for o in optimizers.values()] == [0.1, 0.5]
    assert list(optimizers) == ["p0", "p1"]
    for player in pair:
        (parameter,) = optimizers[player.name].param_groups[0]["params"]
        assert parameter is player.module.w


def test_a_player_that_shares_an_optimizer_gets_none():
    first, second = players(None, None)
    assert list(make([first, second._replace(optimizer="p0")], node("adam"), CPU)) == ["p0"]


def test_a_wrong_optimizer_is_one_line():
    for given, words in [
        (node("sgd", momentum=0.0), ("nesterov=true needs a momentum", "nesterov=false")),
        (node("adam", lr=-0.1), ("optimizer.lr=-0.1", "> 0")),
        (node("adam", lr=0), ("optimizer.lr=0", "> 0")),
        (node("adam", lr=math.nan), ("optimizer.lr=nan", "a number")),
        (node("adam", lr=None), ("optimizer.lr=null",)),
        (node("adam", betas=[0.9, 0.99, 0.999]), ("[0.9, 0.99, 0.999]", "two numbers")),
        (node("adam", betas=[0.9]), ("[0.9]", "two numbers")),
        (node("adam", betas=[0.9, 1.0]), ("optimizer.betas", "< 1")),
        (node("adam", momentum=0.9), ("'optimizer.momentum'", "betas, eps, lr, weight_decay")),
        (node("sgd", momentun=0.9), ("did you mean 'momentum'",)),
        (node("adam", weight_decay=-1), ("optimizer.weight_decay=-1", ">= 0")),
        ({"name": "adam"}, ("optimizer.lr is missing",)),
        ({"name": "adamm", "lr": 0.1}, ("unknown optimizer 'adamm'", "did you mean 'adam'")),
    ]:
        with pytest.raises(UserError) as caught:
            check(given)
        assert "\n" not in str(caught.value), (given, words)
        for word in words:
            assert word in str(caught.value), (given, words)


@pytest.fixture
def layers() -> nn.ModuleList:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield nn.ModuleList([nn.Linear(300, 200), nn.Conv2d(20, 30, 4)])


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("glorot_uniform", lambda i, o: 2 / (i + o)),
        ("glorot_normal", lambda i, o: 2 / (i + o)),
        ("he_uniform", lambda i, o: 2 / i),
        ("he_normal", lambda i, o: 2 / i),
    ],
)
def test_weights_have_the_variance_of_their_scheme(layers: nn.ModuleList, scheme: str, variance):
    initialise(layers, scheme)
    for layer, fans in zip(layers, ((300, 200), (20 * 16, 30 * 16)), strict=True):
        w = layer.weight
        assert w.var().item() == pytest.approx(variance(*fans), rel=0.05)
        widest = w.abs().max() / w.std()
        assert widest < 1.8 if scheme.endswith("uniform") else widest > 3
        assert not layer.bias.any()


def test_orthogonal_weights_have_orthonormal_rows(layers: nn.ModuleList):
    initialise(layers, "orthogonal")
    for layer in layers:
        rows = layer.weight.flatten(1).double()
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)).double(), atol=1e-5, rtol=0)


def test_default_leaves_torchs_start_values(layers: nn.ModuleList):
    before = [p.clone() for p in layers.parameters()]
    initialise(layers, "default")
    assert all(torch.equal(a, b) for a, b in zip(before, layers.parameters(), strict=True))
    assert set(INITS) == {"default", *SCHEMES}


def test_schemes_draw_from_the_seed(layers: nn.ModuleList):
    for scheme, seed in itertools.product(SCHEMES, (0, 1)):
        drawn = []
        for s in (0, seed):
            torch.manual_seed(s)
            initialise(layers, scheme)
            drawn.append(layers[0].weight.clone())
        assert torch.equal(*drawn) == (seed == 0)


def test_steps_are_bit_for_bit_those_of_torchs_own_class():
    for name in OPTIMIZERS:
        values = {k: v for k, v in node(name).items() if k != "name"} | {"lr": 0.01}
        fused = {"fused": True} if name in FUSED else {}
        ours, theirs = Bowl(), Bowl()
        optimizer = make([Player("p", ours)], node(name, lr=0.01), CPU)["p"]
        own = OPTIMIZERS[name][0](theirs.parameters(), **values, **fused)
        descend(optimizer, ours, 5)
        descend(own, theirs, 5)
        assert torch.equal(ours.w, theirs.w), name
        assert str(optimizer.state_dict()) == str(own.state_dict()), name


def test_no_optimizer_imports_the_compiler():
    code = (
        "import sys, torch\n"
        "from genai_cli.models.base import Player\n"
        "from genai_cli.training.optimizers import OPTIMIZERS, make\n"
        "for name in OPTIMIZERS:\n"
        "    net = torch.nn.Linear(2, 2)\n"
        "    o = make([Player('p', net)], {'name': name, 'lr': 0.1}, torch.device('cpu'))['p']\n"
        "    net(torch.ones(1, 2)).sum().backward()\n"
        "    o.step()\n"
        "    o.load_state_dict(o.state_dict())\n"
        "    assert 'torch._dynamo' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return compose.compose_cells("train", compose.parse_line([]))[0].config


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_that_is_no_float_of_torch_is_refused_where_torch_takes_it_for_one(
    name: str, config: TrainConfig
) -> None:
    config = dataclasses.replace(config, optimizer=node(name, lr=1e300))
    model = nn.Linear(2, 1)
    optimizer = make([Player("p", model)], node(name, lr=1e300), CPU)["p"]
    model(torch.ones(1, 2)).sum().backward()
    if name not in SCALED:
        optimizer.step()
        validation.check(config)
        return
    with pytest.raises(RuntimeError, match="overflow"):
        optimizer.step()
    with pytest.raises(UserError, match=r"^optimizer.lr=1e\+300 is not allowed: .* up to 1e37 in"):
        validation.check(config)
    double = dataclasses.replace(config, precision="fp64")
    validation.check(double)


def test_a_rate_of_a_player_is_held_to_the_same() -> None:
    words = ["model=gan", "optimizer=rmsprop", "model.generator_lr=1e38"]
    (cell,) = compose.compose_cells("train", compose.parse_line(words))
    with pytest.raises(UserError, match=r"^model.generator_lr=1e\+38 is not allowed"):
        validation.check(cell.config)
