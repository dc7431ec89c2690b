"""Images a second of DDIM sampling at equal steps, beside denoising-diffusion-pytorch, diffusers.

    python benchmarks/diffusion_sampling.py --threads 2 --steps 20
    python benchmarks/diffusion_sampling.py --device cuda --batch 1024 --steps 50

The U-Nets of diffusion.py with fresh weights: a round draws one batch. MFLOP an image are of all
steps together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from diffusion import arguments, ddp_model, diffusers_model, words
from entrants import MACHINE, autocast, prepared
from race import Entrant, main, version
from torch import Tensor, nn
from turns import Turns

from genai_cli.rng import RowGenerator
from genai_cli.training import machine, setup


def draw(
    args: argparse.Namespace,
    turns: Turns,
    name: str,
    model: nn.Module,
    sample: Callable[[], Tensor],
) -> None:
    """A round draws ``args.batch`` images; the first counts FLOPs and is not timed."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(args.threads)
    model.eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), autocast(args), counter:
        sample()
    turns.ready(
        version=version(name),
        parameters=sum(p.numel() for p in model.parameters()),
        images=args.batch,
        flops=counter.get_total_flops() / args.batch,
    )
    with torch.no_grad(), autocast(args):
        for _ in range(turns.rounds):
            turns.start()
            sample()
            turns.stop()


def shape_of(args: argparse.Namespace) -> tuple[int, ...]:
    return prepared(args, "model=autoencoder").data.spec.event_shape


def genai(args: argparse.Namespace, turns: Turns) -> None:
    """`sample` of a model, drawn as `genai sample` draws: row by row from a seed."""
    made = prepared(args, *words(args))
    device = torch.device(args.device)
    with machine.numerics(made.cfg, args.threads):
        model = setup.new_model(made.cfg, made.data.spec, device)
        model.prepare(made.data.train.batch(torch.arange(min(100, len(made.data.train)))))

        def sample() -> Tensor:
            rows = RowGenerator(0, "sample", 0, args.batch)
            return model.sample(args.batch, generator=rows, steps=args.steps)

        draw(args, turns, "genai-cli", model, sample)


def denoising_diffusion(args: argparse.Namespace, turns: Turns) -> None:
    model = ddp_model(args, shape_of(args), args.steps)

    def sample() -> Tensor:
        return model.sample(batch_size=args.batch)

    draw(args, turns, "denoising-diffusion-pytorch", model, sample)


def diffusers(args: argparse.Namespace, turns: Turns) -> None:
    from diffusers import DDIMScheduler

    shape = shape_of(args)
    model = diffusers_model(args, shape)
    schedule = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2")

    def sample() -> Tensor:
        schedule.set_timesteps(args.steps)
        x = torch.randn(args.batch, *shape, device=args.device)
        for t in schedule.timesteps:
            x = schedule.step(model(x, t).sample, t, x).prev_sample
        return x

    draw(args, turns, "diffusers", model, sample)


ENTRANTS = {
    "genai-cli": Entrant(genai, fail=True),
    "denoising-diffusion-pytorch": Entrant(
        denoising_diffusion, needs=("denoising_diffusion_pytorch",)
    ),
    "diffusers": Entrant(diffusers, needs=("diffusers",)),
    **MACHINE,
}

if __name__ == "__main__":
    options = arguments(__doc__, batch=64)
    options.add_argument("--steps", type=int, default=20, help="of every sampler")
    sys.exit(main("diffusion sampling", options.parse_args(), ENTRANTS))
