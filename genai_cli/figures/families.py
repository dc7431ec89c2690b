"""Colours of lines by family; the caller hands in the look of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb

from genai_cli.figures.style import GREY, INK


class Look(NamedTuple):
    """The name, colour and marker of a family, the same in every figure of a comparison."""

    name: str = ""
    colour: str = GREY
    marker: str = "o"


def colours(looks: Sequence[Look]) -> list[str]:
    """Return a colour for each line of a panel, in order: that of its family.

    Where a family has several lines (the bottlenecks of a sweep), they get light to dark shades of
    it, or one colour map if it is the only family.
    """
    count = Counter(looks)
    if len(count) == 1 and len(looks) > 1:
        return sequence(len(looks))
    shades = {
        look: iter([0.0] if n == 1 else np.linspace(-0.55, 0.45, n).tolist())
        for look, n in count.items()
    }
    return [_shade(look.colour, next(shades[look])) for look in looks]


def sequence(n: int) -> list[str]:
    """Return n colours of one map, from light to dark."""
    return [to_hex(colormaps["viridis"](t)) for t in np.linspace(0.88, 0, n)]


def _shade(colour: str, amount: float) -> str:
    """Mixed with white (below 0) or with ink (above)."""
    other = np.array(to_rgb("white" if amount < 0 else INK))
    return to_hex(np.array(to_rgb(colour)) * (1 - abs(amount)) + other * abs(amount))
