"""Seconds an epoch of the lecture's autoencoder, 784-128-64-128-784, beside what one would pick.

    python benchmarks/autoencoder.py --root /usr/share/datasets/fashion-mnist --threads 2
    python benchmarks/autoencoder.py --device cuda

Every entrant trains the same layers with Adam on the same images in batches of 100. "PIL" reads
them as torchvision's data sets do, one picture at a time; "in memory" cuts batches out of a tensor.
"matrix products" is a lower bound: only the products of forward and backward. Beside "batch, Adam"
they also cut their batch out of memory and pass through fused Adam: what a step cannot leave
out, with the caches as a step finds them, but without activations, biases and loss.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

import torch
from entrants import MACHINE, cut, images_of, ours, plain
from peers import keras_fit, lightning_fit, pythae_fit
from race import Entrant, main, parser
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from turns import Turns

HIDDEN, CODE = 128, 64


def words(args: argparse.Namespace) -> list[str]:
    return [
        "model=autoencoder",
        f"model.widths=[{HIDDEN}]",
        f"bottleneck={CODE}",
        "model.output_activation=sigmoid",
    ]


def layers(size: int) -> list[tuple[int, int]]:
    """(in, out) of each."""
    return [(size, HIDDEN), (HIDDEN, CODE), (CODE, HIDDEN), (HIDDEN, size)]


def halves(size: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder."""
    a, b, c, d = (nn.Linear(*pair) for pair in layers(size))
    return nn.Sequential(a, nn.ReLU(), b), nn.Sequential(c, nn.ReLU(), d, nn.Sigmoid())


class Pictures(Dataset):
    """One picture at a time through PIL, as torchvision's data sets give them."""

    def __init__(self, x: Tensor) -> None:
        from torchvision.transforms import ToTensor

        self.x, self.to_tensor = (x[:, 0] * 255).to(torch.uint8), ToTensor()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        from PIL import Image

        return self.to_tensor(Image.fromarray(self.x[i].numpy()))


def loader(kind: str, x: Tensor, batch: int) -> Iterable[Tensor]:
    """The batches of an epoch: PIL, tensors (a DataLoader over them) or memory."""
    if kind == "memory":
        return cut(x, batch)
    data = Pictures(x.cpu()) if kind == "PIL" else TensorDataset(x.cpu())
    batches = DataLoader(data, batch, shuffle=True)
    return batches if kind == "PIL" else (x for (x,) in batches)


def loop(kind: str) -> Entrant:
    def enter(args: argparse.Namespace, turns: Turns) -> None:
        x = images_of(args)
        net = nn.Sequential(nn.Flatten(), *halves(x[0].numel())).to(x.device)

        def loss(x: Tensor) -> Tensor:
            return F.mse_loss(net(x), x.flatten(1))

        plain(turns, args, "torch", net, loss, lambda: loader(kind, x, args.batch), len(x))

    return Entrant(enter)


def lightning(kind: str) -> Entrant:
    def enter(args: argparse.Namespace, turns: Turns) -> None:
        x = images_of(args)
        net = nn.Sequential(nn.Flatten(), *halves(x[0].numel()))
        lightning_fit(
            args,
            turns,
            net,
            lambda net, x: F.mse_loss(net(x), x.flatten(1)),
            lambda: loader(kind, x, args.batch),
            x,
        )

    return Entrant(enter, needs=("lightning",))


def pythae(args: argparse.Namespace, turns: Turns) -> None:
    x = images_of(args)
    pythae_fit(args, turns, "AE", *halves(x[0].numel()), CODE, x)


def keras(fused: int) -> Entrant:
    def enter(args: argparse.Namespace, turns: Turns) -> None:
        x = images_of(args).flatten(1).cpu().numpy()
        pairs = layers(x.shape[1])
        activations = ["relu", "linear", "relu", "sigmoid"]
        keras_fit(args, turns, pairs, activations, x, fused)

    return Entrant(enter, needs=("keras", "tensorflow"))


def products(around: bool) -> Entrant:
    """Forward, gradients of weights and of inputs; with what must stand ``around`` them, or not."""

    def enter(args: argparse.Namespace, turns: Turns) -> None:
        torch.set_num_threads(args.threads)
        x = images_of(args).flatten(1)
        b, pairs = args.batch, layers(x.shape[1])

        def new(*shape: int) -> Tensor:
            return torch.rand(*shape, device=args.device)

        w = [new(m, n) for m, n in pairs]
        h = [new(b, m) for m, _ in pairs] + [new(b, pairs[-1][1])]
        dw, dh = [torch.empty_like(t) for t in w], [torch.empty_like(t) for t in h]
        adam = torch.optim.Adam(w, lr=0.0, fused=True)
        for p, g in zip(w, dw, strict=True):
            p.grad = g
        turns.ready(
            version=torch.__version__,
            images=len(x),
            flops=sum(2 * m * n * (3 if i else 2) for i, (m, n) in enumerate(pairs)),
            parameters=sum(t.numel() for t in w),
        )

        def step(index: Tensor) -> None:
            if around and len(index) == b:
                torch.index_select(x, 0, index, out=h[0])
            for i in range(len(w)):
                torch.mm(h[i], w[i], out=h[i + 1])
            for i in reversed(range(len(w))):
                torch.mm(h[i].t(), h[i + 1], out=dw[i])
                if i:
                    torch.mm(h[i + 1], w[i].t(), out=dh[i])
            if around:
                adam.step()

        with torch.no_grad():
            for _ in range(turns.rounds):
                for t in h:
                    t.fill_(0.5)  # nothing overflows or becomes denormal
                turns.start()
                for index in torch.randperm(len(x)).to(x.device).split(b):
                    step(index)
                turns.stop()

    return Entrant(enter)


def entrants(device: str) -> dict[str, Entrant]:
    return {
        **ours(words, device),
        "matrix products": products(around=False),
        "matrix products, batch, Adam": products(around=True),
        "Keras fit": keras(1),
        "Keras fit, 20 steps an execution": keras(20),
        "loop, in memory": loop("memory"),
        "loop, DataLoader": loop("tensors"),
        "loop, DataLoader with PIL": loop("PIL"),
        "Lightning, in memory": lightning("memory"),
        "Lightning, DataLoader": lightning("tensors"),
        "Lightning, DataLoader with PIL": lightning("PIL"),
        "pythae": Entrant(pythae, needs=("pythae",)),
        **MACHINE,
    }


if __name__ == "__main__":
    options = parser(__doc__).parse_args()
    sys.exit(main("autoencoder", options, entrants(options.device)))
