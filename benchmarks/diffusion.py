"""Images a second of DDPM training beside denoising-diffusion-pytorch and diffusers.

    python benchmarks/diffusion.py --root /usr/share/datasets/fashion-mnist --threads 2 --limit 512
    python benchmarks/diffusion.py --device cuda --precision bf16

The same widths of the U-Net (32 and 64 maps, attention innermost), eps-prediction, Adam, no
averaged weights. The libraries put different blocks around the same widths: MFLOP an image are
counted. Four residual blocks a stage make ours as large as denoising-diffusion-pytorch's (560 and
571 MFLOP a pass at 28×28); diffusers' stands between ours of two and of three (382); the column
ratio_per_flop compares arithmetic a second. Their networks and losses stand in the plain loop with
data in memory, without their own loaders.
"""

from __future__ import annotations

import argparse
import sys

import torch
from entrants import MACHINE, cut, images_of, ours, plain
from race import Entrant, main, parser
from torch import Tensor, nn
from torch.nn import functional as F
from turns import Turns

GROUPS = 8


def words(args: argparse.Namespace) -> list[str]:
    channels = ",".join(map(str, args.channels))
    return [
        "model=ddpm",
        "model.network=unet",
        f"model.channels=[{channels}]",
        f"bottleneck={args.channels[-1]}",
        f"model.depth={args.depth}",
        "model.prediction=eps",
    ]


def ddp_model(args: argparse.Namespace, shape: tuple[int, ...], steps: int | None) -> nn.Module:
    """denoising-diffusion-pytorch's; ``steps`` of its DDIM sampler."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    first = args.channels[0]
    net = Unet(
        dim=first,
        dim_mults=tuple(c // first for c in args.channels),
        channels=shape[0],
    )
    return GaussianDiffusion(
        net,
        image_size=shape[1],
        timesteps=1000,
        sampling_timesteps=steps,
        objective="pred_noise",
        beta_schedule="cosine",
    ).to(args.device)


def diffusers_model(args: argparse.Namespace, shape: tuple[int, ...]) -> nn.Module:
    from diffusers import UNet2DModel

    n = len(args.channels)
    return UNet2DModel(
        sample_size=shape[1:],
        in_channels=shape[0],
        out_channels=shape[0],
        layers_per_block=1,
        block_out_channels=tuple(args.channels),
        down_block_types=("DownBlock2D",) * n,
        up_block_types=("UpBlock2D",) * n,
        norm_num_groups=GROUPS,
    ).to(args.device)


def denoising_diffusion(args: argparse.Namespace, turns: Turns) -> None:
    x = images_of(args)
    model = ddp_model(args, tuple(x.shape[1:]), None)
    name = "denoising-diffusion-pytorch"
    plain(turns, args, name, model, model, lambda: cut(x, args.batch), len(x))


def diffusers(args: argparse.Namespace, turns: Turns) -> None:
    """The loss of its unconditional training example."""
    from diffusers import DDPMScheduler

    x = images_of(args)
    model = diffusers_model(args, tuple(x.shape[1:]))
    schedule = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")

    def loss(x: Tensor) -> Tensor:
        x = 2 * x - 1
        noise = torch.randn_like(x)
        t = torch.randint(1000, (len(x),), device=x.device)
        return F.mse_loss(model(schedule.add_noise(x, noise, t), t).sample, noise)

    plain(turns, args, "diffusers", model, loss, lambda: cut(x, args.batch), len(x))


def entrants(device: str) -> dict[str, Entrant]:
    peer = "denoising_diffusion_pytorch"
    return {
        **ours(words, device),
        "denoising-diffusion-pytorch": Entrant(denoising_diffusion, needs=(peer,)),
        "diffusers": Entrant(diffusers, needs=("diffusers",)),
        **MACHINE,
    }


def arguments(doc: str | None, **defaults: object) -> argparse.ArgumentParser:
    out = parser(doc, **defaults)
    out.add_argument("--channels", type=int, nargs="+", default=[32, 64])
    out.add_argument("--depth", type=int, default=4, help="residual blocks a stage of ours")
    return out


if __name__ == "__main__":
    options = arguments(__doc__, batch=64).parse_args()
    sys.exit(main("diffusion training", options, entrants(options.device)))
