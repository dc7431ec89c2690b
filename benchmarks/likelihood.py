"""log p of the test examples under runs that have one: nats an example and bits an element.

    python benchmarks/likelihood.py RUN … --samples 5000 --n 1000 --device cuda

What --samples counts depends on the family: importance samples of a VAE or latent flow (Burda et
al. 2016, eq. 8), draws of the noise between the levels of a flow. A DDPM sums its bound over all T
steps, once, whatever --samples says, and the table says 1. Exact or bound, and the space of the
data, stand in the table: numbers of two spaces do not compare. With loss.binarise an image is
binarised once; --batch decides with which noise.
"""

from __future__ import annotations

import inspect
import math
import sys

import torch
from drawing import Clock, append, heading, opened, parser, table
from torch import Tensor

from genai_cli.errors import UserError
from genai_cli.evaluation.summary import ruler
from genai_cli.models.base import Model
from genai_cli.rng import generator


def many(model: Model) -> bool:
    """Whether more samples are worth their time: a DDPM sums over all steps as it is."""
    return model.reconstructs_by != "denoising"


@torch.no_grad()
def nats(model: Model, x: Tensor, samples: int, seed: int) -> Tensor:
    """−log p (B,) of examples in data space."""
    takes = inspect.signature(model.log_prob).parameters
    counted = next((k for k in ("samples", "draws") if k in takes), None)
    given = {counted: samples if many(model) else 1} if counted else {}
    return -model.log_prob(x, generator=generator(seed, "likelihood", 0, x.device), **given)


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--samples", type=int, default=100)
    arguments.add_argument("--n", type=int, default=1000, help="test examples, the first ones")
    args = arguments.parse_args(argv)
    if args.option:
        raise UserError("--option is for samplers; a likelihood takes none")
    heading(args)
    rows = []
    for run in opened(args):
        if not hasattr(run.model, "log_prob"):
            print(f"{run.name}: {run.config.model['name']} defines no likelihood", file=sys.stderr)
            continue
        clock = Clock()
        n = min(args.n, len(run.data.test))
        values = []
        for i, part in enumerate(torch.arange(n).split(args.batch)):
            x = run.data.test.batch(part).x
            values.append(nats(run.model, x, args.samples, i).double().cpu())
        every = torch.cat(values)
        mean, error = every.mean().item(), every.std().item() / math.sqrt(n)
        levels = run.data.spec.levels
        space = ruler("reconstruction", run.model, run.data, run.config)["data_space"]
        counts = levels is not None and "levels in" in space
        bits = mean / (math.log(2) * math.prod(run.data.spec.event_shape)) if counts else None
        rows.append(
            {
                "run": run.name,
                "kind": run.model.log_prob_kind,
                "space": space,
                "nats": round(mean, 3),
                "error": round(error, 3),
                "bits_per_dim": None if bits is None else round(bits, 4),
                "samples": args.samples if many(run.model) else 1,
                "n": n,
                "seconds": round(clock.lap(), 1),
            }
        )
    table(rows)
    append(args.csv, rows)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"{error}")
