"""Layer summary of a model: output shape, parameters and multiply-adds of every leaf module."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from genai_cli.data.dataset import Batch
from genai_cli.models.base import Model


class Layer(NamedTuple):
    """One leaf module, as one loss of one example used it."""

    name: str
    shape: str  # of its output, without the batch dimension
    parameters: int
    work: int  # multiply-adds of its forward pass


def layers(model: Model, batch: Batch, noise: dict[str, Tensor]) -> list[Layer]:
    """The layers in the order in which a loss of ``batch`` (one example) runs them.

    Parameters outside any leaf module (a learned scale) come last.
    """
    by_name: dict[str, Layer] = {}
    handles = []

    def note(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            shape = "×".join(map(str, output.shape[1:])) if isinstance(output, Tensor) else ""
            count = sum(p.numel() for p in module.parameters())
            label = f"{name} {type(module).__name__}"
            by_name.setdefault(name, Layer(label, shape, count, _work(module, inputs, output)))

        return hook

    for name, module in model.named_modules():
        if name and not any(module.children()) and any(True for _ in module.parameters()):
            handles.append(module.register_forward_hook(note(name)))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for player in model.players():
                model.loss(batch, noise, player.name)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    rest = sum(p.numel() for p in model.parameters()) - sum(x.parameters for x in by_name.values())
    return [*by_name.values(), *([Layer("other parameters", "", rest, 0)] if rest else [])]


def _work(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> int:
    """Every use of a weight is one multiply-add."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not isinstance(output, Tensor):
        return 0
    if isinstance(module, nn.Conv2d):
        return weight.numel() * output[0, 0].numel()
    if isinstance(module, nn.ConvTranspose2d):
        return weight.numel() * inputs[0][0, 0].numel()
    return weight.numel()
