"""Load a trained run: its data, its weights and its model, for a notebook or a resume."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.data.sources import DataNote
from genai_cli.data.sources import load as load_dataset
from genai_cli.errors import UserError, in_one_line
from genai_cli.models import build
from genai_cli.models.base import Model
from genai_cli.store import lookup, run_folder
from genai_cli.store.run_config import load_config
from genai_cli.training import checkpoint as checkpoints
from genai_cli.training.loop import finish
from genai_cli.training.machine import pick_device


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


def with_measured_precision(cfg: TrainConfig, run_info: Mapping[str, Any]) -> TrainConfig:
    """Return the config of a run with ``precision=auto`` replaced by the measured precision.

    Args:
        cfg: as config.yaml has it, which keeps what was asked.
        described: run.json, which has what was measured.
    """
    precision = run_info.get("precision")
    if cfg.precision != "auto" or precision not in ("fp32", "bf16"):
        return cfg
    return dataclasses.replace(cfg, precision=precision)


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
    folder = lookup.find(str(run), outputs)
    run_info = run_folder.read_json(folder / run_folder.RUN)
    cfg = with_measured_precision(load_config(folder), run_info)
    target = pick_device(device)
    data = load_data(cfg)
    same_data(folder, data)
    path = checkpoints.named(folder / run_folder.CHECKPOINTS, checkpoint)
    model = build.build_model(cfg, data.spec)
    averaged = cfg.trainer.ema is not None if ema is None else ema
    if averaged and cfg.trainer.ema is None:
        raise UserError(f"{folder} kept no averaged weights (trainer.ema=null); use ema=False")
    checkpoints.load_weights(path, model, averaged)
    model.step.fill_(int(path.name.removeprefix("step-")))
    data = data.to(target)
    model.to(target).eval()
    finish(model, data)
    return Loaded(model, data, cfg)


def same_data(run: Path, data: Dataset) -> None:
    """Refuse to go on with other data than a run was started on.

    Raises:
        UserError: the content or the split differs from what run.json recorded.
    """
    recorded = run_folder.read_json(run / run_folder.RUN).get("dataset") or {}
    if not isinstance(recorded, dict):
        raise UserError(
            f"{run / run_folder.RUN} is damaged: its dataset is {in_one_line(recorded, 40)}"
        )
    for key, now in (("hash", data.hash), ("split_hash", data.split_hash)):
        if recorded.get(key) not in (None, now):
            raise UserError(
                f"dataset {data.name} is not the one {run.name} was trained on "
                f"({key} {recorded[key]}, now {now}); put the old data back"
            )
