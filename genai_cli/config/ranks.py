"""Read rank and world size of this process from the environment. Imports no torch: it is needed
before anything is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genai_cli.errors import UserError
from genai_cli.system.cpu import cores

if TYPE_CHECKING:
    import torch

    from genai_cli.config.schema import TrainConfig

# set by `runner.spawn`, which waits for the rank and reports its death
SUPERVISED = "GENAI_WATCHED"
PEER_LOST = 76  # exit code of a healthy rank that lost another one


def world_size() -> int:
    """Return the number of processes that train this run; 1 without torchrun."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def rank() -> int:
    """Return the rank of this process, 0 … `world_size` − 1."""
    return _number("RANK", 0) if world_size() > 1 else 0


def is_supervised() -> bool:
    """Tell whether `runner.spawn` started this process."""
    return SUPERVISED in os.environ and world_size() > 1


def local_rank() -> int:
    """Return the rank of this process on its machine, which is the index of its GPU."""
    return _number("LOCAL_RANK", rank()) if world_size() > 1 else 0


def local_world_size() -> int:
    """Return the number of ranks on this machine."""
    return _number("LOCAL_WORLD_SIZE", world_size()) if world_size() > 1 else 1


def planned_local_world_size(cfg: TrainConfig) -> int:
    """Return the number of ranks on this machine, once they are started."""
    return local_world_size() if world_size() > 1 else cfg.trainer.devices


def with_world_size(cfg: TrainConfig) -> TrainConfig:
    """Return the config with ``trainer.devices`` set to torchrun's world size.

    Raises:
        UserError: both say how many, and not the same.
    """
    import dataclasses

    if world_size() == 1 or cfg.trainer.devices == world_size():
        return cfg
    if cfg.trainer.devices != 1:
        raise UserError(
            f"trainer.devices={cfg.trainer.devices}, but torchrun started {world_size()} "
            "processes; leave trainer.devices out"
        )
    return dataclasses.replace(cfg, trainer=dataclasses.replace(cfg.trainer, devices=world_size()))


def oversubscription_warning(cfg: TrainConfig, device: torch.device) -> str | None:
    """Return a warning where ranks on a CPU have less than a core each."""
    if device.type == "cpu" and planned_local_world_size(cfg) > cores():
        return f"trainer.devices={cfg.trainer.devices}: the ranks share {cores()} cores"
    return None


def check(cfg: TrainConfig, device: torch.device, gpus: int | None = None) -> None:
    """Refuse settings that several ranks on ``device`` cannot have.

    Args:
        cfg: ``trainer.devices`` are those of all machines together.
        device: of one of them.
        gpus: where they will be on nodes of a cluster, what its launcher is asked for; it knows
            how many ranks share a node.

    Raises:
        UserError: fewer GPUs than ranks, one named GPU, no backend, fewer examples than ranks.
    """
    n, setting = cfg.trainer.devices, f"trainer.devices={cfg.trainer.devices}"
    if n == 1:
        return
    if device.type == "mps":
        raise UserError(
            f"{setting}: Apple's GPU is one device; use device=cpu or trainer.devices=1"
        )
    if device.index is not None:
        raise UserError(f"{setting} with device={cfg.device}, which is one GPU; use device=cuda")
    if device.type == "cuda" and gpus is None:
        import torch

        here, available = planned_local_world_size(cfg), torch.cuda.device_count()
        if here > available:
            raise UserError(
                f"{setting}: there are {available} GPUs here for {here} ranks; "
                f"use trainer.devices={available}"
            )
    if n > cfg.batch_size:
        raise UserError(
            f"{setting} cuts a batch of {cfg.batch_size} into less than an example for each rank; "
            "raise batch_size"
        )
    if cfg.trainer.step == "graph":
        raise UserError(f"trainer.step=graph is the step of one device, and {setting}; use eager")


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else otherwise
