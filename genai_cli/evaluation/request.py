"""What a line of `genai evaluate` asks for, checked; and the settings that name its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from genai_cli.config.signatures import Between, Count, Natural, checked
from genai_cli.config.validation import FIGURES
from genai_cli.config.values import check_device, given
from genai_cli.errors import UserError, listing, nearest
from genai_cli.evaluation.measures import GROUPS
from genai_cli.models.abilities import options_of

if TYPE_CHECKING:
    from genai_cli.models.base import Model

Features = Literal["auto", "reference", "inception", "pixels"]
SETS = 5  # fresh sets of samples at least: an interval of fewer says little
MOST_N = 2000  # samples of a set by default, and no more than there are test examples
OWN: dict[str, Any] = {
    "n": Annotated[int, Between(10)],
    "sets": Annotated[int, Between(SETS, 100)],
    "seed": Natural,
    "features": Features,
    "k": Count,
    "draws": Count,
    "batch_size": Count,
    "only": list[Literal[GROUPS]],  # type: ignore[valid-type]
    "checkpoint": str,
    "ema": bool | None,
    "device": str,
    "outputs": str,
    **FIGURES,
}


@dataclass
class Ask:
    """One line of `genai evaluate`."""

    n: int | None = None  # samples of a set, and test examples looked at
    sets: int = SETS
    seed: int = 0
    features: Features = "auto"
    k: int = 5
    draws: int = 64
    batch_size: int = 512
    only: list[str] | None = None
    checkpoint: str = "best"
    ema: bool | None = None
    device: str = "auto"
    outputs: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)  # what the line has of FIGURES
    options: dict[str, Any] = field(default_factory=dict)  # the family's own, of sample()

    def wants(self, group: str) -> bool:
        return self.only is None or group in self.only

    def settings(
        self, n: int, features: str | None, averaged: bool, checkpoint: str
    ) -> dict[str, Any]:
        """What the numbers depend on besides the run: neither batch size nor device."""
        own = {k: getattr(self, k) for k in ("sets", "seed", "k", "draws", "only", "options")}
        return {"n": n, "features": features} | own | {"checkpoint": checkpoint, "ema": averaged}


def folder_name(settings: dict[str, Any]) -> str:
    """``reference-n360-3f2a90c1``: the same settings, the same folder."""
    text = json.dumps(settings, sort_keys=True)
    short = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{settings['features'] or 'test'}-n{settings['n']}-{short}"


def parse(changes: Sequence[str]) -> Ask:
    """``key=value`` words; the family's own keys are kept for `settle`.

    Raises:
        UserError: a key given twice, a value that cannot be read or is out of range.
    """
    own, options = given(changes, OWN, words=("checkpoint", "outputs", "device", "features"))
    if isinstance(own.get("only"), str):
        own["only"] = [own["only"]]
    own = {k: checked(v, OWN[k], k) for k, v in own.items()}
    figures = {key: own.pop(key) for key in FIGURES if key in own}
    ask = Ask(**own, figures=figures, options=options)
    check_device(ask.device)
    return ask


def settle(ask: Ask, model: type[Model] | Model, name: str, strict: bool = True) -> Ask:
    """A copy of a request with the family's own options checked and filled in.

    Args:
        ask: of the command line, for one run or several.
        model: the family.
        name: of the family, for messages.
        strict: a key that is not an option of this family is a mistake; else it is left out,
            because another run of the line has it.

    Raises:
        UserError: an option the family does not have, or a value out of range.
    """
    hints, defaults = ({}, {}) if not hasattr(model, "sample") else options_of(model, "samples")
    for key in ask.options:
        if key not in hints and strict:
            has = f"model={name} samples with {listing(hints)}" if hints else (
                f"model={name} has no options of sampling")  # fmt: skip
            raise UserError(f"unknown key '{key}'{nearest(key, [*OWN, *hints])} ({has}; --help)")
    taken = {k: checked(v, hints[k], k) for k, v in ask.options.items() if k in hints}
    return Ask(**{**vars(ask), "options": defaults | taken})
