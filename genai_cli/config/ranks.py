"""Which of the processes that train one run this is: what torchrun and our own starter say in the
environment. No torch here: it is asked before anything is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genai_cli.errors import UserError
from genai_cli.system.cpu import cores

if TYPE_CHECKING:
    import torch

    from genai_cli.config.schema import TrainConfig

WATCHED = "GENAI_WATCHED"  # set where our own starter waits for the rank and tells who died
LOST = 76  # exit code, to that starter: this rank is sound and misses another one


def world() -> int:
    """How many processes train this run; 1 where nobody started several."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this one, 0 … `world` − 1."""
    return _number("RANK", 0) if world() > 1 else 0


def watched() -> bool:
    """Whether `launchers.spawn` started this one."""
    return WATCHED in os.environ and world() > 1


def local_rank() -> int:
    """Its number on this machine, which is that of its GPU."""
    return _number("LOCAL_RANK", rank()) if world() > 1 else 0


def neighbours() -> int:
    """How many of them share this machine; 1 where this one is alone."""
    return _number("LOCAL_WORLD_SIZE", world()) if world() > 1 else 1


def here(cfg: TrainConfig) -> int:
    """How many will share this machine, should they be started here."""
    return neighbours() if world() > 1 else cfg.trainer.devices


def sized(cfg: TrainConfig) -> TrainConfig:
    """The config with ``trainer.devices`` as torchrun was told.

    Raises:
        UserError: both say how many, and not the same.
    """
    import dataclasses

    if world() == 1 or cfg.trainer.devices == world():
        return cfg
    if cfg.trainer.devices != 1:
        raise UserError(
            f"trainer.devices={cfg.trainer.devices}, but torchrun started {world()} processes; "
            "leave trainer.devices out"
        )
    return dataclasses.replace(cfg, trainer=dataclasses.replace(cfg.trainer, devices=world()))


def crowded(cfg: TrainConfig, device: torch.device) -> str | None:
    """A word to the user where ranks on a CPU have less than a core each."""
    if device.type == "cpu" and here(cfg) > cores():
        return f"trainer.devices={cfg.trainer.devices}: the ranks share {cores()} cores"
    return None


def check(cfg: TrainConfig, device: torch.device, gpus: int | None = None) -> None:
    """What several ranks on ``device`` cannot be.

    Args:
        cfg: ``trainer.devices`` are those of all machines together.
        device: of one of them.
        gpus: where they will be on nodes of a cluster, what its launcher is asked for; it knows
            how many ranks share a node.

    Raises:
        UserError: fewer GPUs than ranks, one named GPU, no backend, fewer examples than ranks.
    """
    n, said = cfg.trainer.devices, f"trainer.devices={cfg.trainer.devices}"
    if n == 1:
        return
    if device.type == "mps":
        raise UserError(f"{said}: Apple's GPU is one device; use device=cpu or trainer.devices=1")
    if device.index is not None:
        raise UserError(f"{said} with device={cfg.device}, which is one GPU; use device=cuda")
    if device.type == "cuda" and gpus is None:
        import torch

        if here(cfg) > torch.cuda.device_count():
            raise UserError(
                f"{said}: there are {torch.cuda.device_count()} GPUs here for {here(cfg)} ranks; "
                f"use trainer.devices={torch.cuda.device_count()}"
            )
    if n > cfg.batch_size:
        raise UserError(
            f"{said} cuts a batch of {cfg.batch_size} into less than an example for each rank; "
            "raise batch_size"
        )
    if cfg.trainer.step == "graph":
        raise UserError(f"trainer.step=graph is the step of one device, and {said}; use eager")


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else otherwise
