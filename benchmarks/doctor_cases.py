"""The cases of doctor_cases.yaml."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Case:
    """One command line; a run of it for every seed. Its fields are told in the YAML's head."""

    name: str
    judge: str
    words: tuple[str, ...]
    usual: float = 0.0
    kicks: tuple[float, ...] = ()
    kick: float = 1.0
    cut: bool = False
    without: Mapping[str, object] = field(default_factory=dict)
    says: str = ""
    seeds: tuple[int, ...] = ()


def read(path: Path) -> list[Case]:
    """All cases, in the order of the file; a name is judge-name."""
    judges: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    short = judges.pop("words")
    cases = []
    for judge, named in judges.items():
        for name, told in named.items():
            more = dict(told) if isinstance(told, dict) else {"words": told}
            words = string.Template(more.pop("words")).substitute(short).split()
            more["usual"] = float(more.get("usual", 0))  # YAML takes 1e-3 for a word
            cases.append(Case(f"{judge}-{name}", judge, tuple(words), **more))
    return cases


CASES = read(Path(__file__).with_suffix(".yaml"))
