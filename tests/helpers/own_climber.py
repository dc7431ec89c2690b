"""A model whose weight grows by the rate in each step until a number is not finite."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

MODEL = '''
"""A weight that grows by the rate in each step, and is too large for a logarithm one day."""
import torch
from torch import nn
from genai_cli.models.base import Model

class Climber(Model):
    def __init__(self, data, limit: float = 10.3, trap: str = "loss"):
        super().__init__()
        self.climb, self.rest = nn.Linear(1, 1, bias=False), nn.Linear(1, 1)
        nn.init.zeros_(self.climb.weight)
        self.limit, self.trap = limit, trap

    def loss(self, batch, noise, player="model"):
        one = batch.x.new_ones(len(batch.x), 1)
        height = self.climb(one).squeeze(1)
        room = self.limit - height
        if self.trap == "gradient":  # of a root at 0, in the third step
            return {"loss": ((height - height.detach()).abs() + (self.step < 2)).sqrt() - height}
        return {"loss": 0 * room.log() - height, "height": height}
'''
YAML = "# @package _global_\n# Climbs\nmodel:\n  name: climber\n  limit: 10.3\n  trap: loss\n"
CLIMB = (
    *("model=climber", "optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0", "monitor=null"),
    *(
        "optimizer.nesterov=false",
        "dataset.limit=64",
        "batch_size=16",
        "epochs=4",
        "precision=fp64",
        "trainer.init=default",
    ),
)


def write(folder: Path) -> str:
    """The model and its config in ``folder``; what GENAI_PATH is to say."""
    for name, text in (("models/climber.py", MODEL), ("configs/model/climber.yaml", YAML)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    return str(folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    last = (folder / "checkpoints" / "last").read_text().strip()
    return load_file(folder / "checkpoints" / last / "weights.safetensors")
