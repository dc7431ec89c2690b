"""Checks that stop a run as soon as a loss, weight or optimizer state is not finite.

A step adds its terms to sums on the device (`loop.Means`), and what is not finite stays in a sum:
so the sums are looked at, not the losses. A gradient that is not finite makes weights that are not,
and these the next loss. Before anything is saved, weights and optimizer are looked at, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from genai_cli.training.state import Training

EVERY = 50  # steps between two looks from a GPU, each at what was copied a look before


class Diverged(Exception):
    """A number of a run is not finite any more."""


class NonFiniteCheck:
    """Checks a run's sums of loss terms after every step, without waiting for a device.

    A CPU has them at hand (0.4 µs a term). From a GPU they are copied every `EVERY` steps and read
    at the next copy, when they have long arrived: all ranks of a run see them after the same step.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.copied = device, None

    def after_step(self, run: Training) -> None:
        """After a step.

        Raises:
            Diverged: a term is not finite.
        """
        if self.device.type == "cpu":
            check_terms(run, [total.item() for total in run.means.sums.values()])
        elif run.step % EVERY == 0:
            if self.copied is not None:
                names, totals, there = self.copied
                if there is not None:
                    there.synchronize()
                check_terms(run, totals.tolist(), names)
            self.copied = self._copy(run.means.sums)

    def _copy(self, sums: Mapping[str, Tensor]) -> tuple[list[str], Tensor, torch.Event | None]:
        totals = torch.stack(list(sums.values())).to("cpu", non_blocking=True)
        there = None
        if self.device.type == "cuda":
            there = torch.cuda.Event()
            there.record(torch.cuda.current_stream(self.device))  # cuda:1 need not be current
        return list(sums), totals, there


def check_terms(run: Training, totals: Iterable[float], names: Iterable[str] = ()) -> None:
    """Raise `Diverged`, naming the first term whose sum is not finite."""
    for name, total in zip(names or run.means.sums, totals, strict=True):
        if not math.isfinite(total):
            raise Diverged(
                describe_nonfinite(f"train/{name}", total, run.step, run.steps_per_epoch)
            )


def describe_nonfinite(name: str, value: float, step: int, steps_per_epoch: int) -> str:
    """Describe a non-finite number and the step, counted from 1, in which it appeared."""
    epoch = -(-step // steps_per_epoch)
    return f"{name} became {value} in epoch {epoch} (step {step})"


@torch.no_grad()
def check(run: Training) -> None:
    """Look at all a checkpoint would hold, and wait for it.

    Raises:
        Diverged: a term, a weight, an averaged weight or a number of an optimizer is not finite.
    """
    check_terms(run, torch.stack(list(run.means.sums.values())).tolist() if run.means.sums else [])
    name = first_nonfinite(state_of(run))
    if name is not None:
        raise Diverged(describe_nonfinite(name, math.nan, run.step, run.steps_per_epoch))


def state_of(run: Training) -> dict[str, Tensor]:
    """Weights, averaged ones and the optimizers' numbers, by their names in a checkpoint."""
    tensors: dict[str, Tensor] = dict(run.model.named_parameters())
    names = {id(p): k for k, p in tensors.items()}
    if run.ema is not None:
        tensors |= {f"ema/{k}": v for k, v in run.ema.shadow.items()}
    for player, optimizer in run.optimizers.items():
        for p, values in optimizer.state.items():
            where = f"optimizer/{player}/{names.get(id(p), '')}"
            tensors |= {f"{where}/{k}": v for k, v in values.items() if isinstance(v, Tensor)}
    return tensors


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with a number that is not finite; None if there is none."""
    kept = {k: v.detach() for k, v in tensors.items() if v.is_floating_point() and v.numel()}
    if not kept:
        return None
    largest = torch._foreach_norm(list(kept.values()), math.inf)  # unlike a sum it cannot overflow
    device = largest[0].device  # a weight's; an optimizer may count its steps on the host
    whole = torch.stack([v.to(device, torch.float64) if device.type != "mps" else v.to(device)
                         for v in largest]).isfinite().tolist()  # fmt: skip
    return next((k for k, fine in zip(kept, whole, strict=True) if not fine), None)


def check_finite(row: Mapping[str, float]) -> None:
    """Raise `Diverged`, naming the first term of an epoch that is not finite."""
    for name, value in row.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} became {value} in epoch {int(row['epoch'])} "
                           f"(step {int(row['step'])})")  # fmt: skip
