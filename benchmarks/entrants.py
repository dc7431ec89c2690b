"""Entrants that many races share: genai-cli, plain torch loops, the machine. Not a script."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from race import Entrant, version
from torch import Tensor, nn
from turns import Turns

from genai_cli.config import compose
from genai_cli.config.schema import TrainConfig
from genai_cli.rng import generator
from genai_cli.runner.prepare import Prepared, prepare
from genai_cli.training import machine, setup
from genai_cli.training.loop import train
from genai_cli.training.step_kinds import choose

NEAR = 2 << 20  # bytes: a copy of so many stays in the caches of one core


def words_of(args: argparse.Namespace) -> list[str]:
    """What the arguments of a race mean to `genai train`."""
    epochs = max(args.epochs, args.rounds + args.warmup)
    words = [f"dataset={args.dataset}", f"batch_size={args.batch}", f"epochs={epochs}"]
    words += [f"device={args.device}", f"precision={args.precision}"]
    words.append(f"trainer.threads={args.threads}")
    words += ["trainer.ema=null", "trainer.clip=null"]  # no peer does them
    if args.root:
        words.append(f"dataset.root={args.root}")
    if args.limit:
        words.append(f"dataset.limit={args.limit}")
    return [*words, *getattr(args, "words", [])]  # and a script's own


def prepared(args: argparse.Namespace, *words: str) -> Prepared:
    """The checked config, with its data on the device."""
    made = prepare(
        compose.compose_cells("train", compose.parse_line([*words_of(args), *words]))[0].config,
        print,
    )
    return dataclasses.replace(made, data=made.data.to(torch.device(args.device)))


def images_of(args: argparse.Namespace) -> Tensor:
    """(n, *event) the training examples every peer gets, in data space, in memory."""
    split = prepared(args, "model=autoencoder").data.train
    return split.batch(torch.arange(len(split))).x


def genai(
    words: Callable[[argparse.Namespace], list[str]], step: str | None = None
) -> Callable[[argparse.Namespace, Turns], None]:
    """Epochs of THE loop: what `genai train` does between two validations.

    ``step`` is the kind, chosen for a run of ``--epochs`` where it is None.
    """

    def enter(args: argparse.Namespace, turns: Turns) -> None:
        more = [] if step is None else [f"trainer.step={step}"]
        made = prepared(args, *words(args), *more)
        cfg, data, device = made.cfg, made.data, torch.device(args.device)
        with machine.numerics(cfg, args.threads):
            run = setup.new_training(cfg, data, device)
            chosen = choose.choose(run, data, cfg, device, {})
            steps = train(run, data, cfg, device, chosen.step)
            turns.ready(
                note="; ".join(" ".join(line.split()) for line in chosen.lines),
                version=version("genai-cli"),
                parameters=sum(p.numel() for p in run.model.parameters()),
                images=len(data.train),
                **_counted(cfg, data, device),
            )
            for i in range(turns.rounds):
                turns.start()
                while run.step < (i + 1) * run.steps_per_epoch:
                    next(steps)
                run.means.means()
                turns.stop()

    return enter


def ours(words: Callable[[argparse.Namespace], list[str]], device: str) -> dict[str, Entrant]:
    """genai-cli as it chooses itself, then each kind of step it has."""
    kinds = ["eager", "compiled"] + ["graph"] * device.startswith("cuda")
    named = {f"genai-cli, {kind}": Entrant(genai(words, kind), fail=True) for kind in kinds}
    return {"genai-cli": Entrant(genai(words), fail=True), **named}


def _counted(cfg: TrainConfig, data: Any, device: torch.device) -> dict[str, float]:
    """FLOPs an image and least bytes a step, on a model of its own."""
    model = setup.new_model(cfg, data.spec, device)
    batch = data.train.batch(torch.arange(min(cfg.batch_size, len(data.train))))
    model.prepare(batch)
    noise = model.noise(len(batch.x), generator(0, "count", 0, device))
    return counted(model, lambda: model.loss(batch, noise)["loss"].mean(), len(batch.x))


def counted(model: nn.Module, loss: Callable[[], Tensor], n: int) -> dict[str, float]:
    """FLOPs of a step an image, and the bytes a step of ``n`` must move at least.

    A parameter is read forward and backward and its gradient written, then Adam reads four and
    writes three numbers; what autograd keeps is written once and read once.
    """
    from torch.utils.flop_counter import FlopCounterMode

    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss().backward()
    model.zero_grad(set_to_none=True)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    moved = 10 * weights + 2 * sum(kept.values())
    return {"flops": counter.get_total_flops() / n, "bytes": float(moved)}


def autocast(args: argparse.Namespace) -> contextlib.AbstractContextManager:
    if args.precision == "bf16":
        return torch.autocast(args.device.partition(":")[0], dtype=torch.bfloat16)
    return contextlib.nullcontext()


def cut(x: Tensor, batch: int) -> Iterator[Tensor]:
    """Batches of an epoch, cut out of memory in a fresh order."""
    for index in torch.randperm(len(x)).to(x.device).split(batch):
        yield x[index]


def plain(
    turns: Turns,
    args: argparse.Namespace,
    name: str,
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    epoch: Callable[[], Iterable[Tensor]],
    images: int,
) -> None:
    """The loop everybody writes: ``loss`` of a batch (its mean), backward, Adam.

    Args:
        name: the distribution whose version is told.
        epoch: the batches of one epoch.
    """
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    first = next(iter(epoch())).to(device)
    turns.ready(
        version=version(name),
        parameters=sum(p.numel() for p in model.parameters()),
        images=images,
        **counted(model, lambda: loss(first), len(first)),
    )
    for _ in range(turns.rounds):
        turns.start()
        for x in epoch():
            optimizer.zero_grad()
            with autocast(args):
                value = loss(x.to(device))
            value.backward()
            optimizer.step()
        turns.stop()


def hardware(args: argparse.Namespace, turns: Turns) -> None:
    """What the machine can do: a large matrix product, copies within the caches and beyond them."""
    torch.set_num_threads(args.threads)
    cuda = args.device.startswith("cuda")
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    side, far = (8192, 1 << 30) if cuda else (1024, 128 << 20)
    a, b = (torch.randn(side, side, device=args.device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    copies = [torch.zeros(2, n // 8, device=args.device) for n in (NEAR, far)]  # n bytes in all
    turns.ready(machine=True, near_bytes=NEAR)

    def seconds(work: Callable[[], Any], times: int) -> float:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            work()
        if cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / times

    for _ in range(turns.rounds):
        turns.start()
        rate = 2 * side**3 / seconds(lambda: torch.mm(a, b, out=out), 3)
        near, beyond = (
            pair.nbytes / seconds(lambda pair=pair: pair[0].copy_(pair[1]), times)
            for pair, times in zip(copies, (200, 3), strict=True)
        )
        turns.stop(flops=rate, near=near, far=beyond)


MACHINE = {"the machine": Entrant(hardware)}
