"""`genai doctor` diagnoses loss curves and prints the next command to type."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from genai_cli.cli.arguments import DoctorRequest, parse_arguments
from genai_cli.doctor import read, say
from genai_cli.doctor.reading import Reading
from genai_cli.doctor.rules import examine
from genai_cli.errors import UserError
from genai_cli.store.run_folder import UNMEASURED
from genai_cli.system.text import format_table


def main(args: list[str]) -> int:
    """Examine runs, sweeps and CSV files, and print a page for one or a table for several."""
    names, request, _ = parse_arguments(args, "doctor", DoctorRequest)
    patients = [r for name in names for r in readings(name, request.outputs)]
    diagnoses = [(r.name, examine(r)) for r in patients]
    if request.json:
        entries = [
            {"name": name, "findings": [dataclasses.asdict(f) for f in findings]}
            for name, findings in diagnoses
        ]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    elif len(diagnoses) == 1:
        print("\n".join(say.pages(*diagnoses[0])))
    else:
        head = ("run", "finding", "from epoch", "sure", "evidence")
        rows = [say.row(*each) for each in diagnoses]
        print(format_table(f"{len(rows)} runs", head, rows, left=(0, 1, 4)))
    for name in (r.name for r in patients if r.unmeasured and not request.json):
        print(f"note: {name} is {UNMEASURED}, and told by its curves alone; genai resume {name}")
    return 0


def readings(word: str, outputs: str | None) -> list[Reading]:
    """Read the runs that a word names, or a CSV; metrics.csv in a run's folder means that run."""
    from genai_cli.store import lookup, run_folder

    path = Path(word)
    if path.is_file():
        return [read.run(path.parent)] if _of_run(path) else [read.file(path)]
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise UserError(f"no file {word}; give a run, or a CSV with epoch,loss,val_loss")
    if path.is_dir() and not run_folder.is_run(path) and not run_folder.is_sweep(path):
        inside = path / run_folder.METRICS  # where Lightning's CSVLogger writes
        if inside.is_file():
            return [read.file(inside)]
    return [read.run(folder) for folder in lookup.find_all(word, outputs)]


def _of_run(path: Path) -> bool:
    from genai_cli.store import run_folder

    return path.name == run_folder.METRICS and run_folder.is_run(path.parent)
