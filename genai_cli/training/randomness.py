"""Every random draw is a function of (seed, purpose, index): no generator state is ever stored.

So a resumed run draws what the uninterrupted one drew, and looking (figures, evaluation) cannot
change training.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit seed, a hash of its arguments, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(
    seed: int, purpose: str, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator on ``device`` for one purpose ("noise", "validation") and one step."""
    return torch.Generator(device).manual_seed(derive(seed, purpose, index))


def permutation(n: int, seed: int, epoch: int) -> Tensor:
    """The order (n,) of the training examples in ``epoch``, drawn on the CPU."""
    return torch.randperm(n, generator=generator(seed, "permutation", epoch))
