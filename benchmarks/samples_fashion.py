"""Fréchet distance of a run's samples to the test images, between a baseline and a floor.

    genai train model=ddpm dataset=fashion_mnist dataset.root=DIR name=fashion
    python benchmarks/samples_fashion.py RUN … --option steps=50

Features are the 128 of the reference classifier (evaluation/reference.py), whose hash is printed
and is part of the number: it compares with nothing measured by another one, least of all with an
FID of Inception features. The reference is the whole test split. Besides every run:

- real: training images against the test split at the same n, the floor.
- pca-16: what 16 principal components and a normal distribution reach, fitted on the training
  images, the baseline that any model must beat.

Each row is the mean over ``sets`` fresh sets (seeds 0 …) with the lowest and highest of them.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from drawing import Clock, append, heading, opened, parser, table, whole
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.evaluation.drawing import quantize
from genai_cli.evaluation.extractor import Extractor
from genai_cli.evaluation.features import make_extractor
from genai_cli.evaluation.fidelity import frechet_distance, moments
from genai_cli.rng import generator

COMPONENTS = 16


def pca_gaussian(train: Tensor, components: int = COMPONENTS) -> Callable[[int, int], Tensor]:
    """(n, seed) → (n, *event): a normal distribution on the first principal components.

    The directions and variances of (m, *event) images, m > 1; nothing of the rest is drawn
    (Tipping & Bishop 1999 would add it as isotropic noise). Clipped to [0, 1].
    """
    found = moments(train)
    values, vectors = torch.linalg.eigh(found.covariance)  # ascending
    directions = vectors[:, -components:] * values[-components:].clamp_min(0).sqrt()

    def draw(n: int, seed: int) -> Tensor:
        z = torch.randn(n, components, generator=generator(seed, "pca"), dtype=values.dtype)
        return (found.mean + z @ directions.T).reshape(n, *train.shape[1:]).clamp(0, 1)

    return draw


def subsets(train: Tensor) -> Callable[[int, int], Tensor]:
    """(n, seed) → n training images, none in two sets while there are enough."""
    order = torch.randperm(len(train), generator=generator(0, "subsets"))

    def draw(n: int, seed: int) -> Tensor:
        start = seed * n % max(1, len(train) - n + 1)
        return train[order[start : start + n]]

    return draw


def main(words: list[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--n", type=int, default=10000, help="samples of a set")
    arguments.add_argument("--sets", type=int, default=5, help="fresh sets, seeds 0 …")
    args = arguments.parse_args(words)
    heading(args)
    rows: list[dict[str, Any]] = []
    known: dict[str, tuple[Extractor, Any]] = {}
    for run in opened(args):
        data, key = run.data, f"{run.data.hash} {run.data.split_hash}"
        if key not in known:
            extractor = make_extractor("reference", data)
            print(extractor.note)
            known[key] = extractor, moments(extractor.features(whole(data.test)))
            train = whole(data.train)
            if args.n > len(train):
                raise UserError(f"--n {args.n} is more than the {len(train)} training images")
            for name, draw in (("real", subsets(train)), ("pca-16", pca_gaussian(train))):
                rows.append(measure(name, draw, data, args, *known[key]))
        rows.append(measure(run.name, run.draw, data, args, *known[key]))
    table(rows)
    append(args.csv, rows)
    return 0


def measure(
    name: str,
    draw: Callable[[int, int], Tensor],
    data: Dataset,
    args: Any,
    extractor: Extractor,
    real: Any,
) -> dict[str, Any]:
    """A row of the table."""
    clock, seconds, values = Clock(), 0.0, []
    for seed in range(args.sets):
        clock.lap()
        images = draw(args.n, seed)
        seconds += clock.lap()
        features = extractor.features(quantize(images, data.spec))
        values.append(frechet_distance(features, real))
    return {
        "images": name,
        "dataset": data.name,
        "n": args.n,
        "reference_n": len(data.test),
        "sets": args.sets,
        "frechet": statistics.mean(values),
        "low": min(values),
        "high": max(values),
        "extractor": extractor.hash,
        "accuracy": extractor.accuracy,
        "seconds_per_set": seconds / args.sets,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"samples_fashion: {error}")
