"""One sampling request with its model, data, folder and results so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.models.base import Model
from genai_cli.sampling.request import SampleRequest


@dataclass
class Job:
    """One request, ready to be drawn into ``folder``."""

    model: Model
    data: Dataset
    request: SampleRequest
    y: list[int] | None  # labels, repeated over the rows
    folder: Path
    title: str  # "vae on digits"
    tick: Callable[[int], None]  # so many more are done
    seconds: float = 0.0  # spent in the model
    made: int = 0  # examples that came out of it
    broken: int = 0  # of these, with numbers that are not finite
    files: list[str] = field(default_factory=list)  # to be shown first

    @contextmanager
    def clock(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def file(self, name: str) -> Path:
        self.files.append(name)
        return self.folder / name

    def labels(self, start: int, n: int) -> Tensor | None:
        """Return the labels (n,) of rows start … start + n."""
        if self.y is None:
            return None
        rows = torch.arange(start, start + n) % len(self.y)
        return torch.tensor(self.y)[rows].to(next(self.model.parameters()).device)

    def array(self, x: Tensor, each: int = 1) -> np.ndarray:
        """Copy to the host as float32; ``each`` leading axes count examples."""
        out = x.detach().float().cpu().numpy()
        flat = out.reshape(int(np.prod(out.shape[:each])), -1)
        self.made += len(flat)
        self.broken += int((~np.isfinite(flat).all(axis=1)).sum())
        return out

    @property
    def plane(self) -> bool:
        return self.data.spec.event_shape == (2,)
