"""genai-cli: one command that trains, measures and compares every family of generative model.

What user code may import stands in `PUBLIC`; it is loaded when it is asked for, so that
``genai --help`` imports no torch.
"""

from __future__ import annotations

from importlib import import_module

from genai_cli.version import __version__

PUBLIC = {  # name → the module that has it
    "load": "runner.load",
    "Batch": "data.dataset",
    "Model": "models.base",
    "Player": "models.base",
    "Count": "config.signatures",
    "Natural": "config.signatures",
    "NonNegative": "config.signatures",
    "Positive": "config.signatures",
    "Rate": "config.signatures",
}
__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> object:
    if name in PUBLIC:
        return getattr(import_module(f"genai_cli.{PUBLIC[name]}"), name)
    raise AttributeError(f"module 'genai_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
