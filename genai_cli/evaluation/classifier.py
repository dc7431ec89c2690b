"""The small network that learns a data set's classes, and its training.

Three 3×3 convolutions with pooling, 128 features, one linear layer; dropout, Adam, one-cycle
schedule, clothes mirrored at random, digits moved by a pixel. It sees the training split alone,
with seed 0 on one CPU thread, and its weights are then rounded to half precision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_cli.data.dataset import Batch, Dataset, Split

FEATURES, DROPOUT = 128, 0.25
BATCH, RATE, SEED = 128, 3e-3, 0
LARGEST = 64  # pixels a side; larger images are averaged down to it first
LAST = 4  # pixels a side of what the linear layer sees, at most
FEWEST, MOST = 500, 6000  # steps; MOST at 28×28 pixels, fewer for larger images

Tick = Callable[[int, int], None]  # (steps done, steps in all)


class Recipe(NamedTuple):
    """Hold the training settings that differ between data sets."""

    epochs: int = 20
    mirror: bool = False  # left and right are alike
    shift: int = 0  # pixels
    least: float = 0.0  # accuracy below which nothing is measured …
    examples: int = 0  # … by a network that was trained on as many


RECIPES = {
    "digits": Recipe(epochs=60, shift=1, least=0.95, examples=1100),
    "fashion_mnist": Recipe(epochs=18, mirror=True, least=0.92, examples=45000),
}


class Network(nn.Module):
    """Map images (B, C, H, W) in [0, 1] to logits (B, classes) through `features`."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        single = {"dtype": torch.float32}  # whatever the run's precision is
        channels, *sides = shape
        self.first = nn.Conv2d(channels, 16, 3, padding=1, **single)
        self.second = nn.Conv2d(16, 48, 3, padding=1, **single)
        self.third = nn.Conv2d(48, 96, 3, padding=1, **single)
        rows, columns = (min(LAST, max(1, min(side, LARGEST) // 8)) for side in sides)
        self.hidden = nn.Linear(96 * rows * columns, FEATURES, **single)
        self.last = nn.Linear(FEATURES, classes, **single)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to features (B, 128)."""
        x = _at_most(x, LARGEST)
        for layer in (self.first, self.second, self.third):
            x = layer(x)
            # A side of one pixel is not halved: 4×4 images end as 1×1 too.
            x = F.max_pool2d(x, [min(2, side) for side in x.shape[2:]]).relu()
        x = F.dropout(_at_most(x, LAST), DROPOUT, self.training)
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.features(x), DROPOUT, self.training))


def _at_most(x: Tensor, side: int) -> Tensor:
    """``x`` averaged to ``side`` pixels where it has more."""
    sides = [min(s, side) for s in x.shape[2:]]
    return x if list(x.shape[2:]) == sides else F.adaptive_avg_pool2d(x, sides)


def train(data: Dataset, tick: Tick | None = None) -> Network:
    """Train a network on the training split; seed weights, order, augmentation and dropout."""
    recipe = RECIPES.get(data.name)
    steps = number_of_steps(recipe, len(data.train), data.spec.event_shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and with it the hash, is part of the result
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            network = Network(data.spec.event_shape, len(data.spec.classes))
            torch.manual_seed(SEED)
            for module in network.children():
                module.reset_parameters()
            _fit(network, data.train, recipe or Recipe(), steps, tick)
    finally:
        torch.set_num_threads(threads)
    round_to_half(network)
    return network.eval().requires_grad_(False)


def _fit(network: Network, split: Split, recipe: Recipe, steps: int, tick: Tick | None) -> None:
    network.to(memory_format=torch.channels_last).train()  # a third faster
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    done = 0
    while done < steps:
        for x, y in batches(split, recipe, min(steps - done, -(-len(split) // BATCH))):
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
            schedule.step()
            done += 1
            if tick is not None:
                tick(done, steps)
    network.to(memory_format=torch.contiguous_format)


def number_of_steps(recipe: Recipe | None, n: int, shape: tuple[int, ...]) -> int:
    """Return the training steps for n images: the recipe's epochs, or 20 at a bounded cost."""
    steps = (recipe or Recipe()).epochs * -(-n // BATCH)
    if recipe is None:
        pixels = min(shape[1], LARGEST) * min(shape[2], LARGEST)
        steps = min(steps, MOST * 28 * 28 // max(28 * 28, pixels))
    return max(FEWEST, steps)


def duration(steps: int, shape: tuple[int, ...]) -> str:
    """Estimate the training time: 5 ms a step at 8×8 pixels, 37 ms at 28×28, on a 2.6 GHz core."""
    pixels = min(shape[1], LARGEST) * min(shape[2], LARGEST)
    seconds = steps * (2e-3 + 45e-6 * pixels)
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def batches(split: Split, recipe: Recipe, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield at most one pass in random order, half of the images mirrored, each batch shifted."""
    for x, y in _undisturbed(split.batches(torch.randperm(len(split)).split(BATCH)[:most])):
        x = x.cpu().float()
        if recipe.mirror:
            flipped = torch.rand(len(x), 1, 1, 1, dtype=torch.float32) < 0.5
            x = torch.where(flipped, x.flip(3), x)
        if recipe.shift:
            (down, right), room = torch.randint(2 * recipe.shift + 1, (2,)).tolist(), x.shape[2:]
            x = F.pad(x, 4 * (recipe.shift,))
            x = x[..., down : down + room[0], right : right + room[1]]
        yield x.contiguous(memory_format=torch.channels_last), y.cpu()


def _undisturbed(parts: Iterator[Batch]) -> Iterator[Batch]:
    """A loader of images decoded on demand draws a seed: the same images give the same network."""
    while True:
        with torch.random.fork_rng(devices=[]):
            part = next(parts, None)
        if part is None:
            return
        yield part


@torch.no_grad()
def round_to_half(network: nn.Module) -> None:
    """Round every weight to the nearest half-precision number."""
    for parameter in network.parameters():
        parameter.copy_(parameter.half())


@torch.no_grad()
def accuracy(network: Network, split: Split, batch: int = 500) -> float:
    """Return the share of correctly classified examples."""
    correct = 0
    for x, y in split.batches(torch.arange(len(split)).split(batch)):
        correct += int((network(x.cpu().float()).argmax(1) == y.cpu()).sum())
    return correct / len(split)


def weights_hash(network: nn.Module) -> str:
    """Return 16 hex digits of the SHA-256 of parameter names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
