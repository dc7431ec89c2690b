"""The reference classifier: a small network that knows a data set's classes, trained once.

Three 3×3 convolutions with pooling, 128 features, one linear layer; dropout, Adam, one-cycle
schedule, clothes mirrored at random, digits moved by a pixel. It sees the training split alone,
with seed 0 on one CPU thread, and its weights are then rounded to half precision: the rounded
network is the extractor, and the hash of its weights is part of every number's ruler. Another CPU
may train another one, so the weights of digits and Fashion-MNIST ship with the package; those of
any other set or split are trained on first use and kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from genai_cli.data.dataset import Dataset, Split
from genai_cli.data.raw import shown
from genai_cli.errors import UserError
from genai_cli.models.base import Batch

SHIPPED = Path(__file__).parent / "weights"
VERSION = 1  # of network and training, in the name of a kept file

FEATURES, DROPOUT = 128, 0.25
BATCH, RATE, SEED = 128, 3e-3, 0
LARGEST = 64  # pixels a side; larger images are averaged down to it first
LAST = 4  # pixels a side of what the linear layer sees, at most
FEWEST, MOST = 500, 6000  # steps; MOST at 28×28 pixels, fewer for larger images

Say = Callable[[str], None]
Tick = Callable[[int, int], None]  # (steps done, steps in all)


class Recipe(NamedTuple):
    """What differs between data sets."""

    epochs: int = 20
    mirror: bool = False  # left and right are alike
    shift: int = 0  # pixels
    least: float = 0.0  # accuracy below which nothing is measured …
    examples: int = 0  # … by a network that was trained on as many


RECIPES = {
    "digits": Recipe(epochs=60, shift=1, least=0.97, examples=1100),
    "fashion_mnist": Recipe(epochs=18, mirror=True, least=0.92, examples=45000),
}


class Network(nn.Module):
    """(B, C, H, W) in [0, 1] to (B, classes) scores; ``features`` are the layer before."""

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
        """(B, C, H, W) to (B, 128)."""
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


class Reference(NamedTuple):
    """A trained network, in eval mode."""

    network: Network
    accuracy: float  # on the test split
    hash: str  # of its weights


def reference(data: Dataset, say: Say = print, tick: Tick | None = None) -> Reference:
    """The classifier of ``data``: shipped, from the cache, or trained now and kept there.

    Args:
        data: labelled images of any size and number of channels.
        say: is told in a line that it is trained, and what is wrong with the cache.
        tick: is told of every training step.

    Raises:
        UserError: the data has no classes or images, or the classifier is below its recipe.
    """
    if not data.spec.is_image or data.spec.target != "labels":
        raise UserError(
            f"features=reference is a classifier and {data.name} has no labelled images to train "
            "it on; use features=pixels"
        )
    name = f"{data.name}-{data.hash[:8]}-{data.split_hash[:8]}"
    shipped = SHIPPED / f"{name}.safetensors"
    if shipped.exists():
        try:
            return read(shipped, data)
        except Damaged as error:
            raise UserError(
                f"{shown(shipped)} is damaged ({error}); type 'pip install --force-reinstall "
                "--no-deps genai-cli'"
            ) from None
    kept = cache() / f"{name}-v{VERSION}.safetensors"
    found = _cached(kept, data, say)
    if found is None:
        steps = number_of_steps(RECIPES.get(data.name), len(data.train), data.spec.event_shape)
        say(
            f"training the reference classifier of {data.name} once: {steps:,} steps, about "
            f"{_duration(steps, data.spec.event_shape)} on one core"
        )
        network = train(data, tick)
        found = Reference(network, accuracy(network, data.test), weights_hash(network))
        _check(found, data)
        _keep(kept, found, say)
    return found


def cache() -> Path:
    """The folder of trained classifiers: in $GENAI_CACHE, or in genai of the user's cache."""
    given = os.environ.get("GENAI_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "genai"
    return (Path(given) if given else home).expanduser() / "reference"


def _check(found: Reference, data: Dataset) -> None:
    recipe = RECIPES.get(data.name, Recipe())
    if found.accuracy < recipe.least and len(data.train) >= recipe.examples:
        raise UserError(
            f"the reference classifier reaches accuracy {found.accuracy:.4f} on {data.name} and "
            f"{recipe.least} is needed; use features=pixels"
        )


# ---- files


class Damaged(Exception):
    """A file of weights that is not what it says."""


def read(path: Path, data: Dataset) -> Reference:
    """The network in ``path``.

    Raises:
        Damaged: the file cannot be read, is another network, or its weights changed.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # looking changes no later draw
            network = Network(data.spec.event_shape, len(data.spec.classes))
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        network.load_state_dict(weights)
        correct = float(said["accuracy"])
    except Exception as error:  # safetensors, torch and the file system raise nearly anything
        raise Damaged(shown(" ".join(str(error).split()) or type(error).__name__, 80)) from None
    found = Reference(network.eval().requires_grad_(False), correct, weights_hash(network))
    if found.hash != said.get("hash"):
        raise Damaged(f"its weights have the hash {found.hash} and not {said.get('hash')}")
    return found


def write(path: Path, found: Reference) -> None:
    """Beside and renamed: another process sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    weights = {k: v.half().contiguous() for k, v in found.network.state_dict().items()}
    try:
        save_file(weights, partial, {"accuracy": repr(found.accuracy), "hash": found.hash})
        partial.chmod(0o644)  # safetensors makes it the writer's alone; a cache may be shared
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _cached(path: Path, data: Dataset, say: Say) -> Reference | None:
    try:
        if not path.exists():
            return None
        return read(path, data)
    except (Damaged, OSError) as error:
        say(f"{shown(path)} is damaged ({error}) and is made again")
        return None


def _keep(path: Path, found: Reference, say: Say) -> None:
    try:
        write(path, found)
    except Exception as error:  # a disk that is full or read-only must not stop an evaluation
        say(
            f"the reference classifier cannot be kept in {shown(path.parent)} ({error}); set "
            "GENAI_CACHE=DIR"
        )


def weights_hash(network: nn.Module) -> str:
    """16 hex digits of names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


# ---- training


def train(data: Dataset, tick: Tick | None = None) -> Network:
    """A network fitted to the training split, seeded: weights, order, augmentation, dropout."""
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
    rounded(network)
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
    """Of training on n images: the recipe's epochs, or 20 at a bounded cost."""
    steps = (recipe or Recipe()).epochs * -(-n // BATCH)
    if recipe is None:
        pixels = min(shape[1], LARGEST) * min(shape[2], LARGEST)
        steps = min(steps, MOST * 28 * 28 // max(28 * 28, pixels))
    return max(FEWEST, steps)


def _duration(steps: int, shape: tuple[int, ...]) -> str:
    """An estimate: 5 ms a step of 8×8 pixels and 37 ms of 28×28, measured on a 2.6 GHz core."""
    pixels = min(shape[1], LARGEST) * min(shape[2], LARGEST)
    seconds = steps * (2e-3 + 45e-6 * pixels)
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def batches(split: Split, recipe: Recipe, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """At most one pass in random order, half of the images mirrored, each batch moved."""
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
def rounded(network: nn.Module) -> None:
    """Every weight becomes the nearest half-precision number."""
    for parameter in network.parameters():
        parameter.copy_(parameter.half())


@torch.no_grad()
def accuracy(network: Network, split: Split, batch: int = 500) -> float:
    """The share of right classes."""
    correct = 0
    for x, y in split.batches(torch.arange(len(split)).split(batch)):
        correct += int((network(x.cpu().float()).argmax(1) == y.cpu()).sum())
    return correct / len(split)
