"""The classifier whose word and features the samples_*.py scripts use: trained once, then fixed.

Three 3×3 convolutions with pooling, 128 features, one linear layer; dropout, Adam, one-cycle
schedule, clothes mirrored at random, digits moved by a pixel. Trained on the training split alone
with seed 0 on one thread, and kept in the folder --work under the data's and the split's hash.
The hash of its weights is part of every number's ruler: another CPU may train another one.

    python benchmarks/reference.py digits fashion_mnist --root DIR
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from genai_cli.data.dataset import Dataset, Split
from genai_cli.data.sources import load
from genai_cli.errors import UserError

FEATURES, DROPOUT = 128, 0.25
BATCH, RATE, SEED = 128, 3e-3, 0


class Recipe(NamedTuple):
    """What differs between data sets."""

    epochs: int = 10
    mirror: bool = False  # left and right are alike
    shift: int = 0  # pixels
    least: float = 0.0  # accuracy below which nothing is measured


RECIPES = {
    "digits": Recipe(epochs=60, shift=1, least=0.97),
    "fashion_mnist": Recipe(epochs=18, mirror=True, least=0.92),
}


class Reference(nn.Module):
    """(B, C, H, W) in [0, 1] to class scores; ``features`` are the layer before."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.first = nn.Conv2d(channels, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 48, 3, padding=1)
        self.third = nn.Conv2d(48, 96, 3, padding=1)
        self.hidden = nn.Linear(96 * (rows // 8) * (columns // 8), FEATURES)
        self.last = nn.Linear(FEATURES, classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 128)."""
        x = F.max_pool2d(self.first(x), 2).relu()
        x = F.max_pool2d(self.second(x), 2).relu()
        x = F.max_pool2d(self.third(x), 2).relu()
        x = F.dropout(x, DROPOUT, self.training)
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.features(x), DROPOUT, self.training))


class Extractor(NamedTuple):
    """The reference network of a data set."""

    network: Reference
    accuracy: float  # on the test split
    hash: str  # of its weights

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """(n, 128)."""
        return torch.cat([self.network.features(part) for part in x.float().split(1000)])

    @torch.no_grad()
    def predicted(self, x: Tensor) -> Tensor:
        """(n,) classes."""
        return torch.cat([self.network(part).argmax(1) for part in x.float().split(1000)])


def reference(data: Dataset, work: Path) -> Extractor:
    """The extractor of ``data``, from the folder ``work`` or trained now.

    Raises:
        UserError: the data has no classes or images, or the classifier is below its recipe.
    """
    if not data.spec.is_image or data.spec.target != "labels":
        raise UserError(f"dataset={data.name} has no labelled images to train the reference on")
    path = work / f"reference-{data.name}-{data.hash[:8]}-{data.split_hash[:8]}.safetensors"
    network = Reference(data.spec.event_shape, len(data.spec.classes))
    if path.exists():
        with safe_open(path, "pt") as file:
            network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    else:
        start = time.perf_counter()
        train(network, data)
        work.mkdir(parents=True, exist_ok=True)
        save_file(network.state_dict(), path)
        print(f"reference classifier trained in {time.perf_counter() - start:.0f} s")
    network.eval()
    test = data.test.batch(torch.arange(len(data.test)))
    made = Extractor(network, 0.0, weights_hash(network))
    accuracy = (made.predicted(test.x) == test.y).float().mean().item()
    print(
        f"reference classifier {made.hash}: accuracy {accuracy:.4f} on {len(test.x):,} test images"
    )
    least = RECIPES.get(data.name, Recipe()).least
    if accuracy < least:
        raise UserError(
            f"the reference classifier reaches {accuracy:.4f} on {data.name}, "
            f"{least} is needed; remove {path.name} and train it again"
        )
    return made._replace(accuracy=accuracy)


def train(network: Reference, data: Dataset) -> None:
    """On the training split, seeded: weights, order, augmentation and dropout."""
    recipe = RECIPES.get(data.name, Recipe())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and with it the hash, is part of the result
    network.to(memory_format=torch.channels_last)  # a third faster
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for module in network.children():
            module.reset_parameters()
        steps = recipe.epochs * -(-len(data.train) // BATCH)
        optimizer = torch.optim.Adam(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        network.train()
        for _ in range(recipe.epochs):
            for x, y in batches(data.train, recipe):
                optimizer.zero_grad()
                F.cross_entropy(network(x), y).backward()
                optimizer.step()
                schedule.step()
    torch.set_num_threads(threads)
    network.to(memory_format=torch.contiguous_format)


def batches(split: Split, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over ``split`` in random order, half of the images mirrored, each batch moved."""
    for index in torch.randperm(len(split)).split(BATCH):
        x, y = split.batch(index)
        x = x.float()
        if recipe.mirror:
            flipped = torch.rand(len(x), 1, 1, 1) < 0.5
            x = torch.where(flipped, x.flip(3), x)
        if recipe.shift:
            (down, right), room = torch.randint(2 * recipe.shift + 1, (2,)).tolist(), x.shape[2:]
            x = F.pad(x, 4 * (recipe.shift,))
            x = x[..., down : down + room[0], right : right + room[1]]
        yield x.contiguous(memory_format=torch.channels_last), y


def weights_hash(network: nn.Module) -> str:
    """16 hex digits of names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("datasets", nargs="+")
    arguments.add_argument("--root", help="folder of the data's files")
    arguments.add_argument("--work", type=Path, default=Path("outputs/.reference"))
    args = arguments.parse_args()
    for name in args.datasets:
        node = {"name": name} | ({"root": args.root} if args.root and name != "digits" else {})
        reference(load(node), args.work)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"reference: {error}")
