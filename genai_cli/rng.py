"""Draw random numbers as a function of (seed, purpose, index); no generator state is stored.

So a resumed run draws what the uninterrupted one drew, and looking (figures, evaluation) cannot
change training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Derive a 63-bit seed as a hash of its arguments, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(
    seed: int, purpose: str, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a new generator on ``device`` for a purpose ("noise", "validation") and a step."""
    return torch.Generator(device).manual_seed(derive_seed(seed, purpose, index))


def permutation(n: int, seed: int, epoch: int) -> Tensor:
    """Return the order (n,) of the training examples in ``epoch``, drawn on the CPU."""
    return torch.randperm(n, generator=generator(seed, "permutation", epoch))


def balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """Return (n,) indices of examples with ``labels`` (n,), all classes equally frequent.

    An epoch keeps its length n: of each of K classes n / K examples, rounded up for classes drawn
    by lot. A class with more gives a random part of them, one with fewer gives each of its examples
    as often as every other, within one. Drawn on the CPU.
    """
    draws = generator(seed, "permutation", epoch)
    n, (_, counts) = len(labels), labels.unique(return_counts=True)
    of_class = labels.argsort(stable=True).split(counts.tolist())
    k = len(of_class)
    seats = torch.full((k,), n // k)
    seats[torch.randperm(k, generator=draws)[: n % k]] += 1
    chosen = []
    for members, size in zip(of_class, seats.tolist(), strict=True):
        rounds = [
            torch.randperm(len(members), generator=draws) for _ in range(-(-size // len(members)))
        ]
        chosen += [members[torch.cat(rounds)[:size]]] if rounds else []
    drawn = torch.cat(chosen)
    return drawn[torch.randperm(n, generator=draws)]


class RowGenerator:
    """Draws random numbers for rows ``start … start + n`` of an endless list, on the CPU.

    A row's numbers depend on (seed, purpose) and the row alone, so that the same seed gives the
    same images on every device however they are cut into batches. Rows are drawn in blocks of
    ``BLOCK``, each from a generator of its own.
    """

    BLOCK = 16

    def __init__(self, seed: int, purpose: str, start: int, n: int) -> None:
        first, last = start // self.BLOCK, -(-(start + n) // self.BLOCK)
        self.skip, self.n = start - first * self.BLOCK, n
        self.generators = [generator(seed, purpose, block) for block in range(first, last)]

    def sample(self, kind: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
        """Sample (n, *shape) numbers with ``kind``, torch.randn or torch.rand."""
        blocks = [kind(self.BLOCK, *shape, generator=g) for g in self.generators]
        return torch.cat(blocks)[self.skip : self.skip + self.n]


Source = torch.Generator | RowGenerator | None


def normal(n: int, shape: Sequence[int], source: Source, like: Tensor) -> Tensor:
    """Sample (n, *shape) standard normal numbers, of the dtype and on the device of ``like``."""
    return _sample(torch.randn, n, shape, source, like)


def uniform(n: int, shape: Sequence[int], source: Source, like: Tensor) -> Tensor:
    """Sample (n, *shape) uniform numbers in [0, 1), of the dtype and on the device of ``like``."""
    return _sample(torch.rand, n, shape, source, like)


def _sample(
    kind: Callable[..., Tensor], n: int, shape: Sequence[int], source: Source, like: Tensor
) -> Tensor:
    if isinstance(source, RowGenerator):
        assert source.n == n
        return source.sample(kind, shape).to(like)
    device = like.device if source is None else source.device
    return kind(n, *shape, generator=source, device=device).to(like)
