"""Ranges of weights, outputs and gradients inside one step, layer by layer.

`Inspector` takes the place of autograd in `step.train_step` and stops at the first number that is
not finite: in a term of a loss, then in a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genai_cli.data.dataset import Batch
from genai_cli.models.base import Model, Player
from genai_cli.training.step import Terms, autograd

BEHIND = "behind the last layer"  # in the loss itself
OTHER = "other parameters"  # outside any leaf module, like a learned scale


class Range(NamedTuple):
    """Least and largest finite number of a tensor (None: it has none), and the share of others."""

    low: float | None
    high: float | None
    broken: float = 0.0

    def union(self, other: Range | None) -> Range:
        """Of both; ``broken`` is the larger share."""
        if other is None:
            return self
        lows = [x for x in (self.low, other.low) if x is not None]
        highs = [x for x in (self.high, other.high) if x is not None]
        return Range(
            min(lows, default=None), max(highs, default=None), max(self.broken, other.broken)
        )


@torch.no_grad()
def range_of(values: Tensor) -> Range:
    """The `Range` of a tensor."""
    finite = values[values.isfinite()]
    if not finite.numel():
        return Range(None, None, 1.0 if values.numel() else 0.0)
    low, high = finite.aminmax()
    return Range(float(low), float(high), 1 - finite.numel() / values.numel())


class LayerRanges:
    """One leaf module in one loss; None: it has no such tensor, or the step stopped before."""

    def __init__(self, name: str, weights: Range | None) -> None:
        self.name, self.weights = name, weights
        self.outputs: Range | None = None
        self.gradients: Range | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in report.json."""
        kinds = ("weights", "outputs", "gradients")
        ranges = {k: getattr(self, k) for k in kinds}
        return {"layer": self.name} | {
            k: None if r is None else {"min": r.low, "max": r.high, "not_finite": r.broken}
            for k, r in ranges.items()
        }


class NonFinite(Exception):
    """The first number of a step that is not finite."""

    def __init__(self, player: str, term: str, layer: str, value: float = float("nan")) -> None:
        super().__init__(f"{player}: {term}, {layer}")
        self.player, self.term, self.layer, self.value = player, term, layer, value


class Inspector:
    """A `step.Gradient` by autograd that keeps the ranges of the last player it was called for.

    Attributes:
        layers: of that player's loss, in the order in which they ran, by name.
        rows: numbers of the examples, in the batch, whose term was not finite.
        seen: examples of this player so far (micro-batches).
    """

    def __init__(self, model: Model, players: list[Player], precision: str) -> None:
        self.model, self.players, self.precision = model, players, precision
        self.player = ""
        self.layers: dict[str, LayerRanges] = {}
        self.rows: list[int] = []
        self.seen = 0

    def __call__(self, player: Player, batch: Batch, noise: dict[str, Tensor], count: int) -> Terms:
        """Ranges and gradients of one (micro-)batch.

        Raises:
            Found: a term or a gradient is not finite.
        """
        if player.name != self.player or self.seen >= count:
            self.player, self.layers, self.seen = player.name, {}, 0
        inputs = {"the batch": batch.x, "the targets": batch.y, **noise}
        bad = [k for k, v in inputs.items() if v is not None and not v.isfinite().all()]
        with self._watched():
            terms = autograd(self.model, self.players, self.precision, player, batch, noise, count)
        self._gradients(player)
        for name, values in terms.items():
            fine = values.detach().isfinite()
            if not fine.all():
                at = (~fine).nonzero().flatten().tolist()
                self.rows = [self.seen + i for i in at]
                value = float(values.detach()[at[0]])
                raise NonFinite(player.name, name, bad[0] if bad else self._first_output(), value)
        self.seen += len(batch.x)
        worst = [x for x in self.layers.values() if x.gradients and x.gradients.broken]
        if worst:  # autograd goes from the last layer to the first
            raise NonFinite(player.name, "gradient", worst[-1].name)
        return terms

    def _first_output(self) -> str:
        for layer in self.layers.values():
            if layer.weights is not None and layer.weights.broken:
                return f"{layer.name} (its weights)"
            if layer.outputs is not None and layer.outputs.broken:
                return layer.name
        return BEHIND

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note the outputs of every leaf module inside the block."""
        handles = [
            module.register_forward_hook(self._hook(name))
            for name, module in self.model.named_modules()
            if name and not any(module.children())
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
            label = f"{name} {type(module).__name__}"
            weights_of_module = [p.detach().flatten() for p in module.parameters()]
            weights = range_of(torch.cat(weights_of_module)) if weights_of_module else None
            layer = self.layers.setdefault(name, LayerRanges(label, weights))
            for value in output if isinstance(output, tuple) else (output,):
                if isinstance(value, Tensor) and value.is_floating_point():
                    layer.outputs = range_of(value).union(layer.outputs)

        return note

    def _gradients(self, player: Player) -> None:
        player_ids = {id(p) for p in player.module.parameters()}
        ranges: dict[str, Range] = {}
        for name, p in self.model.named_parameters():
            if id(p) not in player_ids or p.grad is None:
                continue
            layer_name = name.rpartition(".")[0]
            if layer_name not in self.layers:
                layer_name = OTHER
                weights = range_of(p)
                layer = self.layers.setdefault(layer_name, LayerRanges(OTHER, weights))
                layer.weights = weights.union(layer.weights)
            ranges[layer_name] = range_of(p.grad).union(ranges.get(layer_name))
        for layer_name, gradients in ranges.items():
            self.layers[layer_name].gradients = gradients
