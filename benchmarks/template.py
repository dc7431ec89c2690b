"""What a project made from lightning-hydra-template starts: Hydra, Lightning, its usual callbacks.

    python benchmarks/template.py trainer.max_epochs=1

Written for startup.py, to be measured: its imports are those of that template's train.py, its
data and layers those of `genai train model=autoencoder`. rootutils, which finds the project's
folder, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hydra
import lightning
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics import MeanMetric


class Digits(lightning.LightningDataModule):
    """scikit-learn's 1,797 digits as tensors."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str | None = None) -> None:
        from sklearn.datasets import load_digits

        x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
        self.train, self.val = random_split(TensorDataset(x), [0.8, 0.2])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, self.batch_size)


class Autoencoder(lightning.LightningModule):
    """64-128-16-128-64."""

    def __init__(self, bottleneck: int, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.net = nn.Sequential(
            nn.Linear(64, 128),
            nn.ReLU(),
            nn.Linear(128, bottleneck),
            nn.Linear(bottleneck, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.Sigmoid(),
        )
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()

    def step(self, batch: list[Tensor], mean: MeanMetric, name: str) -> Tensor:
        loss = F.mse_loss(self.net(batch[0]), batch[0])
        mean(loss)
        self.log(name, mean, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.step(batch, self.train_loss, "train/loss")

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.step(batch, self.val_loss, "val/loss")

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(params=self.parameters())


@hydra.main(version_base="1.3", config_path=".", config_name="template")
def main(cfg: DictConfig) -> None:
    lightning.seed_everything(0)
    data = hydra.utils.instantiate(cfg.data)
    model = hydra.utils.instantiate(cfg.model)
    callbacks = [hydra.utils.instantiate(one) for one in cfg.callbacks]
    trainer = hydra.utils.instantiate(cfg.trainer, callbacks=callbacks)
    trainer.fit(model, data)


if __name__ == "__main__":
    main()
