"""A fixed random subset of the test examples, the same for every model and measure."""

from __future__ import annotations

import torch
from torch import Tensor

from genai_cli.data.dataset import Split
from genai_cli.rng import generator


def subset(split: Split, n: int) -> Tensor:
    """Return ``n`` random indices of ``split``, or all of them in order where there are no more.

    Not the first: a test set that comes in folders is sorted by class. Fewer begin more.
    """
    if n >= len(split):
        return torch.arange(len(split))
    return torch.randperm(len(split), generator=generator(0, "test examples"))[:n]
