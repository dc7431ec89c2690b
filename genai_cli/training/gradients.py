"""Gradient norms of the players of a model, measured once an epoch.

A loss curve does not show it. A generator that plays minimax against a sure discriminator has a
calm loss and hardly any gradient; see `adversarial.minimax`.
"""

from __future__ import annotations

import math

import torch

from genai_cli.data.dataset import Dataset
from genai_cli.rng import generator
from genai_cli.training.state import Training

EXAMPLES = 64  # the norm is then known to some 10 %, and it moves by powers of ten


def grad_norms(run: Training, data: Dataset, seed: int) -> dict[str, float]:
    """{"PLAYER/gradient": ‖∇ mean loss‖₂} for the players in the model's ``log_grad_norm``.

    Of the weights themselves, not their average, without mixed precision; on the first training
    examples with noise that is the same in every epoch. Nothing of the run is touched. A norm that
    is not finite is left out: the step that made it is found by who looks for it.
    """
    watched = [player for player in run.players if player.name in run.model.log_grad_norm]
    if not watched:
        return {}
    batch = data.train.batch(torch.arange(min(EXAMPLES, len(data.train))))
    draws = generator(seed, "gradient", 0, batch.x.device)
    noise, norms = run.model.noise(len(batch.x), draws), {}
    run.model.eval()
    for player in watched:
        weights = list(player.module.parameters())
        with torch.enable_grad():
            loss = run.model.loss(batch, noise, player.name)["loss"].mean()
            parts = torch.autograd.grad(loss, weights, allow_unused=True)
        sizes = [part.norm() for part in parts if part is not None]
        if sizes and math.isfinite(norm := float(torch.stack(sizes).norm())):
            norms[f"{player.name}/gradient"] = norm
    return norms
