"""Choose the number to show of a run that was evaluated more than once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genai_cli.comparison.read import Measurement, Run, number

SAMPLED = ("samples", "memorisation", "speed")  # groups that depend on how samples are drawn
FIRST = "samples/frechet"  # its player is taken for the others of these groups, where there is one
BESIDE = ("likelihood", "draws", "seed", "checkpoint")  # of a player: not how samples are drawn


@dataclass
class TableCell:
    """One number of the table, or the reason why there is none."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None
    ruler: dict[str, Any] = field(default_factory=dict)
    player: dict[str, Any] = field(default_factory=dict)
    floor: dict[str, Any] | None = None
    seeds: int = 1
    mark: str = ""  # * best, ≈ not distinguishable from it; set by rank

    @property
    def bound(self) -> bool:
        return self.player.get("likelihood") == "bound"

    @property
    def key(self) -> str:
        """Return a key that is equal for equal rulers."""
        return ruler_key(self.ruler)


def ruler_key(ruler: Mapping[str, Any]) -> str:
    return json.dumps(ruler, sort_keys=True, default=str)


def sampler_settings(player: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a player that decides how samples are drawn: sampler, steps, weights."""
    return {k: v for k, v in player.items() if k not in BESIDE}


def cells(
    runs: Sequence[Run], names: Sequence[str], wanted: Mapping[str, Any] | None = None
) -> list[dict[str, TableCell]]:
    """Return for each run the cells of all measures it has a number or a reason for.

    Of several numbers, of samples, the one drawn as for the Fréchet distance, by which the row is
    named; then the one on the ruler that most of the runs share; then an evaluation before the end
    of the training; then the newest. Rulers that equally many share are taken newest first, by all
    runs alike.

    Args:
        runs: of one data set.
        names: of measures.
        wanted: settings of the evaluations to look at; all if empty.
    """
    out: list[dict[str, TableCell]] = [{} for _ in runs]
    ordered = sorted(names, key=lambda name: name != FIRST)
    for name in ordered:
        offers = [_offers(run, name, wanted or {}) for run in runs]
        order = _rulers(offers)
        for mine, offered in zip(out, offers, strict=True):
            if not offered:
                continue
            first = mine.get(FIRST)
            drawn = (
                sampler_settings(first.player) if first and name.split("/")[0] in SAMPLED else None
            )

            mine[name] = _cell(max(offered, key=_preference(order, drawn)).entry)
    return out


def _preference(
    order: Mapping[str, int], drawn: Mapping[str, Any] | None
) -> Callable[[Measurement], tuple[Any, ...]]:
    def of(m: Measurement) -> tuple[Any, ...]:
        papers = m.entry.get("passport", {})
        alike = drawn is None or sampler_settings(papers.get("player", {})) == drawn
        rank = order.get(ruler_key(papers.get("ruler", {})), len(order))
        return m.entry["value"] is not None, alike, -rank, m.evaluated, m.finished

    return of


def _offers(run: Run, name: str, wanted: Mapping[str, Any]) -> list[Measurement]:
    if not wanted:
        return list(run.numbers(name))
    chosen = {
        id(e["metrics"][name])
        for e in run.evaluations
        if name in e["metrics"] and run.matches(e, wanted)
    }
    free = name.startswith("cost/")  # of the training: no evaluation's settings touch it
    return [m for m in run.numbers(name) if id(m.entry) in chosen or (free and not m.evaluated)]


def _rulers(offers: Sequence[Sequence[Measurement]]) -> dict[str, int]:
    """Place of each ruler: shared by most runs first, then the newest."""
    shared: dict[str, int] = {}
    newest: dict[str, str] = {}
    for offered in offers:
        times: dict[str, str] = {}
        for m in offered:
            if m.entry["value"] is not None:
                key = ruler_key(m.entry["passport"].get("ruler", {}))
                times[key] = max(times.get(key, ""), m.finished)
        for key, time in times.items():
            shared[key] = shared.get(key, 0) + 1
            newest[key] = max(newest.get(key, ""), time)
    ordered = sorted(shared, key=lambda key: (shared[key], newest[key]), reverse=True)
    return {key: i for i, key in enumerate(ordered)}


def _cell(entry: Mapping[str, Any]) -> TableCell:
    papers = entry.get("passport", {})
    n = number(entry.get("n"))
    return TableCell(
        value=entry["value"],
        low=entry.get("low"),
        high=entry.get("high"),
        n=int(n) if n else 0,
        reason=entry.get("reason") if entry["value"] is None else None,
        ruler=papers.get("ruler", {}),
        player=papers.get("player", {}),
        floor=entry.get("floor"),
    )
