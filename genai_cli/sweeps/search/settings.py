"""Validate the keys of a search and their combinations before anything is composed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from genai_cli.config.signatures import Between, Count, Natural, validate
from genai_cli.errors import UserError, listing
from genai_cli.sweeps.settings import Sweep

Search = Literal["grid", "random", "tpe", "halving"]
Prune = Literal["none", "median", "asha"]
Fraction = Annotated[float, Between(0, 1, open_low=True, open_high=True)]

RANGES = {
    "search": Search,
    "trials": Count,
    "parallel": Count | None,
    "seed": Natural,
    "startup": Count,
    "prune": Prune,
    "prune_after": Count,
    "keep": Fraction,
}
SEQUENTIAL = ("trials", "parallel", "seed")
PRUNED = ("prune", "prune_after", "startup", "keep")
USED = {  # by each search, besides `over` and `search`
    "grid": ("cells", "skip_invalid", *PRUNED),
    "random": (*SEQUENTIAL, *PRUNED),
    "tpe": (*SEQUENTIAL, *PRUNED),
    "halving": ("cells", "skip_invalid", "rungs", "keep"),
}


def check(sweep: Sweep, words: Sequence[str]) -> None:
    """Check the ranges of all keys, and that no key of the line would be without effect.

    Args:
        sweep: as read.
        words: ``sweep=NAME`` and ``sweep.KEY=value`` of the line, and of its experiment.

    Raises:
        UserError: the first that does not hold.
    """
    for key, hint in RANGES.items():
        validate(getattr(sweep, key), hint, f"sweep.{key}")
    named = [word.partition("=")[0].removeprefix("sweep").removeprefix(".") for word in words]
    for key in [*named, *(["cells"] if sweep.cells else [])]:
        if key and key not in ("over", "search", *USED[sweep.search]):
            users = [name for name, used in USED.items() if key in used]
            raise UserError(
                f"sweep.{key} says nothing to search={sweep.search}; it is for sweep="
                f"{listing(users)}"
            )
    rungs = sweep.rungs
    if sweep.search == "halving" and (
        not rungs or rungs[0] < 1 or any(b <= a for a, b in pairwise(rungs))
    ):
        raise UserError(f"sweep.rungs={rungs} is not allowed: rising epochs, like [3,9,27]")
    if sweep.search == "halving" and sweep.prune != "none":
        raise UserError("sweep.prune is not for search=halving, which ends cells itself")
