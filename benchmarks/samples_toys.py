"""How far is a model of a plane's points from the points? Energy distance, beside real and real.

    genai train model=flow dataset=moons name=moons
    python benchmarks/samples_toys.py RUN …             # 20 sets of 10,000, about 2 minutes a run

For every seed 0 … sets − 1: ``n`` samples of the model against ``n`` fresh points, and those
against ``n`` other fresh points. Fresh means neither trained nor tested on: the sets' seed is a
function of their size, so all of them are slices of one larger set. A ratio of 1 is perfect: both
rows carry the bias 2/n E|X − X′| of the V-statistic.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from drawing import Clock, append, heading, opened, parser, table
from torch import Tensor

from genai_cli.config.signatures import signature_of
from genai_cli.data.sources import SOURCES
from genai_cli.errors import UserError
from genai_cli.evaluation.energy import mean_distance


def fresh(dataset: Mapping[str, Any], n: int, sets: int) -> list[Tensor]:
    """``sets`` independent draws (n, 2) of what the group ``dataset`` describes."""
    name = dataset["name"]
    if SOURCES[name].origin != "drawn":
        drawn = ", ".join(key for key, source in SOURCES.items() if source.origin == "drawn")
        raise UserError(f"dataset={name} cannot be drawn afresh (choose from: {drawn})")
    if dataset.get("scale", "none") not in (None, "none"):
        raise UserError(f"dataset.scale={dataset['scale']} moves the points; train without it")
    module, function_name = SOURCES[name].function.split(":")
    function = getattr(importlib.import_module(f"genai_cli.data.{module}"), function_name)
    own, _ = signature_of(function)
    keys = {k: v for k, v in dataset.items() if k in own and k != "n"}
    total = n * sets
    total += total == dataset.get("n")  # that size is the training set's own seed
    return list(torch.from_numpy(function(n=total, **keys).x[: n * sets]).split(n))


def main(words: list[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--n", type=int, default=10000, help="points in a set")
    arguments.add_argument("--sets", type=int, default=20, help="pairs of sets, seeds 0 …")
    args = arguments.parse_args(words)
    heading(args)

    @cache  # several runs may share a data set
    def real(group: str) -> tuple[list[Tensor], list[float], list[float]]:
        """Fresh sets, their mean distances within, and the energy distance of each pair."""
        sets = fresh(json.loads(group), args.n, 2 * args.sets)
        within = [mean_distance(x, x) for x in sets]
        pairs = [
            2 * mean_distance(sets[i], sets[j]) - within[i] - within[j]
            for i, j in ((i, i + args.sets) for i in range(args.sets))
        ]
        return sets, within, pairs

    rows, clock = [], Clock()
    for run in opened(args):
        sets, within, floor = real(json.dumps(run.config.dataset))
        clock.lap()
        values, drawing = [], 0.0
        for seed in range(args.sets):
            clock.lap()
            samples = run.draw(args.n, seed)
            drawing += clock.lap()
            cross = 2 * mean_distance(samples, sets[seed])
            values.append(cross - mean_distance(samples, samples) - within[seed])
        model, own = statistics.mean(values), statistics.mean(floor)
        spread = statistics.stdev(values) / args.sets**0.5 if args.sets > 1 else float("nan")
        rows.append(
            {
                "run": run.name,
                "dataset": run.data.name,
                "n": args.n,
                "sets": args.sets,
                "model_to_real": model,
                "standard_error": spread,
                "real_to_real": own,
                "ratio": model / own,
                "worst_set": max(values) / own,
                "seconds_per_set": drawing / args.sets,
            }
        )
    table(rows)
    append(args.csv, rows)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"samples_toys: {error}")
