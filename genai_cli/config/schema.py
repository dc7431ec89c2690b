"""Define the typed schema of a training config, so that a mistake is caught before the start.

Here stand a key's type, range and what a resume may do to it; its value and meaning stand in
``configs/train.yaml`` and ``configs/trainer/``, from which the help is made. The groups whose keys
depend on the choice (dataset, model, loss, optimizer, schedule) are plain mappings, checked against
the signature of what they name (`signatures.bind`).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from genai_cli.config.signatures import (
    Below,
    Between,
    Count,
    Device,
    Help,
    Natural,
    NonNegative,
    OneOf,
    Positive,
    Rate,
)
from genai_cli.errors import UserError


class Resume(NamedTuple):
    """States whether a resumed run may change a key, and the reason or the note."""

    allowed: bool
    why: str = ""


SAFE = Resume(True)
NOTED = Resume(True, "the rest of the run is not as first planned")


def refused(why: str) -> Resume:
    """Return the rule that a resumed run may not change a key."""
    return Resume(False, why)


WEIGHTS = refused("it made the weights")
FOLDER = refused("the run stays in its folder")
LOSSES = refused("the losses so far would not be comparable")

Precision = Annotated[str, OneOf(dict.fromkeys(("auto", "fp32", "bf16", "fp64"), ""))]
FORMATS = OneOf({"png": "", "pdf": "beside each PNG", "svg": "beside each PNG"})
Figures = Annotated[  # of verbs that draw runs
    str | None, FORMATS, Help("a PDF or SVG beside each PNG; as the runs' own if not given", "png")
]
FiguresScale = Annotated[
    Annotated[float, Between(0.5, 1.8)] | None,
    Help("type, lines and markers so many times as large, 0.5 to 1.8", "1.5"),
]
INITS = ("default", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "orthogonal")
STEPS = ("auto", "eager", "compiled", "graph")
STACKS = OneOf(
    dict.fromkeys(("none", "auto"), ""),
    r"[2-9]|[1-9]\d{1,3}",
    "or how many runs train as one stack (2 to 9999)",
)


@dataclass
class TrainerConfig:
    """Holds the keys of the group ``trainer``."""

    devices: Annotated[Count, NOTED] = 1
    accumulate: Annotated[Count, NOTED] = 1
    clip: Annotated[Positive | None, NOTED] = None
    ema: Annotated[Rate | None, refused("the average began with the run")] = None
    patience: Annotated[Count | None, NOTED] = None
    min_delta: Annotated[NonNegative, NOTED] = 0.0
    init: Annotated[str, OneOf(dict.fromkeys(INITS, "")), WEIGHTS] = "default"
    max_steps: Annotated[Count | None, SAFE] = None
    save_every: Annotated[Count | None, SAFE] = None
    keep: Annotated[Count, SAFE] = 2
    figures_every: Annotated[Natural, SAFE] = 0
    rollback: Annotated[Natural, NOTED] = 0
    step: Annotated[str, OneOf(dict.fromkeys(STEPS, "")), NOTED] = "auto"
    pack: Annotated[str, STACKS, refused("a stack is made when a sweep starts")] = "none"
    loggers: Annotated[list[str], SAFE] = field(default_factory=list)
    threads: Annotated[Count | None, Between(high=1024), NOTED] = None
    deterministic: Annotated[bool, NOTED] = False


@dataclass
class FiguresConfig:
    """Holds the keys of the group ``figures``."""

    name: Annotated[str, FORMATS, SAFE] = "png"
    scale: Annotated[float, Between(0.5, 1.8), SAFE] = 1.0


@dataclass
class TrainConfig:
    """Holds the whole config of a run."""

    dataset: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    figures: FiguresConfig = field(default_factory=FiguresConfig)
    bottleneck: Annotated[Count | None, Below(31), refused("the weights would not fit")] = None
    batch_size: Annotated[Count, Below(31), refused("it numbers the steps")] = 64
    epochs: Annotated[Count, Below(31), SAFE] = 60
    seed: Annotated[Natural, WEIGHTS] = 0
    split_seed: Annotated[
        Natural, Below(32), refused("test examples would become training examples")
    ] = 0
    device: Annotated[Device, NOTED] = "auto"
    precision: Annotated[Precision, NOTED] = "fp32"
    monitor: Annotated[str | None, NOTED] = "val/loss"
    outputs: Annotated[str | None, FOLDER] = None
    name: Annotated[str | None, FOLDER] = None
    tags: Annotated[list[str], SAFE] = field(default_factory=list)
    init_from: Annotated[str | None, WEIGHTS] = None
    force_loss: Annotated[bool, LOSSES] = False


@dataclass
class Composed(TrainConfig):
    """Holds a composed config with the ``sweep:`` of an experiment, which is no part of a run."""

    sweep: dict[str, Any] = field(default_factory=dict)

    def of_run(self) -> TrainConfig:
        """Return the config without ``sweep:``."""
        return TrainConfig(**{f.name: getattr(self, f.name) for f in fields(TrainConfig)})


def iter_keys() -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, annotation) of every key that is the same in all configs."""
    groups = ("trainer.", TrainerConfig), ("figures.", FiguresConfig), ("", TrainConfig)
    for prefix, schema in groups:
        for key, hint in typing.get_type_hints(schema, include_extras=True).items():
            if typing.get_origin(hint) is Annotated:
                yield prefix + key, hint


def hint_of(key: str) -> Any:
    """Return the annotation of a dotted key, or None where the schema has none."""
    hint: Any = TrainConfig
    for part in key.split("."):
        hint = typing.get_type_hints(hint).get(part) if isinstance(hint, type) else None
    return hint


def type_message(key: str, reason: str) -> str:
    """Rewrite OmegaConf's refusal of a value: the key, the value and what is allowed."""
    from genai_cli.config.signatures import describe_type

    hint = hint_of(key)
    value = re.match(r"(?:Value |Cannot convert )?'(.*?)'", reason)
    if "not a ListConfig" in reason:
        return f"{key} is not allowed as one word: it must be a list, like {key}=[word]"
    if hint is None or value is None:
        return f"{key}: {reason}"
    return f"{key}={value[1]} is not allowed: it must be {describe_type(hint)}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys: {"model": {"beta": 1}} is {"model.beta": 1}."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def from_dict(config: dict[str, Any], where: Path) -> TrainConfig:
    """Convert plain data to a `TrainConfig` whose groups have names."""
    from omegaconf.errors import OmegaConfBaseException

    for group in ("trainer", "figures"):
        if not isinstance(config.get(group, {}), dict):
            raise UserError(
                f"{where}: {group}={config[group]} is not allowed: it is a group of keys; "
                "put the file back as it was written"
            )
    try:
        cfg = copy.deepcopy(_build(_HashableConfig(repr(config), config)))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            type_message(error.full_key, reason) if error.full_key else f"{where}: {reason}"
        ) from None
    for group in ("dataset", "model", "loss", "optimizer", "schedule"):
        if not isinstance(getattr(cfg, group).get("name"), str):
            raise UserError(f"{where}: {group} has no name; put the file back as it was written")
    return cfg


class _HashableConfig(NamedTuple):
    """Holds a config with a text as its hash, for a cache."""

    text: str
    config: dict[str, Any]

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HashableConfig) and self.text == other.text


@functools.lru_cache(maxsize=8)  # 14 ms, and one run needs it three times
def _build(hashable: _HashableConfig) -> TrainConfig:
    from omegaconf import OmegaConf

    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), hashable.config))


def to_dict(cfg: TrainConfig) -> dict[str, Any]:
    """Convert a config to plain data, for config.yaml."""
    return dataclasses.asdict(cfg)
