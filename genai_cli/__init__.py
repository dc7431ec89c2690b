"""genai-cli: one command that trains, measures and compares every family of generative model.

What a model or a notebook of yours imports stands here: `load`, `Model` with its `Batch` and
`Player`, `normal` and `uniform` for its draws, and the checked types of a constructor's arguments.
No other path is promised to stay. Each is imported when it is first used: `genai --help` must not
import torch.
"""

from __future__ import annotations

from importlib import import_module

from genai_cli.version import __version__

_TYPES = ("Between", "Count", "Fraction", "Layers", "Natural", "NonNegative", "Positive", "Rate")
_MODULES = dict.fromkeys((*_TYPES, "Repeats"), "config.signatures") | {
    "Batch": "data.dataset",
    "Model": "models.base",
    "Player": "models.base",
    "load": "runner.load",
    "normal": "rng",
    "uniform": "rng",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"genai_cli.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'genai_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
