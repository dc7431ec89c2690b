"""The request of `genai evaluate`, and the settings that name its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from genai_cli.config.schema import Figures, FiguresScale
from genai_cli.config.signatures import (
    Averaged,
    BatchSize,
    Between,
    Checkpoint,
    Count,
    Device,
    Help,
    Natural,
    OneOf,
    Outputs,
    validate,
)
from genai_cli.errors import UserError, listing, nearest
from genai_cli.evaluation.measures import GROUPS
from genai_cli.models.abilities import options_of

if TYPE_CHECKING:
    from genai_cli.models.base import Model
SETS = 5  # fresh sets of samples at least: an interval of fewer says little
MOST_N = 2000  # samples of a set by default, and no more than there are test examples
FEATURES = dict.fromkeys(("auto", "reference", "inception", "pixels"), "")


@dataclass
class EvaluateRequest:
    """Hold the options of `genai evaluate`."""

    n: Annotated[
        Annotated[int, Between(10)] | None,
        Help(
            "samples of a set, and test examples looked at; as many as there are test examples,"
            f" {MOST_N} at most, if not given. A small n is fast",
            "N",
        ),
    ] = None
    sets: Annotated[
        int,
        Between(SETS, 100),
        Help(f"fresh sets of samples, {SETS} at least: the intervals of distances"),
    ] = SETS
    features: Annotated[
        str,
        OneOf(FEATURES),
        Help(
            "reference: a small classifier of the data itself; inception: the network of the FID"
            " (GENAI_INCEPTION=FILE gives its weights); pixels; auto is reference where images have"
            " labels"
        ),
    ] = "auto"
    only: Annotated[
        list[Annotated[str, OneOf(dict.fromkeys(GROUPS, ""))]] | None,
        Help(" ".join(GROUPS), "[…]"),
    ] = None
    k: Annotated[Count, Help("neighbours of precision, recall, density and coverage")] = 5
    draws: Annotated[Count, Help("importance samples of a VAE's bound")] = 64
    seed: Annotated[
        Natural,
        Help(
            "of the first set; the next ones count up. Set s is what genai sample RUN seed=s draws"
        ),
    ] = 0
    batch_size: BatchSize = 512
    checkpoint: Checkpoint = "best"
    ema: Averaged = None
    device: Device = "auto"
    outputs: Outputs = None
    brief: Annotated[bool, Help("say where the numbers are, do not print them")] = False
    figures: Figures = None
    figures__scale: FiguresScale = None
    options: dict[str, Any] = field(default_factory=dict)  # the family's own, of sample()

    def wants(self, group: str) -> bool:
        return self.only is None or group in self.only

    def settings(
        self, n: int, features: str | None, averaged: bool, checkpoint: str
    ) -> dict[str, Any]:
        """Return the settings that change the numbers: neither batch size nor device is one."""
        options = {k: getattr(self, k) for k in ("sets", "seed", "k", "draws", "only", "options")}
        return (
            {"n": n, "features": features} | options | {"checkpoint": checkpoint, "ema": averaged}
        )


def folder_name(settings: dict[str, Any]) -> str:
    """Return ``reference-n360-3f2a90c1``; the same settings give the same folder."""
    import hashlib
    import json

    text = json.dumps(settings, sort_keys=True)
    short = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{settings['features'] or 'test'}-n{settings['n']}-{short}"


def resolve_request(
    request: Any, model: type[Model] | Model, name: str, strict: bool = True
) -> Any:
    """Return a copy of a request with the family's options checked and filled in.

    Args:
        request: of the command line, for one run or several; any request with ``options``.
        model: the family.
        name: of the family, for messages.
        strict: a key that is not an option of this family is a mistake; else it is left out,
            because another run of the line has it.

    Raises:
        UserError: an option the family does not have, or a value out of range.
    """
    hints, defaults = ({}, {}) if not hasattr(model, "sample") else options_of(model, "samples")
    for key in request.options:
        if key not in hints and strict:
            has = f"model={name} samples with {listing(hints)}" if hints else (
                f"model={name} has no options of sampling")  # fmt: skip
            raise UserError(
                f"unknown key '{key}'{nearest(key, [*vars(request), *hints])} ({has}; --help)"
            )
    taken = {k: validate(v, hints[k], k) for k, v in request.options.items() if k in hints}
    return dataclasses.replace(request, options=defaults | taken)


def resolve_requests(folders: Sequence[Path], request: Any) -> list[Any]:
    """Return the request of each run with its family's options.

    Raises:
        UserError: a run that cannot be measured, or an option that none of them has.
    """
    from genai_cli.models.build import model_class
    from genai_cli.store import run_config, run_folder
    from genai_cli.training import checkpoint

    families = []
    for folder in folders:
        name = run_config.load_config(folder).model["name"]
        checkpoint.named(folder / run_folder.CHECKPOINTS, request.checkpoint)  # or one line why not
        families.append((model_class(name), name))
    alike = len({name for _, name in families}) == 1
    settled = [resolve_request(request, model, name, strict=alike) for model, name in families]
    for key in request.options:
        if not any(key in one.options for one in settled):
            resolve_request(request, *families[0])
    return settled
