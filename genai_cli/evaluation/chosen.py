"""Which test examples are looked at where not all are: the same for every model and measure."""

from __future__ import annotations

import torch
from torch import Tensor

from genai_cli.data.dataset import Split
from genai_cli.rng import generator


def chosen(split: Split, n: int) -> Tensor:
    """``n`` indices of ``split`` in random order; all of them in theirs where there are no more.

    Not the first: a test set that comes in folders is sorted by class. Fewer begin more.
    """
    if n >= len(split):
        return torch.arange(len(split))
    return torch.randperm(len(split), generator=generator(0, "test examples"))[:n]
