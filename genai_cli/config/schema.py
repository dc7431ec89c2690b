"""The typed shape of a training config: a wrong key or type is caught before anything is built.

Values and their meaning stand in ``configs/train.yaml`` and ``configs/trainer/``; here are only
types. The groups whose keys depend on the choice (dataset, model, loss, optimizer, schedule) are
plain mappings, checked against the signature of what they name (`signatures.bind`).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.errors import UserError


@dataclass
class TrainerConfig:
    devices: int = 1
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    min_delta: float = 0.0
    init: str = "default"
    max_steps: int | None = None
    save_every: int | None = None
    keep: int = 2
    figures_every: int = 0
    rollback: int = 0
    step: str = "auto"
    pack: str = "none"
    loggers: list[str] = field(default_factory=list)
    threads: int | None = None
    deterministic: bool = False


@dataclass
class FiguresConfig:
    name: str = "png"
    scale: float = 1.0


@dataclass
class TrainConfig:
    dataset: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    figures: FiguresConfig = field(default_factory=FiguresConfig)
    bottleneck: int | None = None
    batch_size: int = 64
    epochs: int = 60
    seed: int = 0
    split_seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    monitor: str | None = "val/loss"
    outputs: str | None = None
    name: str | None = None
    tags: list[str] = field(default_factory=list)
    init_from: str | None = None
    force_loss: bool = False


@dataclass
class Composed(TrainConfig):
    """What YAML files compose to: an experiment may say what -m varies, which is no part of a
    run."""

    sweep: dict[str, Any] = field(default_factory=dict)

    def of_run(self) -> TrainConfig:
        """The config of a run."""
        return TrainConfig(**{f.name: getattr(self, f.name) for f in fields(TrainConfig)})


def hint_of(key: str) -> Any:
    """The annotation of a dotted key, or None where the schema has none."""
    hint: Any = TrainConfig
    for part in key.split("."):
        hint = typing.get_type_hints(hint).get(part) if isinstance(hint, type) else None
    return hint


def wrong_type(key: str, said: str) -> str:
    """OmegaConf's refusal of a value, in our words: the key, the value and what is allowed."""
    from genai_cli.config.signatures import words

    hint = hint_of(key)
    value = re.match(r"(?:Value |Cannot convert )?'(.*?)'", said)
    if "not a ListConfig" in said:
        return f"{key} is not allowed as one word: it must be a list, like {key}=[word]"
    if hint is None or value is None:
        return f"{key}: {said}"
    return f"{key}={value[1]} is not allowed: it must be {words(hint)}"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested mappings: {"model": {"beta": 1}} is {"model.beta": 1}."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


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
