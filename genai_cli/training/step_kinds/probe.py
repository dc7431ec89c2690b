"""Time gradients of a run's first batch, for the choice of its step in choose.py."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genai_cli.data.dataset import Batch
from genai_cli.rng import generator
from genai_cli.training.step import Gradient, autograd, micro_batches

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset
    from genai_cli.training.state import Training

FEWEST = 500  # steps below which nothing is measured: what could be gained is less than a look
LOOK, LOOK_SHARE = 0.4, 0.01  # a measurement may take so many seconds, and so much of the run


class Probe:
    """The first batch and its noise, on which gradients are timed and thrown away."""

    def __init__(
        self, run: Training, data: Dataset, cfg: TrainConfig, device: torch.device
    ) -> None:
        self.run, self.data, self.cfg, self.device = run, data, cfg, device
        self.left = run.last_step(cfg) - run.step
        self.n = min(cfg.batch_size, len(data.train))  # of a whole batch
        self.example: tuple[Batch, dict[str, Tensor]] | None = None

    @property
    def configured_gradient(self) -> Gradient:
        """The gradient of an eager step, in the precision of the config."""
        return self.eager(self.cfg.precision)

    def eager(self, precision: str) -> Gradient:
        """The gradient of an eager step in ``precision``."""
        return partial(autograd, self.run.model, self.run.players, precision)

    def gradients(self, compute: Gradient) -> None:
        """All players' gradients of one batch, waited for."""
        model, cfg = self.run.model, self.cfg
        if self.example is None:
            n, rows = self.n, self.run.ranks.rows(self.n)
            batch = self.data.train.batch(torch.arange(n)[rows])
            noise = model.noise(n, generator(cfg.seed, "probe", 0, self.device))
            self.example = (batch, {k: v[rows] for k, v in noise.items()})
        for player in self.run.players:
            micro_batches(compute, player, *self.example, cfg.trainer.accumulate, self.n)
            for p in player.module.parameters():
                p.grad = None
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    @contextmanager
    def training(self) -> Iterator[None]:
        """The model in training mode, as in a step."""
        before = self.run.model.training
        self.run.model.train()
        try:
            yield
        finally:
            self.run.model.train(before)

    def time_alternatives(
        self, ways: Mapping[Any, Callable[[], None]], compute: Mapping[Any, Gradient]
    ) -> dict[Any, float]:
        """Median seconds of each way to take the gradients, in turns of a look.

        ``ways[name]()`` is called before every turn, which begins with an untimed call. There are
        three turns, where that is little of the run: another process may disturb one.
        """
        seconds: dict[Any, list[float]] = {name: [] for name in ways}
        limit, longest, fastest = LOOK, LOOK, math.inf

        def timed(name: Any) -> float:
            now = time.perf_counter()
            self.gradients(compute[name])
            return time.perf_counter() - now

        with self.training():
            for first_call in dict.fromkeys(compute[name] for name in ways):
                self.gradients(first_call)  # slow for reasons of its own
            start, turns = time.perf_counter(), 0
            while turns == 0 or time.perf_counter() - start < (longest if turns < 3 else limit):
                turns += 1
                for name, prepare in ways.items():
                    prepare()
                    first = timed(name)
                    many = 3 if first < limit / 20 else 1
                    again = [timed(name) for _ in range(many)] if first < limit / 2 else [first]
                    seconds[name] += again
                    fastest = min(fastest, *again)
                    share = LOOK_SHARE * self.left * fastest
                    limit, longest = min(LOOK, share), max(LOOK, share)
        return {name: statistics.median(times) for name, times in seconds.items()}

    def operators(self) -> int:
        """Calls of an eager gradient: what a compiler has to go through."""
        with self.training(), _Counter() as counter:
            self.gradients(self.configured_gradient)
        return counter.calls


class _Counter(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))
