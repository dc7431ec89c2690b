"""Check ranges and combinations of a config that types cannot express, before a folder exists."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genai_cli.config import schema
from genai_cli.config.schema import iter_keys
from genai_cli.config.signatures import validate
from genai_cli.errors import UserError, listing, nearest

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig

LOGGER_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
SCALED = ("adamax", "nadam", "adadelta", "rmsprop")  # whose rate torch turns into one of its floats


def check(cfg: TrainConfig) -> None:
    """Check ranges and choices that need neither torch nor data.

    Raises:
        UserError: the first one that does not hold.
    """
    for key, hint in iter_keys():
        value: Any = cfg
        for part in key.split("."):
            value = getattr(value, part)
        validate(value, hint, key)
    if cfg.trainer.loggers:
        check_loggers(cfg.trainer.loggers)
        if cfg.trainer.pack != "none":
            raise UserError("trainer.loggers is for runs that train alone; leave out trainer.pack")
    for key in ("outputs", "name", "init_from", "monitor"):
        if getattr(cfg, key) == "":  # as of an unset variable of the shell
            raise UserError(f"{key}= is empty; give it a value or leave it out")
    single = cfg.precision != "fp64" and cfg.optimizer.get("name") in SCALED
    for key, value in schema.flatten(dataclasses.asdict(cfg)).items():
        words = [w for w in (value if isinstance(value, list) else [value]) if isinstance(w, str)]
        if any("${" in word for word in words):  # a run's config is plain data, read back as such
            raise UserError(f"{key} holds '${{', which a run's config must not; write it out")
        if any("\0" in word for word in words):
            raise UserError(f"{key} holds a NUL character, which no name or path may; leave it out")
        rate = re.fullmatch(r"(optimizer|model)\.(\w+_)?lr", key)
        if rate and single and isinstance(value, int | float) and value > 1e37:
            raise UserError(
                f"{key}={value} is not allowed: optimizer={cfg.optimizer['name']} takes rates up "
                f"to 1e37 in precision={cfg.precision}"
            )
    for group in ("dataset", "model", "loss", "optimizer", "schedule"):
        if "name" not in getattr(cfg, group):
            raise UserError(f"{group}=null is not allowed: choose one (see --help)")
    if cfg.trainer.accumulate > cfg.batch_size:
        raise UserError(
            f"trainer.accumulate={cfg.trainer.accumulate} cuts a batch of {cfg.batch_size} into "
            "pieces of less than one example; raise batch_size"
        )
    if cfg.schedule["name"] == "plateau" and cfg.monitor is None:
        raise UserError(
            "schedule=plateau follows the monitor; set monitor=val/loss (gan: val/generator/loss)"
        )
    if cfg.trainer.patience is not None and cfg.monitor is None:
        raise UserError(
            "trainer.patience follows the monitor; set monitor=val/loss (gan: val/generator/loss)"
        )


def check_loggers(names: Sequence[str]) -> None:
    """Check the names of ``trainer.loggers`` and that their packages are installed.

    Raises:
        UserError: a name that is not known or given twice, a package that is not there.
    """
    for name in names:
        if name not in LOGGER_PACKAGES:
            raise UserError(
                f"trainer.loggers=[{name}] is not allowed: choose from {listing(LOGGER_PACKAGES)}"
                f"{nearest(name, LOGGER_PACKAGES)}"
            )
        if list(names).count(name) > 1:
            raise UserError(f"trainer.loggers holds {name} twice; keep one")
        if importlib.util.find_spec(LOGGER_PACKAGES[name]) is None:
            raise UserError(
                f"trainer.loggers=[{name}] needs a package that is not installed: "
                "pip install 'genai-cli[loggers]'"
            )


def figure_keys(request: Any) -> dict[str, Any]:
    """Return ``figures`` and ``figures.scale`` of a request that has them."""
    given = {"figures": request.figures, "figures.scale": request.figures__scale}
    return {key: value for key, value in given.items() if value is not None}


def figure_settings(
    given: Mapping[str, Any], configs: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the group ``figures`` for what a verb draws of runs.

    Args:
        given: ``figures`` and ``figures.scale`` where its line has them; they win.
        configs: of the runs, with dotted keys; where all have one value, it is taken.

    Returns:
        {name, scale}, for `genai_cli.figures.style.output`.

    Raises:
        UserError: a config holds a value that is not allowed.
    """
    configs, out = list(configs), dataclasses.asdict(schema.FiguresConfig())
    hints = dict(iter_keys())
    for key, default in out.items():
        known = [config.get(f"figures.{key}", default) for config in configs]
        if known and all(value == known[0] for value in known):
            out[key] = known[0]
        out[key] = given.get("figures" if key == "name" else f"figures.{key}", out[key])
        validate(out[key], hints[f"figures.{key}"], f"figures.{key}")
    return out
