"""A stack of cells takes the steps that each of them takes alone, in double precision."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch

from genai_cli.config import compose
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.runner.prepare import prepare
from genai_cli.training import checkpoint, machine, setup
from genai_cli.training.loop import calibrate, evaluate, train
from genai_cli.training.progress import is_best
from genai_cli.training.stack import plan
from genai_cli.training.stack.alike import differing_numbers, same
from genai_cli.training.stack.optimizer import StackCell
from genai_cli.training.stack.stack import Stack
from genai_cli.training.state import Training

pytestmark = pytest.mark.usefixtures("undrawn")

CPU = torch.device("cpu")
QUICK = (
    "precision=fp64", "epochs=2", "dataset.limit=150", "batch_size=40", "trainer.pack=auto",
    "trainer.threads=1", "monitor=null",
)  # fmt: skip
CASES = {
    "autoencoder": "seed=0,1,2 model.denoise=0.1 model.dropout=0.2",
    "rates-clip-average": "model=autoencoder optimizer.lr=1e-3,1e-2 seed=0,1 trainer.clip=0.01 "
    "trainer.ema=0.9 schedule=cosine dataset.shift=1",
    "vae": "seed=0,1",
    "betas-warmup": "model=vae loss=bernoulli model.beta=1,0.5 model.kl_warmup=4 seed=0,1",
    "micro-batches": "model=vae loss=gaussian loss.sigma=learned trainer.accumulate=3 seed=0,1",
    "mlp": "seed=0,1 optimizer.weight_decay=0,0.1",
    "gan": "seed=0,1 model.discriminator_steps=2",
    "penalties": "model=gan loss=wgan_gp seed=0,1 model.r1=1 model.penalty_every=2",
    "flow": "seed=0,1 model.widths=[16] model.steps=2 model.dequantisation=variational",
    "points": "model=flow dataset=moons seed=0,1 model.widths=[16] model.steps=2",
    "latent_flow": "seed=0,1 bottleneck=4",
    "ddpm": "seed=0,1 model.network=mlp model.conditional=true",
    "bound": "model=ddpm dataset=moons loss=vlb seed=0,1 model.widths=[16] bottleneck=8",
}
OPTIMIZERS = {
    "sgd": "optimizer.momentum=0.9", "adam": "optimizer.betas=[0.9,0.99],[0.5,0.9]", "adamw": "",
    "adamax": "", "nadam": "", "radam": "", "adagrad": "optimizer.initial_accumulator_value=0.1",
    "adadelta": "", "rmsprop": "optimizer.momentum=0.5 optimizer.centered=true",
}  # fmt: skip


def prepared(words: str) -> tuple[list[TrainConfig], Dataset]:
    """Settled configs of a sweep and their data set."""
    given = {word.partition("=")[0] for word in words.split()}
    quick = [word for word in QUICK if word.partition("=")[0] not in given]
    line = compose.parse_line(["-m", *words.split(), *quick])
    data = None
    configs = []
    for cell in compose.compose_cells("train", line):
        one = prepare(cell.config, lambda text: None, data)
        data = one.data
        configs.append(one.cfg)
    return configs, data


def alone(cfg: TrainConfig, data: Dataset) -> tuple[Training, dict[str, float]]:
    """A run to its last step, and its validation."""
    state = setup.new_training(cfg, data, CPU)
    for _ in train(state, data, cfg, CPU):
        pass
    with state.averaged():
        calibrate(state, data, cfg.seed)
        return state, evaluate(state, data.val, cfg.seed, "validation", cfg.precision)


def stacked(configs: Sequence[TrainConfig], data: Dataset) -> tuple[list[StackCell], list[dict]]:
    """The same for a stack of them, in the order of ``configs``."""
    cells = [StackCell(setup.new_training(cfg, data, CPU), cfg) for cfg in configs]
    stack = Stack(cells)
    for now in stack.train(data):
        if now.step == cells[0].state.last_step(configs[0]):
            break
    stack.sync_cells()
    for cell in cells:
        with cell.state.averaged():
            calibrate(cell.state, data, cell.cfg.seed)
    val = dict(zip(map(id, stack.cells), stack.evaluate(data.val, "validation"), strict=True))
    return cells, [val[id(cell)] for cell in cells]


def assert_same(one: Training, other: Training, rtol: float = 1e-9) -> None:
    """Weights, buffers, optimizer state, averages, sums and numbers: all a checkpoint holds."""
    a, b = checkpoint.snapshot(one), checkpoint.snapshot(other)
    for mine, theirs in ((a.weights, b.weights), (a.state, b.state)):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(theirs[name], value, rtol=rtol, atol=1e-9, msg=name)
    for numbers in (a.numbers, b.numbers):
        del numbers["seconds"]
    assert a.numbers == b.numbers
    assert list(one.means.means()) == list(other.means.means())
    assert one.lr() == other.lr()


def hold(words: str, rtol: float = 1e-9) -> None:
    configs, data = prepared(words)
    assert plan.group_cells(configs, [data] * len(configs), lambda text: None) == [
        list(range(len(configs)))
    ]
    with machine.numerics(configs[0], 1):
        cells, values = stacked(configs, data)
        for cfg, cell, val in zip(configs, cells, values, strict=True):
            state, expected = alone(cfg, data)
            assert val == pytest.approx(expected, rel=rtol, abs=1e-12)
            assert list(val) == list(expected)
            assert_same(state, cell.state, rtol)
        if len({c.seed for c in configs}) > 1:
            first, second = (next(iter(cells[i].state.model.parameters())) for i in (0, -1))
            assert not torch.allclose(first, second)


FIRST = ("autoencoder", "micro-batches", "gan", "ddpm")  # the others are slow
FEW = ("sgd", "adam", "nadam", "rmsprop")  # states of every kind: momentum, counters, averages


def slow_but(names: Iterable[str], few: Sequence[str]) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] * (n not in few)) for n in names]


@pytest.mark.parametrize("name", slow_but(CASES, FIRST))
def test_stacked_cells_are_the_cells_alone(name: str) -> None:
    words = CASES[name]
    hold(words if words.startswith("model=") else f"model={name} {words}")


@pytest.mark.parametrize("name", slow_but(OPTIMIZERS, FEW))
def test_every_optimizer_with_rates_of_its_own(name: str) -> None:
    rtol = 1e-6 if name == "rmsprop" else 1e-9  # it divides by roots of what is nearly zero
    words = f"model=mlp model.widths=[8] optimizer={name} optimizer.lr=1e-3,1e-2 seed=0,1"
    hold(f"{words} {OPTIMIZERS[name]}", rtol)


def test_those_who_stay_go_on_as_if_nobody_had_left() -> None:
    configs, data = prepared("model=gan seed=0,1 trainer.ema=0.9 optimizer.lr=1e-3,1e-4")
    with machine.numerics(configs[0], 1):
        cells = [StackCell(setup.new_training(cfg, data, CPU), cfg) for cfg in configs]
        stack, gone = Stack(cells), {2: cells[1], 3: cells[2]}  # within and at the end of an epoch
        left = {}
        for now in stack.train(data):
            if now.step in gone:
                now.sync_cells()
                cell = gone[now.step]
                now.leave([cell])
                left[id(cell)] = now.step
            if now.step == cells[0].state.last_step(configs[0]):
                break
        stack.sync_cells()
        assert len(stack.cells) == 2
        for cfg, cell in zip(configs, cells, strict=True):
            cfg.trainer.max_steps = left.get(id(cell))
            assert_same(alone(cfg, data)[0], cell.state)


def test_one_cell_that_is_no_number_poisons_nobody() -> None:
    configs, data = prepared("model=autoencoder seed=0,1 optimizer.lr=1e-3,1e300")
    with machine.numerics(configs[0], 1):
        cells, values = stacked(configs, data)
        for cfg, cell, val in zip(configs, cells, values, strict=True):
            if cfg.optimizer["lr"] == 1e300:
                assert not math.isfinite(val["loss"])
            else:
                assert_same(alone(cfg, data)[0], cell.state)


def test_a_plateau_is_every_cells_own() -> None:
    words = "model=autoencoder schedule=plateau schedule.patience=0 optimizer.lr=1e-3,0.1"
    configs, data = prepared(f"{words} epochs=4 monitor=val/loss")
    seen: list[list[float]] = [[], []]
    with machine.numerics(configs[0], 1):
        cells = [StackCell(setup.new_training(cfg, data, CPU), cfg) for cfg in configs]
        stack = Stack(cells)
        for now in stack.train(data):
            if now.step % now.steps_per_epoch == 0:
                now.sync_cells()
                vals = now.evaluate(data.val, "validation")
                for cell, val in zip(now.cells, vals, strict=True):
                    is_best(cell.state, {"val/loss": val["loss"]}, cell.cfg)
                    seen[cells.index(cell)].append(cell.state.lr())
            if now.step == cells[0].state.last_step(configs[0]):
                break
        for cfg, rates in zip(configs, seen, strict=True):
            state, expected = setup.new_training(cfg, data, CPU), []
            for now in train(state, data, cfg, CPU):
                if now.at_epoch_end:
                    val = evaluate(now, data.val, cfg.seed, "validation", cfg.precision)
                    is_best(now, {"val/loss": val["loss"]}, cfg)
                    expected.append(now.lr())
            assert rates == expected
    assert seen[0][-1] == 1e-3
    assert seen[1][-1] < 0.1  # one was cut, the other not


# ---- which cells are put together -------------------------------------------------------------


WIDE = "model=autoencoder model.widths=[4000] batch_size=64"


@pytest.mark.parametrize(
    ("words", "units", "said"),
    [
        ("model=autoencoder seed=0,1 optimizer.lr=1e-3,1e-2", [[0, 1, 2, 3]], "of 4"),
        ("model=autoencoder seed=range(3) trainer.pack=2", [[0, 1], [2]], "2, 1"),
        ("model=autoencoder bottleneck=2,4 seed=0,1", [[0, 1], [2, 3]], "of 2"),
        ("model=vae model.beta=1,2", [[0, 1]], "of 2"),
        ("model=vae model.free_bits=0,0.1 seed=0,1", [[0, 1], [2, 3]], "2, 2"),
        ("model=autoencoder loss=huber loss.delta=1,2", [[0], [1]], "one after the other"),
        ("model=autoencoder optimizer=adam,sgd", [[0], [1]], ""),
        ("model=autoencoder seed=0,1 trainer.pack=none", [[0], [1]], ""),
        ("model=autoencoder model.network=conv seed=0,1", [[0], [1]], "convolutions"),
        ("model=autoencoder seed=0,1 trainer.step=compiled", [[0], [1]], "trainer.step=compiled"),
        (
            f"{WIDE} seed=0,1",
            [[0], [1]],
            "million multiply-adds",
        ),
        (
            f"{WIDE} seed=0,1 trainer.pack=32",
            [[0, 1]],
            "of 2",
        ),
    ],
)
def test_units(
    words: str, units: list[list[int]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # a compiler is there; nothing is compiled
    configs, data = prepared(words)
    notes: list[str] = []
    assert plan.group_cells(configs, [data] * len(configs), notes.append) == units
    assert said in "\n".join(notes)
    assert bool(notes) == bool(said)


def test_a_loss_that_comes_out_otherwise_is_not_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    configs, data = prepared("model=autoencoder seed=0,1")
    plain = Stack.terms

    def wrong(self: Stack, *args: object, **more: object) -> dict:
        return {name: 1.01 * value for name, value in plain(self, *args, **more).items()}

    monkeypatch.setattr(Stack, "terms", wrong)
    notes: list[str] = []
    assert plan.group_cells(configs, [data, data], notes.append) == [[0], [1]]
    assert "came out otherwise (by 0.01" in notes[0]


def test_what_differs_is_found_in_modules_and_their_values() -> None:
    class Scaled(torch.nn.Linear):
        def __init__(self, factor: float, more: object = None) -> None:
            super().__init__(2, 2)
            self.factor, self.more = factor, more

    def model(*layers: torch.nn.Module) -> torch.nn.Module:
        return torch.nn.Sequential(*layers)

    assert differing_numbers([model(Scaled(1.0)), model(Scaled(1.0))]) == []
    assert differing_numbers([model(Scaled(1.0)), model(Scaled(2.0))]) == [("0", "factor")]
    with pytest.raises(ValueError, match=r"Scaled\.more"):
        differing_numbers([model(Scaled(1.0, 1)), model(Scaled(1.0, 2))])
    with pytest.raises(ValueError, match="shapes"):
        differing_numbers([model(torch.nn.Linear(2, 2)), model(torch.nn.Linear(2, 3))])


def power(n: int) -> Callable[[float], float]:
    return lambda x: x**n


def test_same() -> None:
    for a, b, expected in [
        (1, 1, True),
        (1, 1.0, False),
        ((1, [2]), (1, [2]), True),
        ({"a": 1}, {"a": 2}, False),
        (power(2), power(2), True),
        (power(2), power(3), False),
        (object(), object(), False),
        (torch.ones(2), torch.ones(2), True),
        (torch.ones(2), torch.zeros(2), False),
    ]:
        assert same(a, b) is expected, (a, b, expected)
