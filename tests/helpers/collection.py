"""The labelled curves of this folder, and how the doctor does on them.

    python tests/helpers/collection.py tests/doctor/curves/held_out.jsonl

prints a row per label: what was said of its runs. Lines are made by benchmarks/doctor_curves.py.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from genai_cli.doctor.finding import HEALTHY, Finding
from genai_cli.doctor.reading import Reading
from genai_cli.doctor.rules import examine

HERE = Path(__file__).parents[1] / "doctor" / "curves"


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def reading(line: dict[str, Any], bare: bool = False) -> Reading:
    """A line as the doctor reads its run; ``bare``: its three columns, as of another tool."""
    n, columns = line["epochs"], {}
    for name, values in line["columns"].items():
        if bare and name not in ("train/loss", "val/loss"):
            continue
        values = np.array([np.nan if v is None else v for v in values], dtype=float)
        columns[name] = np.full(n, values[0]) if len(values) < n else values
    columns["epoch"] = np.arange(1.0, n + 1)
    if bare:
        return Reading(line["case"], columns)
    columns["step"] = np.linspace(line["steps"] / max(n, 1), line["steps"], n)
    numbers = {k: np.inf if v is None else v for k, v in line["numbers"].items()}
    told = (line["config"], numbers, line["status"], line["failure"].partition(" (")[0])
    return Reading(line["case"], columns, *told)


def right(line: dict[str, Any], found: list[Finding]) -> bool:
    """The first finding is a label; of a healthy run it is the only one."""
    if line["labels"][0] in HEALTHY and len(found) > 1:
        return False
    return found[0].phrase in line["labels"]


def main(path: Path, bare: bool = False) -> None:
    table: dict[str, Counter[str]] = {}
    wrong, alarms, healthy, n = [], 0, 0, 0
    for line in lines(path):
        found = examine(reading(line, bare))
        said = found[0].phrase
        n += 1
        good = right(line, found)
        label = said if said in line["labels"] else line["labels"][0]
        table.setdefault(label, Counter())[said] += 1
        if line["labels"][0] in HEALTHY:
            healthy += 1
            alarms += any(f.phrase not in HEALTHY for f in found)
        if not good:
            wrong.append(f"  {line['case']} seed {line['seed']} {line['labels']}: "
                         + "; ".join(f"{f.phrase} ({f.evidence})" for f in found))  # fmt: skip
    for label, said in sorted(table.items()):
        print(f"{label:34s}", ", ".join(f"{p} {k}" for p, k in said.most_common()))
    print(f"{n - len(wrong)}/{n} right, false alarms {alarms}/{healthy} healthy", *wrong, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--bare" in sys.argv)
