"""From a settled config to a training state on a device, and from a run folder back to it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genai_cli import build, ranks, rules, runs
from genai_cli.data.dataset import Dataset, Spec
from genai_cli.data.sources import DataNote
from genai_cli.data.sources import load as load_dataset
from genai_cli.errors import UserError, in_one_line, listing, nearest
from genai_cli.links import refuse_links
from genai_cli.models.base import Model
from genai_cli.schema import TrainConfig, wrong_type
from genai_cli.training import checkpoint as checkpoints
from genai_cli.training import choose, optimizers, room
from genai_cli.training.ema import Ema
from genai_cli.training.init import initialise
from genai_cli.training.loop import PREPARED, Training, finish
from genai_cli.training.machine import pick_device
from genai_cli.training.randomness import derive, generator
from genai_cli.training.schedule import Schedule


def load_data(cfg: TrainConfig, note: Callable[[str], None] | None = None) -> Dataset:
    """The data of a config; what there is to say of it (files left out) is told in plain lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNote)
        data = load_dataset(cfg.dataset, cfg.split_seed)
    for line in data.notes:
        (note or _tell)(f"note: {line}")
    return data


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


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
    Schedule(cfg.schedule)
    device = pick_device(cfg.device, gpus)
    room.check(model, cfg.model["name"], device, here=gpus is None)
    choose.check(cfg, device, here=gpus is None)
    ranks.check(cfg, device, gpus)
    if cfg.precision == "fp64" and device.type == "mps":
        raise UserError("precision=fp64: an Apple GPU has no double precision; use precision=fp32")
    if model.couples_examples and cfg.trainer.accumulate > 1:
        raise UserError(
            f"trainer.accumulate={cfg.trainer.accumulate} would change this loss, which looks at "
            "the whole batch (loss.sigma=optimal); use loss=gaussian loss.sigma=learned, or "
            "trainer.accumulate=1"
        )
    if model.couples_examples and type(model).couple is Model.couple and cfg.trainer.devices > 1:
        raise UserError(
            f"trainer.devices={cfg.trainer.devices}: the loss of model={cfg.model['name']} looks "
            "at the whole batch and has no couple(); use trainer.devices=1"
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


def new_model(cfg: TrainConfig, data: Spec, device: torch.device) -> Model:
    """Weights drawn on the CPU from the seed alone: the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(cfg.seed, "weights"))
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
        averaged = config_of(source).trainer.ema is not None
        path = checkpoints.named(source / runs.CHECKPOINTS, "best")
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
        schedule=Schedule(cfg.schedule),
        ema=None if cfg.trainer.ema is None else Ema(model, cfg.trainer.ema),
        steps_per_epoch=-(-len(data.train) // cfg.batch_size),
        monitor=cfg.monitor,
    )


def config_of(run: Path) -> TrainConfig:
    """The config in a run folder, checked like a fresh one.

    Raises:
        UserError: it is missing, damaged, or holds a key this version does not know; the folder
            holds a link, a pipe or a device.
    """
    refuse_links(run)
    cfg = typed(runs.read_config(run), run / runs.CONFIG)
    rules.check(cfg)  # it may have been edited
    return cfg


def resolved(cfg: TrainConfig, described: Mapping[str, Any]) -> TrainConfig:
    """The config of a run with what ``precision=auto`` came to; as it is before that is measured.

    Args:
        cfg: as config.yaml has it, which keeps what was asked.
        described: run.json, which has what was measured.
    """
    found = described.get("precision")
    if cfg.precision != "auto" or found not in ("fp32", "bf16"):
        return cfg
    return dataclasses.replace(cfg, precision=found)


def typed(config: dict[str, Any], where: Path) -> TrainConfig:
    """Plain data as a `TrainConfig` whose groups say what they are."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        cfg = copy.deepcopy(_checked(_Plain(repr(config), config)))
    except OmegaConfBaseException as error:
        said = str(error).splitlines()[0]
        raise UserError(
            wrong_type(error.full_key, said) if error.full_key else f"{where}: {said}"
        ) from None
    for group in ("dataset", "model", "loss", "optimizer", "schedule"):
        if not isinstance(getattr(cfg, group).get("name"), str):
            raise UserError(f"{where}: {group} has no name; put the file back as it was written")
    return cfg


class _Plain(NamedTuple):
    """Plain data with a text that is equal where they are."""

    text: str
    config: dict[str, Any]

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Plain) and self.text == other.text


@functools.lru_cache(maxsize=8)  # 14 ms, and a run that is trained, measured and drawn asks thrice
def _checked(plain: _Plain) -> TrainConfig:
    from omegaconf import OmegaConf

    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), plain.config))


def plain(cfg: TrainConfig) -> dict[str, Any]:
    """A config as plain data, for config.yaml."""
    return dataclasses.asdict(cfg)


class Loaded(NamedTuple):
    """A trained run in a notebook."""

    model: Model  # in evaluation mode
    data: Dataset
    config: TrainConfig


def load(
    run: str | Path,
    *,
    checkpoint: str = "best",
    ema: bool | None = None,
    device: str = "cpu",
    outputs: str | None = None,
) -> Loaded:
    """The trained model, its data and its config: ``model, data, config = genai_cli.load("k3f9")``.

    Args:
        run: a path, a folder's suffix, or "latest".
        checkpoint: "best", "last" or a name like "step-000600".
        ema: averaged weights (True), raw ones (False), or averaged where the run has them (None).
        device: where the model and data go.
        outputs: folder of run folders, if not ./outputs or $GENAI_OUTPUTS.

    Raises:
        UserError: no such run or checkpoint, other data than it was trained on.
    """
    folder = runs.find(str(run), outputs)
    cfg = resolved(config_of(folder), runs.read_json(folder / runs.RUN))
    place = pick_device(device)
    data = load_data(cfg)
    same_data(folder, data)
    path = checkpoints.named(folder / runs.CHECKPOINTS, checkpoint)
    model = build.build_model(cfg, data.spec)
    averaged = cfg.trainer.ema is not None if ema is None else ema
    if averaged and cfg.trainer.ema is None:
        raise UserError(f"{folder} kept no averaged weights (trainer.ema=null); use ema=False")
    checkpoints.load_weights(path, model, averaged)
    model.step.fill_(int(path.name.removeprefix("step-")))
    data = data.to(place)
    model.to(place).eval()
    finish(model, data)
    return Loaded(model, data, cfg)


def same_data(run: Path, data: Dataset) -> None:
    """Refuse to go on with other data than a run was started on.

    Raises:
        UserError: the content or the split differs from what run.json recorded.
    """
    recorded = runs.read_json(run / runs.RUN).get("dataset") or {}
    if not isinstance(recorded, dict):
        raise UserError(f"{run / runs.RUN} is damaged: its dataset is {in_one_line(recorded, 40)}")
    for key, now in (("hash", data.hash), ("split_hash", data.split_hash)):
        if recorded.get(key) not in (None, now):
            raise UserError(
                f"dataset {data.name} is not the one {run.name} was trained on "
                f"({key} {recorded[key]}, now {now}); put the old data back"
            )
