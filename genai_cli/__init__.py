"""genai-cli: one command that trains, measures and compares every family of generative model."""

from __future__ import annotations

__version__ = "0.1.0"


def __getattr__(name: str):  # `genai --help` must not import torch
    if name == "load":
        from genai_cli.training.setup import load

        return load
    raise AttributeError(f"module 'genai_cli' has no attribute '{name}'")
