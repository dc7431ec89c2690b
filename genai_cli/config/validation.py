"""What types alone cannot say: ranges, and which choices go together. Checked before a folder."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from genai_cli.config import schema
from genai_cli.config.signatures import (
    Between,
    Count,
    Natural,
    NonNegative,
    Positive,
    Rate,
    checked,
)
from genai_cli.errors import UserError, listing, nearest

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig

Precision = Literal["auto", "fp32", "bf16", "fp64"]
Init = Literal[
    "default", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "orthogonal"
]
FigureFormat = Literal["png", "pdf", "svg"]
StepKind = Literal["auto", "eager", "compiled", "graph"]
LOGGER_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
SCALED = ("adamax", "nadam", "adadelta", "rmsprop")  # whose rate torch turns into one of its floats

RANGES: dict[str, Any] = {
    "bottleneck": Count | None,
    "batch_size": Count,
    "epochs": Count,
    "seed": Natural,
    "split_seed": Natural,
    "precision": Precision,
    "tags": list[str],
    "trainer.devices": Count,
    "trainer.accumulate": Count,
    "trainer.clip": Positive | None,
    "trainer.ema": Rate | None,
    "trainer.patience": Count | None,
    "trainer.min_delta": NonNegative,
    "trainer.init": Init,
    "trainer.max_steps": Count | None,
    "trainer.save_every": Count | None,
    "trainer.keep": Count,
    "trainer.figures_every": Natural,
    "trainer.rollback": Natural,
    "trainer.step": StepKind,
    "trainer.threads": Count | None,
    "trainer.loggers": list[str],
    "figures.name": FigureFormat,
    "figures.scale": Annotated[float, Between(0.5, 1.8)],
}
FIGURES = {  # keys of verbs that read runs and draw
    "figures": RANGES["figures.name"],
    "figures.scale": RANGES["figures.scale"],
}


def check(cfg: TrainConfig) -> None:
    """Ranges and choices that need neither torch nor data.

    Raises:
        UserError: the first one that does not hold.
    """
    for key in ("batch_size", "epochs", "bottleneck"):
        if (getattr(cfg, key) or 0) >= 2**31:
            raise UserError(f"{key}={getattr(cfg, key)} is not allowed: it must be below 2**31")
    for key, hint in RANGES.items():
        value: Any = cfg
        for part in key.split("."):
            value = getattr(value, part)
        checked(value, hint, key)
    if (cfg.trainer.threads or 0) > 1024:
        raise UserError(f"trainer.threads={cfg.trainer.threads} is not allowed: at most 1024")
    if not re.fullmatch(r"auto|none|[2-9]|[1-9]\d{1,3}", cfg.trainer.pack):
        raise UserError(
            f"trainer.pack={cfg.trainer.pack} is not allowed: choose none, auto, or how many runs "
            "train as one stack (2 to 9999)"
        )
    if cfg.trainer.loggers:
        check_loggers(cfg.trainer.loggers)
        if cfg.trainer.pack != "none":
            raise UserError("trainer.loggers is for runs that train alone; leave out trainer.pack")
    for key in ("outputs", "name", "init_from", "monitor"):
        if getattr(cfg, key) == "":  # as of an unset variable of the shell
            raise UserError(f"{key}= is empty; give it a value or leave it out")
    single = cfg.precision != "fp64" and cfg.optimizer.get("name") in SCALED
    for key, value in schema.flat(dataclasses.asdict(cfg)).items():
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
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", cfg.device):
        raise UserError(
            f"device={cfg.device} is not allowed: choose from auto, cpu, cuda, cuda:N, mps"
            f"{nearest(cfg.device, ('auto', 'cpu', 'cuda', 'mps'))}"
        )
    if cfg.split_seed >= 2**32:
        raise UserError(f"split_seed={cfg.split_seed} is not allowed: it must be below 2**32")
    if cfg.seed >= 2**63:
        raise UserError(f"seed={cfg.seed} is not allowed: it must be below 2**63")
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


def figures(given: Mapping[str, Any], configs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The group ``figures`` of what a verb draws of runs.

    Args:
        given: those of `FIGURES` that its line has; they win.
        configs: of the runs, with dotted keys; where all have one value, it is taken.

    Returns:
        {name, scale}, for `genai_cli.figures.style.output`.

    Raises:
        UserError: a config holds a value that is not allowed.
    """
    configs, out = list(configs), {"name": "png", "scale": 1.0}
    for key, default in out.items():
        known = [config.get(f"figures.{key}", default) for config in configs]
        if known and all(value == known[0] for value in known):
            out[key] = known[0]
        out[key] = given.get("figures" if key == "name" else f"figures.{key}", out[key])
        checked(out[key], RANGES[f"figures.{key}"], f"figures.{key}")
    return out
