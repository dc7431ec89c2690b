"""Build the model that a config names: ``model.name=vae`` is ``genai_cli/models/vae.py``.

Or ``models/vae.py`` under the user's GENAI_PATH. Nothing read from a config names code by path.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

from genai_cli.config import signatures
from genai_cli.config.catalog import config_dir, user_dirs
from genai_cli.config.signatures import bind
from genai_cli.errors import UserError

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Spec
    from genai_cli.models.base import Model


def model_class(name: str) -> type[Model]:
    """The model called ``name``: genai_cli/models/NAME.py, or models/NAME.py under GENAI_PATH.

    Raises:
        UserError: no such file, a shipped name used again, or not exactly one Model in the file.
    """
    from genai_cli.models.base import Model

    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name):
        # a run folder's config is data, not a path
        raise UserError(f"model '{name}' is not a name")
    user_files = [
        d / "models" / f"{name}.py" for d in user_dirs() if (d / "models" / f"{name}.py").is_file()
    ]
    if (config_dir() / "model" / f"{name}.yaml").is_file():  # beside it is our own machinery
        if user_files:
            raise UserError(
                f"{user_files[0]}: '{name}' is a shipped model; give yours another name"
            )
        module = importlib.import_module(f"genai_cli.models.{name}")
    elif user_files:
        module = _import_file(user_files[0])
    else:
        raise UserError(
            f"no model '{name}': put models/{name}.py and configs/model/{name}.yaml in a folder "
            "and set GENAI_PATH to it"
        )
    classes = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Model) and c.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise UserError(f"{module.__file__} must define one Model, it defines {len(classes)}")
    return classes[0]


def _import_file(path: Path) -> types.ModuleType:
    """A user's module under a name of its own, the same for every worker."""
    name = f"genai_user_models_{path.stem}"
    from genai_cli import rng

    # as models for version 0.1 import them
    sys.modules.setdefault("genai_cli.knobs", signatures)
    sys.modules.setdefault("genai_cli.training.randomness", rng)
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        del sys.modules[name]
        raise UserError(f"{path}: {_format_error(error)}") from error
    return module


def _format_error(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def build_model(cfg: TrainConfig, data: Spec) -> Model:
    """The model a config describes, for data of these shapes, on torch's default device.

    ``data``, ``loss`` and ``bottleneck`` are handed over where the constructor asks for them; all
    else comes from the keys of ``model``.

    Raises:
        UserError: a key, type or value the constructor does not take; a bottleneck it lacks.
    """
    from genai_cli.models.base import RENAMED

    name = cfg.model["name"]
    cls = model_class(name)
    takes = inspect.signature(cls.__init__).parameters
    live = {"data": data, "loss": cfg.loss, "bottleneck": cfg.bottleneck}
    if cfg.bottleneck is None and "bottleneck" in takes:
        raise UserError(f"model={name} needs a bottleneck; add bottleneck=16")
    if cfg.bottleneck is not None and "bottleneck" not in takes:
        raise UserError(f"{name} has no bottleneck; leave bottleneck={cfg.bottleneck} out")
    values = {k: v for k, v in cfg.model.items() if k != "name"}
    arguments = bind(cls, values, "model", given=tuple(live))
    try:
        model = cls(**{k: v for k, v in live.items() if k in takes}, **arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"model={name} cannot be built: {_format_error(error)}") from error
    for old, new in RENAMED.items():
        if old in vars(model):
            setattr(model, new, getattr(model, old))
    return model


def takes_bottleneck(name: str) -> bool:
    """Return whether the constructor of a family takes ``bottleneck``."""
    return "bottleneck" in inspect.signature(model_class(name).__init__).parameters
