"""torch's own optimizers on stacked weights: one parameter group for each setting.

All of torch's optimizers that a config may name work on every element by itself, so that a stack
of weights is to them one longer tensor. Cells with equal settings lie side by side and share a
group, a slice of the stack; rates, betas and weight decay may differ between groups.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genai_cli.config.schema import TrainConfig
from genai_cli.models.base import Player
from genai_cli.training import optimizers
from genai_cli.training.state import Training

COUNTERS = ("step", "mu_product")  # of an optimizer's state: functions of the steps taken alone


def optimizer_key(cell: StackCell) -> str:
    """Equal for cells that may share a parameter group."""
    cfg, rates = cell.cfg, [player.lr for player in cell.state.players]
    unique = id(cell) if cfg.schedule["name"] == "plateau" else None  # a rate by its own losses
    return json.dumps([cfg.optimizer, cfg.schedule, rates, unique], sort_keys=True)


class StackedOptimizer:
    """The optimizer of one player of every cell.

    Args:
        cells: sorted by `optimizer_key`; their models' parameters are rows of stacks.
        player: the stacked one, or any that shares its optimizer.
    """

    def __init__(self, cells: Sequence[StackCell], player: Player) -> None:
        self.cells, self.name = cells, player.name
        self.stacked = list(player.module.parameters())
        self.cell_parameters = []  # the same parameters of every cell
        for cell in cells:
            mine = next(p for p in cell.state.players if p.name == player.name)
            self.cell_parameters.append((mine, list(mine.module.parameters())))
        keys = [optimizer_key(cell) for cell in cells]
        starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
        self.slices = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(cells)], strict=True)]
        groups: list[dict[str, Any]] = []
        for rows in self.slices:
            cell = cells[rows.start]
            cls, arguments = optimizers.check(cell.cfg.optimizer)
            leaves = [p.detach()[rows] for p in self.stacked]
            groups.append(arguments | {"params": leaves, "lr": self._base(rows)})
        fused = {
            k: v
            for k, v in cells[0].state.optimizers[player.name].defaults.items()
            if k == "fused" and v
        }
        self.optimizer = cls(groups, lr=self._base(self.slices[0]), **fused)
        self._take_state()

    def _base(self, rows: slice) -> float:
        player = self.cell_parameters[rows.start][0]
        return player.lr or self.cells[rows.start].cfg.optimizer["lr"]

    def _rate(self, rows: slice, step: int, steps_per_epoch: int) -> float:
        return self._base(rows) * self.cells[rows.start].state.schedule(step, steps_per_epoch)

    def _take_state(self) -> None:
        """Stack the states that the cells' own optimizers hold, if they hold any."""
        for rows, group in zip(self.slices, self.optimizer.param_groups, strict=True):
            for j, leaf in enumerate(group["params"]):
                states = []
                for cell, (_, parameters) in zip(
                    self.cells[rows], self.cell_parameters[rows], strict=True
                ):
                    states.append(cell.state.optimizers[self.name].state.get(parameters[j]) or {})
                if not states[0]:
                    continue
                self.optimizer.state[leaf] = {
                    key: torch.stack([s[key] for s in states])
                    if isinstance(value, Tensor) and key not in COUNTERS
                    else copy_of(value)
                    for key, value in states[0].items()
                }

    def step(
        self,
        player: Player,
        gradients: Sequence[Tensor | None],
        step: int,
        steps_per_epoch: int,
    ) -> None:
        """Move the weights of ``player`` along (clipped) ``gradients`` (C, …), one a parameter."""
        gradients = self._clipped(gradients)
        for rows, group in zip(self.slices, self.optimizer.param_groups, strict=True):
            group["lr"] = self._rate(rows, step, steps_per_epoch)
            for leaf, gradient in zip(group["params"], gradients, strict=True):
                # a fused kernel walks through memory: the strides must be those of the weights
                leaf.grad = None if gradient is None else gradient[rows].contiguous()
        self.optimizer.step()

    def _clipped(self, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """As ``clip_grad_norm_`` for every cell: scaled so that its norm is ``trainer.clip``."""
        limits = [cell.cfg.trainer.clip for cell in self.cells]
        if all(limit is None for limit in limits):
            return gradients
        some = [g for g in gradients if g is not None]
        norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in some])
        norm = torch.linalg.vector_norm(norms, dim=0)  # (C,)
        limit = norm.new_tensor([float("inf") if x is None else x for x in limits])
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        return [None if g is None else g * factor.view(-1, *[1] * (g.dim() - 1)) for g in gradients]

    def sync_cells(self, step: int, steps_per_epoch: int) -> None:
        """Copy each cell's rows of the optimizer state, and its rate, to its own optimizer."""
        for rows, group in zip(self.slices, self.optimizer.param_groups, strict=True):
            for i in range(rows.start, rows.stop):
                mine = self.cells[i].state.optimizers[self.name]
                if step:
                    mine.param_groups[0]["lr"] = group["lr"]
                for leaf, p in zip(group["params"], self.cell_parameters[i][1], strict=True):
                    state = self.optimizer.state.get(leaf)
                    if not state:
                        continue
                    mine.state[p] = {
                        key: value[i - rows.start]
                        if isinstance(value, Tensor) and key not in COUNTERS
                        else copy_of(value)
                        for key, value in state.items()
                    }


def copy_of(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


class StackCell:
    """One run of a stack: its state, and the config it follows."""

    def __init__(self, state: Training, cfg: TrainConfig) -> None:
        self.state, self.cfg = state, cfg
