"""Build the training state of a run from its resolved config."""

from __future__ import annotations

from pathlib import Path

import torch

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset, Spec
from genai_cli.models import build
from genai_cli.models.base import Model
from genai_cli.rng import derive_seed
from genai_cli.store import run_folder
from genai_cli.store.run_config import load_config
from genai_cli.training import checkpoint as checkpoints
from genai_cli.training import optimizers
from genai_cli.training.ema import Ema
from genai_cli.training.init import initialise
from genai_cli.training.loop import PREPARED
from genai_cli.training.schedule import LRSchedule
from genai_cli.training.state import Training


def new_model(cfg: TrainConfig, data: Spec, device: torch.device) -> Model:
    """Weights drawn on the CPU from the seed alone: the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(cfg.seed, "weights"))
        model = build.build_model(cfg, data)
        initialise(model, cfg.trainer.init)
    return model.to(device)


def start_from(cfg: TrainConfig, model: Model) -> None:
    """Load the weights of ``init_from``, averaged ones where that run has them.

    Raises:
        UserError: that run has no checkpoint, or its weights do not fit.
    """
    if cfg.init_from is not None:
        source = Path(cfg.init_from)
        averaged = load_config(source).trainer.ema is not None
        path = checkpoints.named(source / run_folder.CHECKPOINTS, "best")
        checkpoints.load_weights(path, model, averaged)


def new_training(
    cfg: TrainConfig, data: Dataset, device: torch.device, resume: bool = False
) -> Training:
    """The state before step 0; a resumed run gets its weights from its own checkpoint."""
    model = new_model(cfg, data.spec, device)
    model.prepare(data.train.batch(torch.arange(min(PREPARED, len(data.train)))))
    if not resume:
        start_from(cfg, model)  # statistics of the data it was trained on included
    players = model.players()
    return Training(
        model=model,
        players=players,
        optimizers=optimizers.make(players, cfg.optimizer, device),
        schedule=LRSchedule(cfg.schedule),
        ema=None if cfg.trainer.ema is None else Ema(model, cfg.trainer.ema),
        steps_per_epoch=-(-len(data.train) // cfg.batch_size),
        monitor=cfg.monitor,
    )
