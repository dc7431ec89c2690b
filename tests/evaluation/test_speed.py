"""Calls are counted by layer; a rate is examples over seconds."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genai_cli.evaluation import speed

CPU = torch.device("cpu")


class Walk(nn.Module):
    """Runs one layer ``steps`` times and another once."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.often, self.once = steps, nn.Linear(2, 2), nn.Linear(2, 2)

    def draw(self, n: int) -> Tensor:
        x = torch.zeros(n, 2)
        for _ in range(self.steps):
            x = self.often(x)
        return self.once(x)


@pytest.mark.parametrize("steps", [1, 7])
def test_calls_are_those_of_the_busiest_layer(steps: int) -> None:
    walk = Walk(steps)
    assert speed.calls(walk, walk.draw) == steps
    assert not walk.often._forward_hooks


def test_a_model_without_layers_makes_no_calls() -> None:
    assert speed.calls(nn.Identity(), lambda n: torch.zeros(n)) == 0


def test_a_hook_does_not_outlive_a_failure() -> None:
    walk = Walk(1)

    def fails(n: int) -> Tensor:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        speed.calls(walk, fails)
    assert not walk.often._forward_hooks


def test_a_rate_is_examples_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    sizes = []
    found = speed.rate(lambda n: sizes.append(n) or torch.zeros(n), 8, CPU)
    assert found == (8.0, 8.0, 8.0, speed.LEAST)  # a second each
    assert sizes == [8] * (speed.LEAST + 1)  # and a warm-up


def test_the_interval_holds_the_median_of_what_times_are_drawn_from() -> None:
    """95 % or a little more, for skewed times too."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        low, high = speed._interval(list(rng.exponential(size=12)))
        held += low <= math.log(2) <= high
    assert 0.945 <= held / 2000 <= 0.975  # 0.961
    assert speed._interval([1.0] * 5) == (None, None)


def test_a_slow_draw_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    sizes = []
    found = speed.rate(lambda n: sizes.append(n) or torch.zeros(n), 1024, CPU)
    assert found == (102.4, None, None, 1)
    assert sizes == [1024]
