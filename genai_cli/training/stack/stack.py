"""Train many small models in one step: stacked weights, losses under ``torch.func.vmap``.

Cell i of a stack is an ordinary `Training` whose tensors are views of row i: its checkpoint, its
averaged weights and its evaluation need not know of the stack. Every cell has its own order of
examples, noise, rate and optimizer state, so that it takes the steps it would take alone, to
rounding: the gradient of a sum of losses that share no weight is the gradient of each.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from genai_cli.data.dataset import Batch, Dataset, Split
from genai_cli.models.base import Model, Player
from genai_cli.rng import generator
from genai_cli.training.ema import Ema
from genai_cli.training.loop import EVALUATION_BATCH
from genai_cli.training.stack.alike import differing_numbers, given_numbers
from genai_cli.training.stack.optimizer import StackCell, StackedOptimizer, optimizer_key
from genai_cli.training.state import Training
from genai_cli.training.step import autocast


class Stack:
    """Cells that train together until each of them leaves.

    Args:
        cells: of one shape and one data set, all at the same step; they are sorted so that those
            with the same optimizer stand together.

    Raises:
        ValueError: the models differ in more than numbers.
    """

    def __init__(self, cells: Sequence[StackCell]) -> None:
        self.cells = sorted(cells, key=optimizer_key)
        models = [cell.state.model for cell in self.cells]
        # [(module's name, attribute)]: one value for each cell
        self.numbers = differing_numbers(models)
        self.model = copy.deepcopy(models[0])  # carries the stacked weights
        self.loss_of = _StackedLoss(self.model)
        self.players = self.model.players()
        for name, p in self.model.named_parameters():
            rows = [model.get_parameter(name) for model in models]
            p.data = torch.stack([row.detach() for row in rows])
            for i, row in enumerate(rows):
                row.data = p.data[i]
        self.values = {
            (name, attribute): torch.tensor(
                [getattr(model.get_submodule(name), attribute) for model in models],
                dtype=torch.get_default_dtype(),
                device=next(self.model.parameters()).device,
            )
            for name, attribute in self.numbers
        }
        for model in models:  # one counter for all
            model._buffers["step"] = self.model.step
        first = self.cells[0].state
        self.step, self.steps_per_epoch = first.step, first.steps_per_epoch
        self.optimizers = {
            player.name: StackedOptimizer(self.cells, player)
            for player in self.players
            if player.optimizer is None
        }
        self.ema = self._stacked_ema() if first.ema is not None else None
        self.sums: dict[str, Tensor] = {}  # (C,) of the training terms in this epoch
        self.counts = dict(first.means.counts)
        for name in self.counts:
            self.sums[name] = torch.stack([cell.state.means.sums[name] for cell in self.cells])
        self.gather_buffers()

    def _stacked_ema(self) -> Ema:
        first = self.cells[0].state.ema
        ema = Ema(self.model, first.decay)
        ema.steps = first.steps
        for name, rows in ema.shadow.items():
            for i, cell in enumerate(self.cells):
                rows[i] = cell.state.ema.shadow[name]
                cell.state.ema.shadow[name] = rows[i]
        return ema

    def gather_buffers(self) -> None:
        """Stack what evaluation or `prepare` may have set; a constant that all share stays one."""
        buffers = [dict(cell.state.model.named_buffers()) for cell in self.cells]
        kept = self.cells[0].state.model.state_dict().keys()
        self.buffers = {
            name: torch.stack([b[name] for b in buffers])
            for name, value in buffers[0].items()
            if name != "step"
            and (name in kept or not all(torch.equal(value, b[name]) for b in buffers[1:]))
        }

    def train(self, data: Dataset) -> Iterator[Stack]:
        """Yield after every step until nobody is left; the caller lets cells `leave`."""
        while self.cells:
            cfg = self.cells[0].cfg
            if self.step % self.steps_per_epoch == 0:
                self.sums.clear()
                self.counts.clear()
            epoch, first = divmod(self.step, self.steps_per_epoch)
            orders = [data.order(cell.cfg.seed, epoch) for cell in self.cells]
            order = torch.stack(orders).to(self._device)  # (C, n)
            chunks = order.split(cfg.batch_size, dim=1)[first:]
            c = len(self.cells)
            for index in chunks:
                for cell in self.cells:
                    if not cell.state.model.training:  # evaluation came in between
                        cell.state.model.train()
                self.model.train()
                self.model.step.fill_(self.step)
                flat = data.train.batch(index.reshape(-1))
                x = flat.x.unflatten(0, index.shape)
                y = None if flat.y is None else flat.y.unflatten(0, index.shape)
                if data.augment is not None:
                    pairs = zip(x, self._generators("augment", self.step), strict=True)
                    x = torch.stack([data.augment(part, draws) for part, draws in pairs])
                noise = self.noise(index.shape[1], "noise", self.step)
                self._update(Batch(x, y), noise)
                self.step += 1
                for cell in self.cells:
                    cell.state.step = self.step
                    cell.state.images += index.shape[1]
                yield self
                if len(self.cells) != c:
                    break  # the order has other rows now

    def _update(self, batch: Batch, noise: dict[str, Tensor]) -> None:
        """One optimizer step of every cell; its terms join the sums of the epoch."""
        cfg, b = self.cells[0].cfg, batch.x.shape[1]
        size = -(-b // cfg.trainer.accumulate)
        for player in self.players:
            if self.step % player.every:
                continue
            parameters = list(player.module.parameters())
            gradients: list[Tensor | None] = [None] * len(parameters)
            for start in range(0, b, size):
                cut = slice(start, start + size)
                part = Batch(batch.x[:, cut], None if batch.y is None else batch.y[:, cut])
                with autocast(cfg.precision, batch.x.device):
                    terms = self.terms(part, {k: v[:, cut] for k, v in noise.items()}, player)
                partial = torch.autograd.grad(
                    terms["loss"].sum() / b, parameters, allow_unused=True
                )
                gradients = [
                    g if so_far is None else so_far + g
                    for so_far, g in zip(gradients, partial, strict=True)
                ]
                self._add(terms, player)
            self.optimizers[player.optimizer or player.name].step(
                player, gradients, self.step, self.steps_per_epoch
            )
        if self.ema is not None:
            self.ema.update(self.model)

    def _add(self, terms: dict[str, Tensor], player: Player) -> None:
        for name, values in terms.items():  # (C, B)
            key = name if len(self.players) == 1 else f"{player.name}/{name}"
            dtype = torch.float32 if values.device.type == "mps" else torch.float64
            total = values.detach().sum(1, dtype=dtype)
            self.sums[key] = self.sums[key] + total if key in self.sums else total
            self.counts[key] = self.counts.get(key, 0) + values.shape[1]

    def terms(
        self,
        batch: Batch,
        noise: dict[str, Tensor],
        player: Player,
        weights: dict[str, Tensor] | None = None,
        shared: bool = False,
    ) -> dict[str, Tensor]:
        """The terms of every cell, (C, B) each.

        Args:
            batch: (C, B, …), or with ``shared`` one batch (B, …) for all.
            noise: (C, B, …) each.
            player: who is trained; the weights of the others are constants.
            weights: stacked ones instead of the cells' own (averaged ones).
        """
        if weights is None:
            player_ids = {id(p) for p in player.module.parameters()}
            weights = {
                name: p if id(p) in player_ids else p.detach()
                for name, p in self.model.named_parameters()
            }
        state = {f"model.{name}": value for name, value in (weights | self.buffers).items()}
        values = {"/".join(key): value for key, value in self.values.items()}
        data = {"x": batch.x} | ({} if batch.y is None else {"y": batch.y})

        def of_one(state, values, data, noise):
            with given_numbers(self.model, values):
                given = Batch(data["x"], data.get("y")), noise, player.name
                return functional_call(self.loss_of, state, given)

        in_dims = (0, 0, None if shared else 0, 0)
        with warnings.catch_warnings():  # an operation without a rule for stacks is only slower
            warnings.filterwarnings("ignore", "There is a performance drop")
            return vmap(of_one, in_dims=in_dims)(state, values, data, noise)

    def noise(self, n: int, purpose: str, index: int) -> dict[str, Tensor]:
        """The noise (C, n, …) that every cell would draw alone."""
        draws = zip(self.cells, self._generators(purpose, index), strict=True)
        drawn = [cell.state.model.noise(n, source) for cell, source in draws]
        return {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}

    def _generators(self, purpose: str, index: int) -> list[torch.Generator]:
        return [generator(cell.cfg.seed, purpose, index, self._device) for cell in self.cells]

    @property
    def _device(self) -> torch.device:
        return self.model.step.device

    @torch.no_grad()
    def evaluate(self, split: Split, purpose: str) -> list[dict[str, float]]:
        """As `loop.evaluate`, for every cell, with averaged weights where the cells have them."""
        if not len(split):
            return [{} for _ in self.cells]
        self.model.eval()
        for cell in self.cells:
            cell.state.model.eval()
        self.gather_buffers()
        weights = self.ema.shadow if self.ema is not None else dict(self.model.named_parameters())
        sums: dict[str, Tensor] = {}
        precision = self.cells[0].cfg.precision
        chunks = torch.arange(len(split)).split(EVALUATION_BATCH)
        for i, batch in enumerate(split.batches(chunks)):
            noise = self.noise(len(batch.x), purpose, i)
            for player in self.players:
                with autocast(precision, self._device):
                    terms = self.terms(batch, noise, player, weights, shared=True)
                for name, value in terms.items():
                    key = name if len(self.players) == 1 else f"{player.name}/{name}"
                    dtype = torch.float32 if value.device.type == "mps" else torch.float64
                    total = value.sum(1, dtype=dtype)
                    sums[key] = sums[key] + total if key in sums else total
        means = (torch.stack(list(sums.values()), 1) / len(split)).tolist()  # the one sync
        return [dict(zip(sums, row, strict=True)) for row in means]

    def sync_cells(self) -> None:
        """Copy the epoch's sums and the optimizer state from the stack to every cell."""
        for i, cell in enumerate(self.cells):
            state = cell.state
            state.means.sums = {name: total[i] for name, total in self.sums.items()}
            state.means.counts = dict(self.counts)
            if state.ema is not None:
                state.ema.steps = self.ema.steps
        for optimizer in self.optimizers.values():
            optimizer.sync_cells(self.step, self.steps_per_epoch)

    def leave(self, gone: Sequence[StackCell]) -> None:
        """Let cells go with tensors of their own; the others close ranks. After `sync_cells`."""
        staying = [cell for cell in self.cells if cell not in gone]
        for cell in gone:
            _detach_from_stack(cell.state)
        if staying and len(staying) < len(self.cells):
            self.__init__(staying)
        else:
            self.cells = staying


def _detach_from_stack(state: Training) -> None:
    """Replace every tensor that is a row of a stack by a copy."""
    for p in state.model.parameters():
        p.data = p.data.clone()
    state.model._buffers["step"] = state.model.step.clone()
    if state.ema is not None:
        state.ema.shadow = {name: value.clone() for name, value in state.ema.shadow.items()}
    for optimizer in state.optimizers.values():
        for values in optimizer.state.values():
            for key, value in values.items():
                values[key] = value.clone() if isinstance(value, Tensor) else value


class _StackedLoss(nn.Module):
    """``functional_call`` calls ``forward``; here that is the loss."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: dict[str, Tensor], player: str) -> dict[str, Tensor]:
        return self.model.loss(batch, noise, player)
