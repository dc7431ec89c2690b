"""What the samples_*.py and ring.py scripts share: open a run, draw from it, print, append to CSV.

Not a script. `genai sample` draws the same rows for the same seed and options.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
import sklearn
import torch
from rows import append, table
from torch import Tensor

import genai_cli
from genai_cli.config.schema import TrainConfig
from genai_cli.config.signatures import bind
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator
from genai_cli.store import lookup
from genai_cli.training.machine import device_name

__all__ = ["Clock", "Run", "append", "heading", "opened", "parser", "table", "whole"]


class Run(NamedTuple):
    """A finished run, ready to be drawn from."""

    name: str
    model: Model
    data: Dataset
    config: TrainConfig
    options: dict[str, Any]  # of sample(), checked
    batch: int

    def draw(self, n: int, seed: int) -> Tensor:
        """(n, *event) on the CPU: row i depends on (seed, i) alone, whatever the batch."""
        parts = []
        with torch.no_grad():
            for start in range(0, n, self.batch):
                size = min(self.batch, n - start)
                rows = RowGenerator(seed, "sample", start, size)
                parts.append(self.model.sample(size, generator=rows, **self.options).cpu())
        return torch.cat(parts)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments every script takes."""
    out = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("runs", nargs="+", metavar="RUN", help="run folder, its suffix, or latest")
    out.add_argument("--outputs", help="folder of run folders, if not ./outputs")
    out.add_argument("--device", default="cpu", help="where samples are drawn (default: cpu)")
    out.add_argument("--batch", type=int, default=1000, help="samples drawn at once")
    out.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the family's sampler, as steps=50; may be given more than once",
    )
    out.add_argument("--csv", type=Path, help="append the rows to this file, too")
    return out


def opened(args: argparse.Namespace) -> Iterator[Run]:
    """The runs of the command line, one after the other."""
    for word in args.runs:
        folder = lookup.find(word, args.outputs)
        model, data, config = genai_cli.load(folder, device=args.device)
        if not hasattr(model, "sample"):
            raise UserError(
                f"{word} is a run of model={config.model['name']}, which has no samples"
            )
        bare = [option for option in args.option if "=" not in option]
        if bare:
            raise UserError(f"--option {bare[0]} is no KEY=VALUE; write --option {bare[0]}=…")
        given = dict(option.split("=", 1) for option in args.option)
        values = {key: _value(text) for key, text in given.items()}
        options = bind(model.sample, values, "option", given=("n", "y", "generator"))
        yield Run(folder.name, model, data, config, options, args.batch)


def _value(text: str) -> Any:
    """A number, list or null as Python reads it, else the word itself."""
    if text in ("null", "true", "false"):
        return {"null": None, "true": True, "false": False}[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def whole(split: Any) -> Tensor:
    """(n, *event) all examples of a split in data space, on the CPU."""
    return split.batch(torch.arange(len(split))).x.cpu()


def heading(args: argparse.Namespace) -> None:
    """Versions and hardware."""
    print(
        f"genai-cli {genai_cli.__version__}, torch {torch.__version__}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__}, "
        f"Python {platform.python_version()}"
    )
    threads = torch.get_num_threads()
    print(
        f"samples drawn on {device_name(torch.device(args.device))}; "
        f"{threads} CPU thread{'s' * (threads > 1)} of {os.cpu_count()} cores"
    )


class Clock:
    """Seconds since it was made or last read."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        self.start, seconds = now, now - self.start
        return seconds
