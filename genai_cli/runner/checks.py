"""Resolve ``auto`` values of a config and check it by building it on the meta device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch

from genai_cli.config import ranks
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError, listing, nearest
from genai_cli.models import build
from genai_cli.models.base import Model
from genai_cli.rng import generator
from genai_cli.training import optimizers, room
from genai_cli.training.machine import pick_device
from genai_cli.training.schedule import LRSchedule
from genai_cli.training.setup import start_from
from genai_cli.training.step_kinds import choose

if TYPE_CHECKING:
    from genai_cli.data.dataset import Spec


def resolve_auto(cfg: TrainConfig, data: Spec, note: Callable[[str], None]) -> TrainConfig:
    """Return the config with every ``auto`` resolved and the schedule's horizon fixed.

    Raises:
        UserError: the loss does not fit the family, the data or the output activation.
    """
    from genai_cli.losses.elementwise import LOSSES

    cfg = dataclasses.replace(
        cfg, loss=dict(cfg.loss), model=dict(cfg.model), schedule=dict(cfg.schedule)
    )
    if "horizon" in cfg.schedule and cfg.schedule["horizon"] is None:
        cfg.schedule["horizon"] = float(cfg.epochs)
    fits = build.model_class(cfg.model["name"]).objectives(data)
    if not fits:
        return cfg
    name, choices = cfg.loss["name"], list(fits)
    if name == "auto":
        name = choices[0]
        cfg.loss["name"] = name  # the first line of a run says it, and its config.yaml
    elif name not in fits:
        what = f"loss={name} does not fit {_describe_pairing(cfg, data)}"
        if not {name, *choices} <= set(LOSSES):  # not even computable: nothing to force
            raise UserError(f"{what}; use loss={choices[0]} (fitting: {listing(choices)})")
        _refuse_or_warn(cfg, note, what, "loss", choices)
    if "output_activation" in cfg.model:
        _resolve_activation(cfg, fits.get(name, ()), name, note)
    return cfg


def _resolve_activation(
    cfg: TrainConfig, fitting: tuple[str, ...], loss: str, note: Callable[[str], None]
) -> None:
    from genai_cli.losses.elementwise import output_activation

    activation = cfg.model["output_activation"]
    if activation == "auto":
        cfg.model["output_activation"] = output_activation("auto", loss, {loss: fitting})
    elif fitting and activation not in fitting:
        if activation not in get_args(Literal["linear", "sigmoid", "softmax"]):
            return  # not an activation at all: the constructor's types say so
        what = f"model.output_activation={activation} does not fit loss={loss}"
        _refuse_or_warn(cfg, note, what, "model.output_activation", list(fitting))


def _refuse_or_warn(
    cfg: TrainConfig, note: Callable[[str], None], what: str, key: str, choices: list[str]
) -> None:
    if not cfg.force_loss:
        raise UserError(
            f"{what}; use {key}={choices[0]} (fitting: {listing(choices)}), "
            "or force_loss=true to see what happens"
        )
    note(f"warning: {what} (fitting: {listing(choices)}); force_loss=true lets it run")


def _describe_pairing(cfg: TrainConfig, data: Spec) -> str:
    """Name the family and what of the data its loss is computed on."""
    family, dataset = cfg.model["name"], cfg.dataset["name"]
    predicts = hasattr(build.model_class(family), "predict")
    if predicts and data.target == "labels":
        return f"{family} on the {len(data.classes)} classes of {dataset}"
    if predicts and data.target == "values":
        return f"{family} on the numeric target of {dataset}"
    return f"{family} on {dataset}" + ("" if data.unit_interval else ", whose values leave [0, 1]")


def check_built(
    cfg: TrainConfig, data: Dataset, resume: bool = False, gpus: int | None = None
) -> None:
    """Build model, optimizer and schedule on the meta device: every mistake shows, nothing is made.

    A resumed run has weights of its own and does not ask for ``init_from`` again. ``gpus`` as of
    `machine.pick_device`.

    Raises:
        UserError: a key, type, value or combination that cannot be built.
    """
    with torch.device("meta"):
        model = build.build_model(cfg, data.spec)
    optimizers.check(cfg.optimizer)
    LRSchedule(cfg.schedule)
    device = pick_device(cfg.device, gpus)
    room.check_memory(model, cfg.model["name"], device, here=gpus is None)
    choose.check(cfg, device, here=gpus is None)
    ranks.check(cfg, device, gpus)
    if cfg.precision == "fp64" and device.type == "mps":
        raise UserError("precision=fp64: an Apple GPU has no double precision; use precision=fp32")
    if model.batch_dependent and cfg.trainer.accumulate > 1:
        raise UserError(
            f"trainer.accumulate={cfg.trainer.accumulate} would change this loss, which looks at "
            "the whole batch (loss.sigma=optimal); use loss=gaussian loss.sigma=learned, or "
            "trainer.accumulate=1"
        )
    if (
        model.batch_dependent
        and type(model).set_all_reduce is Model.set_all_reduce
        and cfg.trainer.devices > 1
    ):
        raise UserError(
            f"trainer.devices={cfg.trainer.devices}: the loss of model={cfg.model['name']} looks "
            "at the whole batch and has no set_all_reduce(); use trainer.devices=1"
        )
    if cfg.init_from is not None and not resume:
        start_from(cfg, build.build_model(cfg, data.spec))
    if not len(data.val) and (cfg.monitor or "").startswith("val/"):
        raise UserError(
            f"monitor={cfg.monitor} needs a validation split, and there is none; set monitor=null"
            " or dataset.val_fraction=0.1"
        )
    if cfg.monitor is not None and (cfg.monitor != "val/loss" or len(model.players()) > 1):
        _check_monitor(cfg, data)


def _check_monitor(cfg: TrainConfig, data: Dataset) -> None:
    """A column metrics.csv will have: known only from a real loss of one example."""
    model = build.build_model(cfg, data.spec)
    device = torch.device("cpu")
    one = data.train.batch(torch.arange(1))
    columns = []
    for player in model.players():
        terms = model.loss(one, model.noise(1, generator(0, "monitor", 0, device)), player.name)
        prefix = "" if len(model.players()) == 1 else f"{player.name}/"
        columns += [f"{split}/{prefix}{term}" for term in terms for split in ("val", "train")]
    if cfg.monitor not in columns:
        raise UserError(
            f"monitor={cfg.monitor} is no column of this run{nearest(str(cfg.monitor), columns)} "
            f"(choose from: {listing(columns)})"
        )
