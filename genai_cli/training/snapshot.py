"""Convert a training state to named tensors and plain numbers, and back."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

from torch import Tensor

from genai_cli.training.state import Training

SCHEMA = 1


class Snapshot(NamedTuple):
    """A training state as it was: copies in memory of the CPU, which training no longer moves."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Tensor]  # of optimizers, averaged weights and running sums
    numbers: dict[str, Any]


def snapshot(run: Training) -> Snapshot:
    """Copy the state that `checkpoint.write` puts on disk."""
    tensors, numbers = _state(run)
    weights = _copied(run.model.state_dict())
    return Snapshot(run.step, weights, _copied(tensors), copy.deepcopy(numbers))


def _state(run: Training) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything but the weights, as named tensors and plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, optimizer in run.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                where = f"optimizer/{name}/{index}/{key}"
                if isinstance(value, Tensor):
                    tensors[where] = value
                elif value is not None:
                    numbers[where] = value
    if run.ema is not None:
        tensors |= {f"ema/{k}": v for k, v in run.ema.shadow.items()}
    tensors |= {f"sum/{k}": v for k, v in run.means.sums.items()}
    scalars = {
        "schema": SCHEMA,
        "step": run.step,
        "epoch": run.epoch,
        "images": run.images,
        "seconds": round(run.elapsed(), 3),
        "counts": run.means.counts,
        "optimizer": numbers,
        "schedule": run.schedule.state(),
        "ema_steps": run.ema.steps if run.ema is not None else 0,
        "monitor": run.monitor,
        "best": None if math.isinf(run.best) else run.best,
        "best_epoch": run.best_epoch,
        "best_step": run.best_step,
    }
    return tensors, scalars


def restore(run: Training, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Put the tensors and numbers of a snapshot, but for the weights, into a run."""
    device = next(run.model.parameters()).device
    for name, optimizer in run.optimizers.items():
        state: dict[int, dict[str, Any]] = {}
        for where, value in (meta["optimizer"] | tensors).items():
            kind, _, rest = where.partition("/")
            if kind == "optimizer" and rest.startswith(f"{name}/"):
                index, _, key = rest[len(name) + 1 :].partition("/")
                state.setdefault(int(index), {})[key] = value
        # the groups (rates, betas) come from the config, the buffers from the checkpoint
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    if run.ema is not None:
        for key, value in run.ema.shadow.items():
            value.copy_(tensors.get(f"ema/{key}", value))
        run.ema.steps = meta["ema_steps"]
    run.means.sums = {
        k.removeprefix("sum/"): v.to(device) for k, v in tensors.items() if k.startswith("sum/")
    }
    # the order of the terms is that of the counts: safetensors sorts its names
    run.means.counts = dict(meta["counts"])
    run.means.sums = {k: run.means.sums[k] for k in run.means.counts}
    run.step, run.images, run.seconds = meta["step"], meta["images"], meta["seconds"]
    if run.monitor == meta["monitor"]:  # values of another column cannot be compared: start anew
        run.schedule.load(meta["schedule"])
        run.best = math.inf if meta["best"] is None else meta["best"]
        run.best_epoch, run.best_step = meta["best_epoch"], meta["best_step"]


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory and keeps no strides
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
