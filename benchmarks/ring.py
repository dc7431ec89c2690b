"""How many of the eight modes does a GAN find? Samples on the ring of `dataset=gaussians`.

    genai train -m experiment=ring_gan seed=0,1,2
    python benchmarks/ring.py RUN …                     # one run a seed

A mode is covered by 20 of 2,500 samples within three of its deviations; a perfect sample lies so
near with probability 1 − e^(−9/2) = .989. Radius and deviation are those of the run's data set.
A run passes with all eight modes and 90 % of its samples inside.
"""

from __future__ import annotations

import math
import sys

import torch
from drawing import Clock, append, heading, opened, parser, table

from genai_cli.errors import UserError
from genai_cli.evaluation.modes import modes

MODES = 8
DEFAULT_RADIUS = math.sqrt(2)  # of dataset=gaussians where the run's config has no such key


def main(words: list[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--n", type=int, default=2500, help="samples of a run")
    arguments.add_argument("--seed", type=int, default=0, help="of the samples")
    arguments.add_argument("--least", type=int, default=20, help="hits that cover a mode")
    arguments.add_argument("--inside", type=float, default=0.9, help="share that must lie inside")
    arguments.add_argument("--radius", type=float, help="of the ring, if not the run's data's")
    arguments.add_argument("--sigma", type=float, help="of a mode, if not the run's data's")
    args = arguments.parse_args(words)
    heading(args)
    rows, clock = [], Clock()
    for run in opened(args):
        dataset = run.config.dataset
        if dataset["name"] != "gaussians" and None in (args.radius, args.sigma):
            raise UserError(f"{run.name} is of dataset={dataset['name']}: say --radius and --sigma")
        radius = args.radius or dataset.get("radius") or DEFAULT_RADIUS
        sigma = args.sigma or dataset["noise"]
        angle = 2 * math.pi * torch.arange(MODES) / MODES
        centres = radius * torch.stack([angle.cos(), angle.sin()], 1)
        clock.lap()
        found = modes(run.draw(args.n, args.seed), centres, 3 * sigma, args.least)
        rows.append(
            {
                "run": run.name,
                "seed": run.config.seed,
                "radius": float(radius),
                "sigma": float(sigma),
                "n": args.n,
                "sample_seed": args.seed,
                "modes": found.covered,
                "inside": found.inside,
                "fewest": int(found.hits.min()),
                "most": int(found.hits.max()),
                "passed": found.covered == MODES and found.inside >= args.inside,
                "seconds": clock.lap(),
            }
        )
    table(rows)
    complete = sum(row["modes"] == MODES for row in rows)
    passed = sum(row["passed"] for row in rows)
    print(f"all {MODES} modes: {complete} of {len(rows)} runs")
    print(f"all {MODES} modes and ≥ {args.inside:.0%} inside 3 sigma: {passed} of {len(rows)} runs")
    append(args.csv, rows)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"ring: {error}")
