"""Group the cells of a sweep into stacks that train together."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Batch, Dataset, Split
from genai_cli.models import build
from genai_cli.training import machine, setup
from genai_cli.training.stack.optimizer import StackCell
from genai_cli.training.stack.stack import Stack

# what may differ between the cells of a stack, besides numbers of the model and the loss
FREE = ("seed", "name", "tags", "outputs", "monitor", "epochs", "init_from", "force_loss")
FREE_TRAINER = (
    "clip", "patience", "min_delta", "init", "max_steps", "save_every", "keep", "figures_every",
)  # fmt: skip
MOST = 32  # cells of a stack under auto
SMALL_STEP = 36_000_000  # multiply-adds of a step of one cell up to which a stack pays on a CPU
PROBED = 8  # training examples on which a stack must agree with its cells
AGREE = {"fp64": 1e-9, "fp32": 1e-3, "auto": 1e-3, "bf16": 1e-1}  # of rounding alone; auto is fp32


def group_cells(
    configs: Sequence[TrainConfig], data: Sequence[Dataset], note: Callable[[str], None]
) -> list[list[int]]:
    """Group cells (by index) into stacks and single cells, in the order of their first cell.

    Args:
        configs: settled ones.
        data: of each; cells of one stack share the object.
        note: is told which cells are stacked, and why others are not.
    """
    groups: dict[str, list[int]] = {}
    for i, cfg in enumerate(configs):
        unique = i if cfg.trainer.pack == "none" else None
        groups.setdefault(_key(cfg, id(data[i]), unique), []).append(i)
    out = []
    for group in groups.values():
        if len(group) > 1:
            out += _split_group(group, configs, data[group[0]], note)
        else:
            out.append(group)
    return sorted(out)


def _key(cfg: TrainConfig, data: int, unique: int | None) -> str:
    """Equal for cells that a stack might hold."""
    config = dataclasses.asdict(cfg)
    for key in (*FREE, "schedule"):
        del config[key]
    for key in FREE_TRAINER:
        del config["trainer"][key]
    config["optimizer"] = sorted(config["optimizer"]), config["optimizer"]["name"]
    for group in ("model", "loss"):
        config[group] = {k: _masked(v) for k, v in config[group].items()}
    return json.dumps([config, data, unique], sort_keys=True)


def _masked(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "a number" if number else value


def _split_group(
    group: list[int], configs: Sequence[TrainConfig], data: Dataset, note: Callable[[str], None]
) -> list[list[int]]:
    """A group as stacks, or each cell alone, with a word on why."""
    reason = why_not(configs[group[0]], data)
    if reason:
        note(f"trainer.pack: {len(group)} runs one after the other: {reason}")
        return [[i] for i in group]
    parts = [group]
    reason = _refusal([configs[i] for i in group], data)
    if reason:  # numbers that change what is computed: only equal ones together
        exact: dict[str, list[int]] = {}
        for i in group:
            key = json.dumps([configs[i].model, configs[i].loss], sort_keys=True)
            exact.setdefault(key, []).append(i)
        parts = list(exact.values())
        first = next((part for part in parts if len(part) > 1), None)
        if len(parts) > 1 and first:
            reason = _refusal([configs[i] for i in first], data)
        if reason:
            note(f"trainer.pack: {len(group)} runs one after the other: {reason}")
            return [[i] for i in group]
    pack = configs[group[0]].trainer.pack
    most = MOST if pack == "auto" else int(pack)
    out = []
    for part in parts:
        stacks = -(-len(part) // most)
        size = -(-len(part) // stacks)  # even ones
        out += [part[i : i + size] for i in range(0, len(part), size)]
    sizes = [len(part) for part in out]
    note(f"trainer.pack: {sum(sizes)} runs in stacks of {', '.join(map(str, sizes))}")
    return out


def why_not(cfg: TrainConfig, data: Dataset) -> str:
    """Return the reason why cells of this config are not stacked; "" if they can be."""
    if cfg.trainer.devices > 1:
        return f"trainer.devices={cfg.trainer.devices} is for runs that train alone"
    if cfg.trainer.rollback:
        return f"trainer.rollback={cfg.trainer.rollback} sends back a run that trains alone"
    if cfg.trainer.step not in ("auto", "eager"):
        return f"trainer.step={cfg.trainer.step} is the step of a run alone"
    if type(data.train) is not Split:
        return "their data are read from disk as they train"
    with torch.device("meta"):
        model = build.build_model(cfg, data.spec)
    if any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules()):
        return "convolutions of many models at once are no faster"
    work = 3 * cfg.batch_size * sum(p.numel() for p in model.parameters())
    device = machine.pick_device(cfg.device)
    if cfg.trainer.pack == "auto" and device.type == "cpu" and work > SMALL_STEP:
        return (
            f"a step of each is {work / 1e6:.0f} million multiply-adds, which keep a CPU busy "
            f"(at most {SMALL_STEP / 1e6:.0f} pay; trainer.pack={MOST} stacks them all the same)"
        )
    return ""


def _refusal(configs: Sequence[TrainConfig], data: Dataset) -> str:
    """Why a trial of two cells failed: the first, and the first that differs from it in numbers."""
    other = next(
        (c for c in configs[1:] if (c.model, c.loss) != (configs[0].model, configs[0].loss)),
        configs[-1],
    )
    try:
        disagreement = trial([configs[0], other], data)
    except Exception as error:  # a loss may do anything that vmap has no rule for
        message = " ".join(str(error).split())[:120]
        return f"the loss cannot be computed for many models at once ({message})"
    if disagreement > AGREE[configs[0].precision]:
        return f"stacked, their losses came out otherwise (by {disagreement:.1g} of their size)"
    return ""


def trial(configs: Sequence[TrainConfig], data: Dataset) -> float:
    """The largest relative difference between the terms of a stack and those of its cells alone.

    Raises:
        Exception: whatever a stack of them raises.
    """
    device = machine.pick_device(configs[0].device)
    with machine.numerics(configs[0]):
        index = torch.arange(min(PROBED, len(data.train)))
        small = dataclasses.replace(data, train=_first(data.train, 1024)).to(device)
        batch = small.train.batch(index)
        cells = [StackCell(setup.new_training(cfg, small, device), cfg) for cfg in configs]
        stack = Stack(cells)
        return max(_disagreement(stack, batch, training) for training in (True, False))


def _disagreement(stack: Stack, batch: Batch, training: bool) -> float:
    """The same for one batch, in training or evaluation mode."""
    worst, n = 0.0, len(batch.x)
    for model in (stack.model, *(cell.state.model for cell in stack.cells)):
        model.train(training)
    noise = stack.noise(n, "noise", 0)
    for player in stack.players:
        terms = stack.terms(batch, noise, player, shared=True)
        if training:
            parameters = list(player.module.parameters())
            torch.autograd.grad(terms["loss"].sum(), parameters, allow_unused=True)
        for i, cell in enumerate(stack.cells):
            mine = {name: values[i] for name, values in noise.items()}
            for name, expected in cell.state.model.loss(batch, mine, player.name).items():
                off = (terms[name][i] - expected).detach().abs()
                worst = max(worst, float(off.max() / (expected.detach().abs().mean() + 1e-12)))
    return worst if math.isfinite(worst) else math.inf


def _first(split: Split, n: int) -> Split:
    y = None if split.y is None else split.y[:n]
    return dataclasses.replace(split, x=split.x[:n], y=y)
