"""Schedules against torch's own, and the warm-up."""

from __future__ import annotations

import itertools
import math
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.optim import lr_scheduler

from genai_cli.errors import UserError
from genai_cli.training.schedule import PLANNED, SCHEDULES, LRSchedule

YAMLS = sorted((Path(__file__).parents[2] / "configs" / "schedule").glob("*.yaml"))
LR = 0.3


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], LR)


def curve(steps: int, per_epoch: int = 1, **node: Any) -> list[float]:
    """The rates of ``steps`` optimizer steps."""
    schedule = LRSchedule(node)
    return [LR * schedule(step, per_epoch) for step in range(steps)]


def torchs(steps: int, scheduler: type, *args: Any, **keys: Any) -> list[float]:
    """The rates torch's scheduler gives to ``steps`` optimizer steps."""
    opt = optimizer()
    reference, rates = scheduler(opt, *args, **keys), []
    for i in range(steps):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        if i < steps - 1:
            reference.step()
    return rates


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_every_yaml_binds_and_is_a_share_of_the_rate(path: Path):
    node = yaml.safe_load(path.read_text())
    assert node["name"] == path.stem
    assert ("horizon" in node) == (path.stem in PLANNED)
    if "horizon" in node:
        node["horizon"] = 10.0  # what `settle` writes in place of null
    schedule = LRSchedule(node)
    assert all(0 <= schedule(step, 7) <= 1 for step in range(150))


def test_every_schedule_has_a_yaml():
    assert {p.stem for p in YAMLS} == set(SCHEDULES)


def test_constant_is_constant():
    assert curve(5, name="constant") == [LR] * 5


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine_is_torchs(final: float):
    wanted = torchs(41, lr_scheduler.CosineAnnealingLR, T_max=40, eta_min=final * LR)
    assert curve(41, 4, name="cosine", horizon=10, final=final) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("every", "gamma"), [(1, 0.9), (3, 0.1), (100, 0.5)])
def test_step_is_torchs(every: int, gamma: float):
    wanted = torchs(21, lr_scheduler.StepLR, step_size=every, gamma=gamma)
    assert curve(21, name="step", every=every, gamma=gamma) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("per_epoch", [1, 3, 7, 11, 4001])
def test_step_cuts_exactly_at_the_first_step_of_an_epoch(per_epoch: int):
    schedule = LRSchedule({"name": "step", "every": 3, "gamma": 0.5})
    for cuts in range(1, 9):
        first = 3 * cuts * per_epoch
        assert schedule(first, per_epoch) == 0.5**cuts
        assert schedule(first - 1, per_epoch) == 0.5 ** (cuts - 1)


@pytest.mark.parametrize(("peak", "start", "final"), [(0.3, 0.04, 1e-4), (0.5, 0.1, 0.05)])
def test_onecycle_is_torchs(peak: float, start: float, final: float):
    """Torch's curve has n − 1 intervals, its peak at pct_start · n − 1."""
    n = 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = torchs(
            n,
            lr_scheduler.OneCycleLR,
            max_lr=LR,
            total_steps=n,
            pct_start=peak,
            div_factor=1 / start,
            final_div_factor=start / final,
            cycle_momentum=False,
        )
    node = {"peak": (peak * n - 1) / (n - 1), "start": start, "final": final}
    found = curve(n, name="onecycle", horizon=n - 1, **node)
    assert found == pytest.approx(wanted, abs=1e-12)


def test_onecycle_rises_to_its_peak_and_falls_to_its_end():
    rates = curve(101, 10, name="onecycle", horizon=10, peak=0.4, start=0.1, final=0.01)
    assert [rates[0], rates[40], rates[100]] == pytest.approx([0.1 * LR, LR, 0.01 * LR])
    assert rates[20] == pytest.approx(LR * (0.1 + 1) / 2)  # half a cosine up: the middle
    assert rates[70] == pytest.approx(LR * (1 + 0.01) / 2)
    assert rates[:41] == sorted(rates[:41])
    assert rates[40:] == sorted(rates[40:], reverse=True)


def test_onecycle_with_its_peak_at_the_start_only_falls():
    rates = curve(11, name="onecycle", horizon=10, peak=0.0)
    assert rates[0] == LR
    assert all(a > b for a, b in itertools.pairwise(rates))


@pytest.mark.parametrize(("name", "final"), [("cosine", 0.2), ("onecycle", 0.2)])
def test_beyond_its_horizon_a_schedule_keeps_its_last_value(name: str, final: float):
    rates = curve(200, 10, name=name, horizon=5, final=final)
    assert rates[50:] == pytest.approx([final * LR] * 150)


@pytest.mark.parametrize("per_epoch", [1, 7, 100])
def test_planned_schedules_are_stretched_over_epochs_not_steps(per_epoch: int):
    for name in PLANNED:
        schedule = LRSchedule({"name": name, "horizon": 8})
        assert schedule(3 * per_epoch, per_epoch) == LRSchedule({"name": name, "horizon": 8})(3, 1)


def test_warmup_is_linear_to_the_full_rate_at_its_last_step():
    rates = curve(30, 10, name="constant", warmup=2.0)
    wanted = [LR * (step + 1) / 20 for step in range(20)] + [LR] * 10
    assert rates == pytest.approx(wanted)


def test_warmup_multiplies_the_schedule():
    plain = curve(40, 10, name="cosine", horizon=4)
    warm = curve(40, 10, name="cosine", horizon=4, warmup=1.5)
    assert warm[15:] == plain[15:]
    assert warm[:15] == pytest.approx([r * (i + 1) / 15 for i, r in enumerate(plain[:15])])


@pytest.mark.parametrize(("patience", "min_delta"), [(0, 0.0), (2, 0.0), (3, 0.05)])
def test_plateau_is_torchs_reduce_on_plateau(patience: int, min_delta: float):
    for seed in range(5):
        opt = optimizer()
        reference = lr_scheduler.ReduceLROnPlateau(
            opt,
            factor=0.5,
            patience=patience,
            threshold=min_delta,
            threshold_mode="abs",
            min_lr=0.01 * LR,
            eps=0,
        )
        keys = {"factor": 0.5, "patience": patience, "min_delta": min_delta, "floor": 0.01}
        schedule, draws = LRSchedule({"name": "plateau", **keys}), random.Random(seed)
        value, cuts = 1.0, set()
        for epoch in range(120):
            value += draws.gauss(-0.01, 0.05)
            reference.step(value)
            schedule.observe(value)
            rate = LR * schedule(epoch, 1)
            assert rate == pytest.approx(opt.param_groups[0]["lr"], rel=1e-12), seed
            cuts.add(rate)
        assert len(cuts) > 2, seed


def test_a_plateau_goes_on_from_its_state():
    values = [1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9]
    node = {"name": "plateau", "patience": 1}
    whole, first, second = (LRSchedule(node) for _ in range(3))
    for value in values:
        whole.observe(value)
    for value in values[:4]:
        first.observe(value)
    second.load(first.state())
    for value in values[4:]:
        second.observe(value)
    assert second.state() == whole.state()
    assert second(0, 1) == whole(0, 1) == 0.25


def test_other_schedules_have_no_state_and_ignore_the_monitor():
    schedule = LRSchedule({"name": "cosine", "horizon": 4})
    before = schedule(2, 1)
    for value in (1.0, 2.0, math.inf):
        schedule.observe(value)
    assert schedule(2, 1) == before
    assert schedule.state() == {}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "cosin"}, ("unknown schedule 'cosin'", "did you mean 'cosine'", "plateau")),
        ({"name": "constant", "gamma": 0.5}, ("'schedule.gamma'",)),
        ({"name": "step", "every": 3, "gama": 0.5}, ("did you mean 'gamma'",)),
        ({"name": "step", "every": 0, "gamma": 0.5}, ("schedule.every=0", ">= 1")),
        ({"name": "step", "every": 2}, ("schedule.gamma is missing",)),
        ({"name": "cosine", "horizon": None}, ("schedule.horizon=null", "a number")),
        ({"name": "cosine", "horizon": 4, "final": 1.5}, ("schedule.final=1.5", "<= 1")),
        ({"name": "onecycle", "horizon": 4, "peak": 1.0}, ("schedule.peak=1.0", "< 1")),
        ({"name": "plateau", "patience": -1}, ("schedule.patience=-1", ">= 0")),
        ({"name": "constant", "warmup": -1.0}, ("schedule.warmup=-1.0", ">= 0")),
    ],
)
def test_a_wrong_schedule_is_one_line(node: dict[str, Any], words: tuple[str, ...]):
    with pytest.raises(UserError) as caught:
        LRSchedule(node)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
