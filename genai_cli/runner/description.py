"""Build the entries of run.json that describe a run and the machine it is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genai_cli.config import ranks
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.models import build
from genai_cli.models.base import Model
from genai_cli.models.summary import Layer, layers
from genai_cli.rng import generator
from genai_cli.store import run_folder
from genai_cli.training.machine import (
    device_name,
    git_commit,
    numerics,
    pick_device,
    threads_for,
    versions,
)


def with_machine(
    run_info: Mapping[str, Any], cfg: TrainConfig, data: Dataset, device: torch.device
) -> dict[str, Any]:
    """Return run.json updated with this machine's device and versions; recorded threads stay."""
    known = dict(run_info.get("versions") or {})
    machine = {"device": device_name(device), "versions": known | versions(device)}
    if run_info.get("device") is None and run_info.get("threads") is None:
        machine["threads"] = description(cfg, data)["threads"]  # written where nobody knew it
    return {**run_info, **machine}


def one_example(model: Model, data: Dataset) -> list[Layer]:
    """The layers that a loss of one example runs through, and whether it is a loss at all."""
    batch = data.train.batch(torch.arange(1))
    noise = model.noise(1, generator(0, "layers"))
    for player in model.players():
        terms = model.loss(batch, noise, player.name)
        shapes = {name: tuple(term.shape) for name, term in terms.items()}
        if "loss" not in terms or any(shape != (1,) for shape in shapes.values()):
            raise UserError(
                f"{type(model).__name__}.loss must return terms of one number an example, (B,), "
                f'"loss" among them; for one example it returned {shapes}'
            )
    return layers(model, batch, noise)


def description(cfg: TrainConfig, data: Dataset, gpus: int | None = None) -> dict[str, Any]:
    """Return the entries of run.json that are known before a run starts.

    Args:
        cfg: settled.
        data: its data set.
        gpus: as of `machine.pick_device`. Of a run that will be on another machine the device and
            the threads stay null until it is there.

    Raises:
        UserError: the model does not fit into memory, or its loss fails on one example.
    """
    device = pick_device(cfg.device, gpus)
    try:
        with numerics(cfg):
            model = build.build_model(cfg, data.spec)
            made_of = one_example(model, data)
    except UserError:
        raise
    except Exception as error:  # a model of the user's own may raise anything
        name, message = cfg.model["name"], " ".join(str(error).split())[:200]
        raise UserError(
            f"model={name} fails on one example: {type(error).__name__}: {message}"
        ) from error
    work = 3 * cfg.batch_size * sum(layer.work for layer in made_of)  # backward is twice forward
    share = (
        ranks.planned_local_world_size(cfg) if ranks.world_size() == 1 else 1
    )  # started already, a rank has its own
    here = gpus is None
    threads = threads_for(work // cfg.trainer.devices, device, share) if here else None
    return {
        "schema": run_folder.SCHEMA,
        "status": "running",
        "command": None,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": device_name(device) if gpus is None else None,
        "devices": cfg.trainer.devices,
        "precision": None if cfg.precision == "auto" else cfg.precision,
        "threads": cfg.trainer.threads or threads,
        "step_kind": None,  # and the two above, where None: measured at the start (choose.py)
        "versions": versions(device),
        "git": git_commit(),
        "dataset": {
            "name": data.name,
            "hash": data.hash,
            "split_hash": data.split_hash,
            "event_shape": list(data.spec.event_shape),
            "n": data.n,
            **({} if data.validation == "split" else {"validation": data.validation}),
        },
        "seed": cfg.seed,
        "started": None,
        "finished": None,
    }
