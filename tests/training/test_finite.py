"""What is looked at for numbers that are not finite, and how ranges are told."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from genai_cli.training import finite
from genai_cli.training.divergence.ranges import Range, range_of
from genai_cli.training.finite import Diverged, NonFiniteCheck, first_nonfinite
from genai_cli.training.state import Means


def state(step: int, value: float) -> SimpleNamespace:
    means = Means()
    means.add({"loss": torch.tensor([1.0, value], dtype=torch.float64), "kl": torch.ones(2)})
    return SimpleNamespace(means=means, step=step, steps_per_epoch=60)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_cpu_is_looked_at_after_every_step(value: float) -> None:
    lookout = NonFiniteCheck(torch.device("cpu"))
    lookout.after_step(state(1, 1e300))
    with pytest.raises(Diverged, match=rf"train/loss became {value} in epoch 2 \(step 61\)"):
        lookout.after_step(state(61, value))


def test_a_gpu_is_looked_at_seldom_and_late_without_waiting() -> None:
    lookout = NonFiniteCheck(torch.device("mps"))  # whose sums lie on the CPU here
    for step in range(1, 100):
        lookout.after_step(state(step, math.nan if step >= 30 else 1.0))
    with pytest.raises(Diverged, match="train/loss became nan"):
        lookout.after_step(state(100, math.nan))


def test_a_gpu_that_is_not_the_current_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []
    monkeypatch.setattr(torch.cuda, "Event", lambda: SimpleNamespace(record=recorded.append))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    NonFiniteCheck(torch.device("cuda:1")).after_step(state(finite.EVERY, 1.0))
    assert recorded == ["stream of cuda:1"]


class Far:
    """A norm on a device that is not here."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def to(self, device: torch.device, *_: object) -> torch.Tensor:
        assert device == torch.device("cuda:1")
        return torch.ones(())


def test_norms_are_gathered_where_the_weights_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    norms = [Far("cuda:1"), Far("cpu")]
    monkeypatch.setattr(torch, "_foreach_norm", lambda *_: norms)
    assert (
        first_nonfinite({"weight": torch.ones(1), "optimizer/model/weight/step": torch.ones(1)})
        is None
    )


def test_the_largest_finite_numbers_are_no_alarm() -> None:
    top = torch.finfo(torch.float32).max
    fine = {"w": torch.full((100,), top), "n": torch.tensor(3), "none": torch.zeros(0)}
    assert first_nonfinite(fine) is None
    assert first_nonfinite({}) is None
    for bad in (math.nan, math.inf, -math.inf):
        at = torch.full((100,), top)
        at[77] = bad
        assert first_nonfinite(fine | {"v": at.double(), "u": at}) == "v"


@pytest.mark.parametrize("where", ["weights", "averaged", "optimizer"])
def test_no_part_of_a_state_is_passed_over(where: str) -> None:
    model = torch.nn.Linear(3, 1)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    shadow = {k: p.detach().clone() for k, p in model.named_parameters()}
    run = SimpleNamespace(
        model=model,
        ema=SimpleNamespace(shadow=shadow),
        optimizers={"model": adam},
        means=Means(),
        step=1,
        steps_per_epoch=1,
    )
    finite.check(run)
    spoiled = {
        "weights": model.weight.data,
        "averaged": shadow["bias"],
        "optimizer": adam.state[model.bias]["exp_avg_sq"],
    }[where]
    name = {
        "weights": "weight",
        "averaged": "ema/bias",
        "optimizer": "optimizer/model/bias/exp_avg_sq",
    }[where]
    spoiled.view(-1)[-1] = math.inf  # of a squared gradient of 1e20: that weight would rest forever
    with pytest.raises(Diverged, match=f"^{name} became"):
        finite.check(run)


def test_a_range_is_that_of_the_finite_numbers() -> None:
    values = torch.tensor([1.0, math.nan, -3.0, math.inf])
    assert range_of(values) == Range(-3.0, 1.0, 0.5)
    assert range_of(torch.full((2,), math.nan)) == Range(None, None, 1.0)
    assert range_of(torch.zeros(0)) == Range(None, None, 0.0)
    assert range_of(values).union(Range(None, None, 1.0)) == Range(-3.0, 1.0, 1.0)
    assert Range(0.0, 2.0).union(None) == Range(0.0, 2.0)
