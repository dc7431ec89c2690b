"""Optimizers by name: torch.optim's, with their keys checked and one built for each player."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from genai_cli.config.signatures import NonNegative, Positive, Rate, bind_hints
from genai_cli.errors import UserError, listing, nearest
from genai_cli.models.base import Player

HINTS = {
    "lr": Positive,
    "weight_decay": NonNegative,
    "betas": list[Rate],
    "eps": Positive,
    "momentum": Rate,
    "nesterov": bool,
    "momentum_decay": NonNegative,
    "lr_decay": NonNegative,
    "initial_accumulator_value": NonNegative,
    "rho": Rate,
    "alpha": Rate,
    "centered": bool,
}

OPTIMIZERS: dict[str, tuple[type[Optimizer], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, ("lr", "momentum", "nesterov", "weight_decay")),
    "adam": (torch.optim.Adam, ("lr", "betas", "eps", "weight_decay")),
    "adamw": (torch.optim.AdamW, ("lr", "betas", "eps", "weight_decay")),
    "adamax": (torch.optim.Adamax, ("lr", "betas", "eps", "weight_decay")),
    "nadam": (torch.optim.NAdam, ("lr", "betas", "eps", "weight_decay", "momentum_decay")),
    "radam": (torch.optim.RAdam, ("lr", "betas", "eps", "weight_decay")),
    "adagrad": (
        torch.optim.Adagrad,
        ("lr", "lr_decay", "eps", "initial_accumulator_value", "weight_decay"),
    ),
    "adadelta": (torch.optim.Adadelta, ("lr", "rho", "eps", "weight_decay")),
    "rmsprop": (
        torch.optim.RMSprop,
        ("lr", "alpha", "eps", "momentum", "centered", "weight_decay"),
    ),
}

# one kernel for all parameters of a step: several times less overhead for small networks
FUSED = ("sgd", "adam", "adamw", "adagrad")


def check(node: Mapping[str, Any]) -> tuple[type[Optimizer], dict[str, Any]]:
    """The class and checked arguments an optimizer node names.

    Raises:
        UserError: an unknown name or key, a wrong type or value.
    """
    name, values = node["name"], {k: v for k, v in node.items() if k != "name"}
    if name not in OPTIMIZERS:
        raise UserError(
            f"unknown optimizer '{name}'{nearest(name, OPTIMIZERS)} "
            f"(choose from: {listing(OPTIMIZERS)})"
        )
    cls, keys = OPTIMIZERS[name]
    arguments = bind_hints({k: HINTS[k] for k in keys}, values, "optimizer", required=("lr",))
    if arguments.get("nesterov") and not arguments.get("momentum"):
        raise UserError(
            "optimizer.nesterov=true needs a momentum above 0; set optimizer.nesterov=false"
        )
    if len(arguments.get("betas", (0, 0))) != 2:
        raise UserError(
            f"optimizer.betas={arguments['betas']} is not allowed: it takes two numbers"
        )
    return cls, arguments


def make(
    players: list[Player], node: Mapping[str, Any], device: torch.device
) -> dict[str, Optimizer]:
    """One optimizer for each player that has its own, by the player's name."""
    cls, arguments = check(node)
    if node["name"] in FUSED and device.type in ("cpu", "cuda"):
        arguments["fused"] = True
    optimizers = {}
    for player in players:
        if player.optimizer is None:
            lr = {"lr": player.lr} if player.lr is not None else {}
            optimizers[player.name] = bare(cls)(player.module.parameters(), **arguments | lr)
    return optimizers


@functools.cache
def bare(cls: type[Optimizer]) -> type[Optimizer]:
    """``cls`` without the wrappers around its methods; the arithmetic is its own.

    They keep torch.compile out of an optimizer, and import it for that: two to six seconds before
    the first step of every run, compiled or not. Ours is never inside what is compiled. The one
    around ``step`` also opens a profiler's range each time.
    """
    unwrapped_step = inspect.unwrap(cls.step)

    @torch.no_grad()
    def step(self: Optimizer, closure: None = None) -> None:
        unwrapped_step(self, closure)

    step.hooked = True  # the mark of the profiler's wrapper: torch then adds none
    names = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(cls, name)) for name in names}
    return type(cls.__name__, (cls,), {**methods, "step": step})
