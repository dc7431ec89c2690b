"""Paths through a latent space: from one code to another, and along one dimension at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator, generator
from genai_cli.training.loop import EVALUATION_BATCH

REACH = 3.0  # standard deviations to either side in a traversal
SPREAD = 512  # codes from which these are measured
TRIED = 256  # dimensions among which the ones that matter are sought

Decode = Callable[[Tensor], Tensor]  # codes (N, K) to data (N, *event)


def straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 − t) a + t b: codes (N, K) and times (F,) to (N, F, K)."""
    return torch.lerp(a[:, None], b[:, None], t[:, None])


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """[sin((1 − t) ω) a + sin(t ω) b] / sin ω, ω the angle between a and b (White 2016, section 2).

    It keeps the length that normal codes have in high dimensions. Where a and b point the same or
    opposite ways there is no such arc, and the way is straight.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)
    omega = cosine.acos()[:, None, None]  # (N, 1, 1)
    s = t[:, None]
    arc = ((1 - s) * omega).sin() * a[:, None] + (s * omega).sin() * b[:, None]
    none = omega.sin() < 1e-4
    return torch.where(none, straight(a, b, t), arc / omega.sin().where(~none, 1.0))


def pairs(data: Dataset, n: int, seed: int) -> Tensor:
    """Return indices (n, 2) of test examples, of two classes each where the data have classes."""
    order = torch.randperm(len(data.test), generator=generator(seed, "pairs")).tolist()
    labelled = data.spec.target == "labels"
    y = data.test.y.tolist() if labelled and data.test.y is not None else [0] * len(order)
    made = []
    left = order[: max(2, 50 * n)]  # enough to find partners in
    while len(made) < n and left:
        a = left.pop(0)
        b = next((i for i in left if y[i] != y[a]), left[0] if left else a)
        if b in left:
            left.remove(b)
        made.append((a, b))
    return torch.tensor([made[i % len(made)] for i in range(n)])  # again, where they are few


def ends(model: Model, data: Dataset, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return start and end codes (n, K), and the test examples (n, 2, *event) they encode.

    A family without an encoder gets drawn codes, and no examples.
    """
    if not hasattr(model, "encode"):
        z = model.prior(2 * n, generator=RowGenerator(seed, "interpolation", 0, 2 * n))
        return z[0::2], z[1::2], None
    index = pairs(data, n, seed)
    x = data.test.batch(index.flatten()).x
    z = torch.cat([model.encode(part) for part in x.split(EVALUATION_BATCH)])
    return z[0::2], z[1::2], x.unflatten(0, (n, 2))


def centre_and_spread(model: Model, data: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (K,) of codes.

    They are those of codes drawn from the prior, or of test examples where there is none.
    """
    if hasattr(model, "prior"):
        codes = model.prior(SPREAD, generator=RowGenerator(seed, "spread", 0, SPREAD))
    else:
        index = torch.arange(min(SPREAD, len(data.test)))
        codes = model.encode(data.test.batch(index).x)
    return codes.mean(0), codes.std(0, correction=0)


def base_code(model: Model, data: Dataset, index: int, seed: int) -> Tensor:
    """Return a code (1, K): of one test example, or a drawn one."""
    if hasattr(model, "encode"):
        return model.encode(data.test.batch(torch.tensor([index])).x)
    return model.prior(1, generator=RowGenerator(seed, "traversal", 0, 1))


def replace_dimension(base: Tensor, dims: Tensor, values: Tensor) -> Tensor:
    """Return (len(dims), F, K): ``base`` with one dimension set to each of its values.

    ``base`` is (1, K), the values are (len(dims), F).
    """
    z = base.expand(len(dims), values.shape[1], -1).clone()
    rows = torch.arange(len(dims))
    z[rows, :, dims.to(z.device)] = values
    return z


def most_influential(base: Tensor, low: Tensor, high: Tensor, n: int, decode: Decode) -> Tensor:
    """Return the n dimensions that change the decoded example most, largest first.

    The change is the mean square between low and high (K,); at most TRIED evenly spaced
    dimensions are tried.
    """
    k = base.shape[1]
    dims = torch.linspace(0, k - 1, min(k, TRIED)).round().long()
    at = dims.to(low.device)
    both = replace_dimension(base, dims, torch.stack([low[at], high[at]], 1))  # (dims, 2, K)
    x = decode(both.flatten(0, 1)).unflatten(0, (len(dims), 2))
    change = (x[:, 1] - x[:, 0]).square().flatten(1).mean(1)
    return dims[change.argsort(descending=True, stable=True)[:n].cpu()]
