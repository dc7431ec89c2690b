"""Parse the search space: the lists, ranges and intervals of a command line.

The grammar is Hydra's; values are kept as the text behind the ``=``, so that a trial is composed
like a line that a user typed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from genai_cli.config import compose, sweep_lists
from genai_cli.config.compose_cache import Composer
from genai_cli.config.overrides import parse_overrides
from genai_cli.errors import UserError


class Dimension(NamedTuple):
    """One key: a choice of ``choices``, or a number in [low, high] on a grid of ``step`` if given.

    ``whole`` numbers have a step; ``log``: spread over the logarithm.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    whole: bool = False
    log: bool = False

    @property
    def size(self) -> float:
        """Return the number of values; infinite for an interval."""
        if self.choices:
            return len(self.choices)
        return math.inf if self.step is None else 1 + round((self.high - self.low) / self.step)

    def at(self, share: float) -> str:
        """Return the value at the fraction ``share`` in [0, 1) of the range, as text."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        if self.step is not None and not self.log:
            return self.text(self.low + self.step * int(share * self.size))
        half = 0.5 if self.whole else 0.0  # so that both ends of whole numbers get their share
        low, high = self.low - half, self.high + half
        return self.text(low * (high / low) ** share if self.log else low + share * (high - low))

    def text(self, value: Any) -> str:
        """Format a number for a trial: four significant digits are enough to search with."""
        if self.choices:
            return str(value)
        value = min(max(float(value), self.low), self.high)
        if self.whole:
            return str(round(value))
        if self.step is not None:
            return f"{value:.10g}"
        return repr(min(max(float(f"{value:.4g}"), self.low), self.high))


class Space(NamedTuple):
    """The dimensions of a search, and the words that are the same in every trial."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]

    @property
    def size(self) -> float:
        return math.prod(d.size for d in self.dimensions)

    def words(self, values: Mapping[str, str]) -> list[str]:
        """Return a trial as the words of a command line."""
        return [*self.fixed, *(f"{key}={text}" for key, text in values.items())]

    def corners(self) -> list[dict[str, str]]:
        """Return the fewest trials that cover every choice and both ends of every number."""
        ends = [d.choices or (d.text(d.low), d.text(d.high)) for d in self.dimensions]
        number = max(map(len, ends))
        return [
            {d.key: e[i % len(e)] for d, e in zip(self.dimensions, ends, strict=True)}
            for i in range(number)
        ]


def build_space(line: compose.CommandLine, over: Mapping[str, Any]) -> Space:
    """Build the search space of a line of ``genai train -m``.

    Args:
        line: as parsed.
        over: of the sweep's YAML; the line wins.

    Raises:
        UserError: nothing to choose from, or a key that cannot be searched over.
    """
    line = line._replace(overrides=[*sweep_lists.over_words(over, line.overrides), *line.overrides])
    dimensions: list[Dimension] = []
    fixed: list[str] = []
    with compose.hydra_session(line):
        for override in parse_overrides(line.overrides):
            if override.is_sweep_override():
                dimensions.append(_parse_dimension(override))
            else:
                fixed.append(override.input_line)
        composer = Composer("train", line.config_dirs)
        for experiment in [c for d in dimensions if d.key == "experiment" for c in d.choices]:
            compose.refuse_nested_sweep(composer, experiment)
    if not dimensions:
        raise UserError(
            "a search needs something to choose from, like "
            "'optimizer.lr=tag(log,interval(1e-4,1e-2))' or bottleneck=8,16,32"
        )
    return Space(tuple(dimensions), tuple(fixed))


def _parse_dimension(override: Any) -> Dimension:
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    key, sweep = override.get_key_element(), override.value()
    given = override.input_line
    log = "log" in sweep.tags
    if sweep.tags - {"log"}:
        raise UserError(f"{given}: the one tag that is known is log, like tag(log,interval(1,9))")
    if isinstance(sweep, IntervalSweep):
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)  # int(interval(1,9))
        low, high, step = sweep.start, sweep.end, 1.0 if whole else None
    elif isinstance(sweep, RangeSweep):
        values = _list_values(override)
        ends = (float(values[0]), float(values[-1]))
        low, high = min(ends), max(ends)
        step = abs(float(sweep.step or 1))
        whole = all(value.lstrip("-").isdigit() for value in values)
    else:
        if log:
            raise UserError(f"{given}: log is for an interval or a range, not for a list")
        values = _list_values(override)
        if len(set(values)) < len(values):
            raise UserError(f"{given}: a value stands there twice")
        return Dimension(key, choices=tuple(values))
    if not math.isfinite(high - low) or high < low or (high == low and not whole):
        raise UserError(f"{given}: from {low:g} to {high:g} there is nothing")
    if log and low <= 0:
        raise UserError(f"{given}: a logarithm needs a lower end above 0")
    if log and (step or 1.0) != 1.0:
        raise UserError(f"{given}: log goes with an interval, or a range of step 1")
    if log and step and not whole:
        raise UserError(f"{given}: log goes with an interval, or a range of whole numbers")
    return Dimension(key, (), float(low), float(high), step, whole, log)


def _list_values(override: Any) -> list[str]:
    values = sweep_lists.sweep_values(override)
    if not values:
        raise UserError(f"{override.input_line} holds no value at all")
    return values


def sample_lattice(space: Space, number: int, seed: int) -> dict[str, str]:
    """Draw ``number`` of an endless sequence that fills the space evenly.

    An additive recurrence, xₙ = x₀ + n α mod 1 with αⱼ = φ⁻ʲ and φᵈ⁺¹ = φ + 1 (Roberts 2018, "The
    unreasonable effectiveness of quasirandom sequences"), with x₀ drawn from the seed.
    """
    from genai_cli.rng import derive_seed

    d = len(space.dimensions)
    phi = 2.0
    for _ in range(50):
        phi = (1 + phi) ** (1 / (d + 1))
    values = {}
    for j, dimension in enumerate(space.dimensions):
        start = derive_seed(seed, f"lattice {dimension.key}") / 2**63
        values[dimension.key] = dimension.at((start + number * phi ** -(j + 1)) % 1.0)
    return values
