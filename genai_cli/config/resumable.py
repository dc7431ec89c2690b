"""Classify every key of a config as safe, noted or refused in a resumed run."""

from __future__ import annotations

import typing

from genai_cli.config.schema import LOSSES, Resume, iter_keys
from genai_cli.config.schema import NOTED as WITH_A_NOTE

RULES = {  # of the keys that are the same in all configs: schema.py
    key: next(m for m in typing.get_args(hint) if isinstance(m, Resume))
    for key, hint in iter_keys()
}
NOTE = WITH_A_NOTE.why
SAFE = (
    *(key for key, rule in RULES.items() if rule.allowed and not rule.why),
    "dataset.path",  # the content's hash says whether it is still the same data
    "dataset.root",
    "dataset.workers",
    "dataset.memory_mb",
)
NOTED = (
    *(key for key, rule in RULES.items() if rule.allowed and rule.why),
    *(f"optimizer.{key}" for key in ("lr", "weight_decay", "betas", "eps", "rho", "alpha")),
    *(f"schedule.{key}" for key in ("horizon", "final", "every", "gamma", "factor", "patience")),
    *("schedule.min_delta", "schedule.floor"),
)
REFUSALS = {  # by key, or for all keys of a group
    "dataset": "the data is what the run is about",
    "model": "its weights would not fit, or its objective would be another",
    "optimizer": "its buffers would not fit",
    "schedule": "it is a function of all steps so far",
    "loss": LOSSES.why,
    **{key: rule.why for key, rule in RULES.items() if not rule.allowed},
}


def matches(key: str, names: tuple[str, ...]) -> bool:
    """Tell whether a key is among names, where ``optimizer.`` stands for all below it."""
    return key in names or any(n.endswith(".") and key.startswith(n) for n in names)


def refusal_reason(key: str) -> str:
    """Explain why a resumed run may not change a key."""
    return REFUSALS.get(key) or REFUSALS.get(key.split(".")[0]) or "it is fixed"


def resume_command(run: str, epochs: int, horizon: float | None) -> str:
    """Return the command that trains a run for ``epochs`` epochs. A schedule that was planned for a
    shorter ``horizon`` is stretched, since its rate is near 0 at its end.
    """
    stretched = f" schedule.horizon={epochs}" if horizon and horizon < epochs else ""
    return f"genai resume {run} epochs={epochs}{stretched}"
