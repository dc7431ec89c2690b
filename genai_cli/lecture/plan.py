"""Plan a lecture: each experiment's commands, the trainings with the user's key=value.

A word of the user goes where an experiment has its key and leaves it open. What its own line or
its sweep sets is its lesson and stays; so does its data set, unless that is one of files which a
machine may lack. No torch here: every mistake is told before anything is written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from genai_cli.config import compose, schema, sweep_lists, validation
from genai_cli.config.compose_cache import Composer
from genai_cli.config.overrides import canonical, parse_overrides
from genai_cli.errors import UserError
from genai_cli.lecture import header
from genai_cli.lecture.chapters import Experiment

UNKNOWN = "it has no key"
REPLACED = ("fashion_mnist",)  # data sets that dataset=NAME takes the place of


class Item(NamedTuple):
    """An experiment as it will be run."""

    experiment: Experiment
    commands: tuple[str, ...]  # as typed in its header
    words: tuple[tuple[str, ...], ...]  # of each, behind genai, with the user's
    left_out: dict[str, str]  # key=value of the user → why it is not in them


def plan(chosen: Sequence[Experiment], changes: Sequence[str]) -> list[Item]:
    """Plan the items of a lecture.

    Args:
        chosen: its experiments, in order.
        changes: the user's key=value, without outputs.

    Raises:
        UserError: a value that an experiment cannot take, or a key that none has.
    """
    changes = [canonical(change) for change in changes]
    with compose.hydra_session(compose.parse_line(changes)):
        for override in parse_overrides(list(changes)):
            if override.is_sweep_override():
                raise UserError(f"{override.input_line} is several values; give one")
        composer = Composer("train")  # one for all: what many experiments share is composed once
        items = [_plan_item(experiment, changes, composer) for experiment in chosen]
    for change in changes:
        whys = [item.left_out.get(change) for item in items]
        if all(why is not None and why.startswith(UNKNOWN) for why in whys):
            raise UserError(f"{change} goes nowhere: {whys[0]}, nor has any other experiment here")
    return items


def _plan_item(experiment: Experiment, changes: Sequence[str], composer: Composer) -> Item:
    read = experiment.header
    left_out: dict[str, str] = {}
    words = []
    for command in read.commands:
        arguments = header.split_command(command)
        if header.is_training(command):
            taken, why = _accept_changes(arguments[1:], changes, composer)
            arguments, left_out = [*arguments, *taken], left_out | why
        words.append(tuple(arguments))
    return Item(experiment, read.commands, tuple(words), left_out)


def _accept_changes(
    args: list[str], changes: Sequence[str], composer: Composer
) -> tuple[list[str], dict[str, str]]:
    """Of ``changes``, those that a training line takes, and why it does not take the others.

    Raises:
        UserError: the line with them is a mistake.
    """
    line = compose.parse_line(args)
    experiment = [word for word in line.overrides if word.startswith("experiment=")]
    swept = composer.sweep(experiment) if line.multirun and experiment else {}
    varied = [*(swept.get("over") or {}), *sweep_lists.cell_keys(swept.get("cells") or [])]
    given = _list_keys(line.overrides)
    known = _flat_config(composer, line.overrides)
    taken: list[str] = []
    why: dict[str, str] = {}
    # a group first: dataset=digits decides which dataset.KEY there are
    for change in sorted(changes, key=lambda word: "." in word.partition("=")[0]):
        reason = _refusal_reason(*change.split("=", 1), known, given, varied)
        if reason:
            why[change] = reason
        else:
            taken.append(change)
            known = _flat_config(composer, [*line.overrides, *taken])
    return taken, why


def _list_keys(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[0] for word in words]


def _refusal_reason(
    key: str, value: str, known: dict[str, Any], given: list[str], varied: list[str]
) -> str:
    """Why key=value is left out of a line, or ""."""
    if key in varied:
        return f"{key} is what it varies"
    if key in given:
        return f"its command sets {key} itself"
    dataset = known["dataset.name"]
    if key == "dataset" and dataset not in (*REPLACED, value):
        return f"its data set is {dataset}"
    if key not in known and f"{key}.name" not in known:
        return f"{UNKNOWN} {key}"
    return ""


def _flat_config(composer: Composer, words: Sequence[str]) -> dict[str, Any]:
    """The flat config of a line's words, of a sweep without what it varies."""
    config = composer.config(words)
    validation.check(config)
    return schema.flatten(dataclasses.asdict(config))
