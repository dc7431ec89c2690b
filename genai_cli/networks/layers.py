"""The layer table: every leaf module with its output shape and parameter count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genai_cli.models.base import Batch, Model


def layer_rows(model: Model, batch: Batch, noise: dict[str, Tensor]) -> list[tuple[str, str, str]]:
    """(layer, output shape, parameters) in the order in which one loss runs them.

    Shapes leave the batch dimension out. Parameters outside any leaf module (a learned scale)
    come last.
    """
    rows: dict[str, tuple[str, str, int]] = {}
    handles = []

    def note(name: str, module: nn.Module):
        def hook(_module: nn.Module, _inputs: tuple, output: object) -> None:
            shape = "×".join(map(str, output.shape[1:])) if isinstance(output, Tensor) else ""
            count = sum(p.numel() for p in module.parameters())
            rows.setdefault(name, (f"{name} {type(module).__name__}", shape, count))

        return hook

    for name, module in model.named_modules():
        if name and not any(module.children()) and any(True for _ in module.parameters()):
            handles.append(module.register_forward_hook(note(name, module)))
    was_training = model.training
    model.eval()
    try:
        for player in model.players():
            with torch.no_grad():
                model.loss(batch, noise, player.name)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    seen = sum(count for _, _, count in rows.values())
    rest = sum(p.numel() for p in model.parameters()) - seen
    table = [(label, shape, f"{count:,}") for label, shape, count in rows.values()]
    return [*table, ("other parameters", "", f"{rest:,}")] if rest else table
