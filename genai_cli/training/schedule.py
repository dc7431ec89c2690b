"""Learning-rate schedules: a factor on the rate as a function of the step, plateau excepted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from genai_cli.config.signatures import Count, Fraction, Natural, NonNegative, Positive, Rate, bind
from genai_cli.errors import UserError, listing, nearest

Factor = Callable[[float], float]  # epochs done (a fraction within an epoch) to a factor


def constant() -> Factor:
    """1."""
    return lambda epoch: 1.0


def step(every: Count, gamma: Positive) -> Factor:
    """gamma^⌊epoch / every⌋."""
    return lambda epoch: gamma ** (epoch // every)


def cosine(horizon: Positive, final: Fraction = 0.0) -> Factor:
    """final + (1 − final) (1 + cos π epoch / horizon) / 2 (Loshchilov & Hutter 2017, eq. 5)."""

    def factor(epoch: float) -> float:
        done = min(epoch / horizon, 1.0)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def onecycle(
    horizon: Positive, peak: Rate = 0.2, start: Fraction = 0.04, final: Fraction = 1e-4
) -> Factor:
    """start → 1 at ``peak`` of the run → final, by half cosines (Smith & Topin 2018)."""

    def factor(epoch: float) -> float:
        done = min(epoch / horizon, 1.0)
        if done < peak:
            low, position = start, done / peak
        else:
            low, position = final, (1 - done) / (1 - peak)
        return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * position))

    return factor


class Plateau:
    """Cuts the factor when the monitored value has not improved for ``patience`` epochs."""

    def __init__(
        self,
        factor: Rate = 0.5,
        patience: Natural = 3,
        min_delta: NonNegative = 0.0,
        floor: Fraction = 0.001,
    ) -> None:
        self.cut, self.patience, self.min_delta, self.floor = factor, patience, min_delta, floor
        self.state: dict[str, Any] = {"scale": 1.0, "best": None, "bad_epochs": 0}

    def __call__(self, epoch: float) -> float:
        return self.state["scale"]

    def observe(self, value: float) -> None:
        best = self.state["best"]
        if best is None or value < best - self.min_delta:
            self.state["best"], self.state["bad_epochs"] = value, 0
            return
        self.state["bad_epochs"] += 1
        if self.state["bad_epochs"] > self.patience:
            self.state["scale"] = max(self.state["scale"] * self.cut, self.floor)
            self.state["bad_epochs"] = 0


SCHEDULES: dict[str, Callable[..., Factor]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "onecycle": onecycle,
    "plateau": Plateau,
}
PLANNED = ("cosine", "onecycle")  # these are stretched over a horizon


class LRSchedule:
    """The factor of a schedule node, times a linear warm-up.

    ``horizon`` (epochs) is fixed when a run starts and written to its config, so that a resumed
    run follows the same curve; beyond it the factor keeps its last value.
    """

    def __init__(self, node: Mapping[str, Any]) -> None:
        name, values = node["name"], {k: v for k, v in node.items() if k != "name"}
        if name not in SCHEDULES:
            raise UserError(
                f"unknown schedule '{name}'{nearest(name, SCHEDULES)} "
                f"(choose from: {listing(SCHEDULES)})"
            )
        warmup = bind(_warmup, {"warmup": values.pop("warmup", 0.0)}, "schedule")["warmup"]
        self.warmup = warmup
        self.factor = SCHEDULES[name](**bind(SCHEDULES[name], values, "schedule"))

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        """The factor for optimizer step number ``step``, counted from 0."""
        epoch = step / steps_per_epoch
        rise = min(1.0, (step + 1) / (self.warmup * steps_per_epoch)) if self.warmup else 1.0
        return rise * self.factor(epoch)

    def observe(self, value: float) -> None:
        """Tell a plateau schedule the monitored value after an epoch."""
        if isinstance(self.factor, Plateau):
            self.factor.observe(value)

    def state(self) -> dict[str, Any]:
        return dict(self.factor.state) if isinstance(self.factor, Plateau) else {}

    def load(self, state: Mapping[str, Any]) -> None:
        if isinstance(self.factor, Plateau) and state:
            self.factor.state = dict(state)


def _warmup(warmup: NonNegative = 0.0) -> None:
    """The key every schedule has."""
