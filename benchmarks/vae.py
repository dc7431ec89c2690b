"""Seconds an epoch of a convolutional VAE, batch 128, beside pythae and Lightning.

    python benchmarks/vae.py --root /usr/share/datasets/fashion-mnist --threads 2 --limit 6400
    python benchmarks/vae.py --device cuda

Every entrant trains the same layers (4×4 convolutions of stride 2, 32-64-128 maps, 16 numbers of
code), Bernoulli likelihood, Adam, on the same images.
"""

from __future__ import annotations

import argparse
import sys

from entrants import MACHINE, cut, images_of, ours, plain
from nets import conv_decoder, conv_encoder
from peers import lightning_fit, pythae_fit
from race import Entrant, main, parser
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from turns import Turns

CODE = 16


def words(args: argparse.Namespace) -> list[str]:
    channels = ",".join(map(str, args.channels))
    return [
        "model=vae",
        "loss=bernoulli",
        "schedule=constant",
        "optimizer.lr=0.001",
        "model.activation=relu",
        "model.network=conv",
        f"model.channels=[{channels}]",
        f"bottleneck={CODE}",
    ]


class VAE(nn.Module):
    """Kingma & Welling 2014; ``forward`` is minus the ELBO a image, the batch's mean."""

    def __init__(self, shape: tuple[int, ...], channels: list[int]) -> None:
        super().__init__()
        self.encoder = conv_encoder(shape, channels, 2 * CODE)
        self.decoder = conv_decoder(shape, channels, CODE)

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * logvar).exp() * mean.new_empty(mean.shape).normal_()
        raw = self.decoder[:-1](z)  # without the sigmoid, which the loss contains
        error = F.binary_cross_entropy_with_logits(raw, x, reduction="sum")
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum()
        return (error + kl) / len(x)


def loop(args: argparse.Namespace, turns: Turns) -> None:
    x = images_of(args)
    net = VAE(tuple(x.shape[1:]), args.channels).to(x.device)
    plain(turns, args, "torch", net, net, lambda: cut(x, args.batch), len(x))


def lightning(memory: bool) -> Entrant:
    def enter(args: argparse.Namespace, turns: Turns) -> None:
        x = images_of(args)
        net = VAE(tuple(x.shape[1:]), args.channels)
        data = DataLoader(TensorDataset(x.cpu()), args.batch, shuffle=True)

        def epoch():  # type: ignore[no-untyped-def]
            return cut(x, args.batch) if memory else (batch for (batch,) in data)

        lightning_fit(args, turns, net, lambda net, x: net(x), epoch, x)

    return Entrant(enter, needs=("lightning",))


def pythae(args: argparse.Namespace, turns: Turns) -> None:
    x = images_of(args)
    shape = tuple(x.shape[1:])
    halves = conv_encoder(shape, args.channels, 2 * CODE), conv_decoder(shape, args.channels, CODE)
    pythae_fit(args, turns, "VAE", *halves, CODE, x)


def entrants(device: str) -> dict[str, Entrant]:
    return {
        **ours(words, device),
        "loop, in memory": Entrant(loop),
        "Lightning, in memory": lightning(memory=True),
        "Lightning, DataLoader": lightning(memory=False),
        "pythae": Entrant(pythae, needs=("pythae",)),
        **MACHINE,
    }


if __name__ == "__main__":
    options = parser(__doc__, batch=128)
    options.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128])
    options = options.parse_args()
    sys.exit(main("vae", options, entrants(options.device)))
