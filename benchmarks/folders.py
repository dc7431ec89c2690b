"""Seconds that a sweep of a thousand cells takes beside its training, and a look at it afterwards.

    python benchmarks/folders.py
    python benchmarks/folders.py --cells 200 --families autoencoder vae gan

The cells are 20 shapes with many seeds each. They are composed, checked and written as `genai train
-m` does before it launches the first; then every cell gets the rows and the numbers
of one small run that was really trained, and the commands that read them are timed as processes of
their own. "one cell changed" is what a sweep pays each time a cell ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from genai_cli.config import compose, schema
from genai_cli.launchers.settings import Serial
from genai_cli.store import run_folder
from genai_cli.store import sweep_table as folders
from genai_cli.sweeps import asked
from genai_cli.sweeps import cells as cells_module
from genai_cli.sweeps.checked import validate_cells
from genai_cli.sweeps.launch import write_cells
from genai_cli.sweeps.settings import Sweep
from genai_cli.system import atomic_write

SHAPES = 10  # codes of each family


def timed(what: str, work: Callable[[], object]) -> object:
    """Print the seconds of ``work``; its result."""
    began = time.perf_counter()
    result = work()
    print(f"{what:<42} {time.perf_counter() - began:7.2f} s", flush=True)
    return result


def command(*words: str) -> None:
    """`genai WORDS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "genai_cli", *words], stdout=subprocess.PIPE, check=True
    )
    assert done.stdout


def trained(root: Path) -> Path:
    """One small run with all its files."""
    words = ["train", "model=autoencoder", "epochs=20", "dataset.limit=200", "model.widths=[16]"]
    command(*words, f"outputs={root}")
    return next(root.glob("*/*"))


def main() -> None:
    """One table of seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--families", nargs="+", default=["autoencoder", "vae"])
    given = parser.parse_args()
    seeds = given.cells // (SHAPES * len(given.families))
    words = ["-m", f"model={','.join(given.families)}", f"bottleneck=range(2,{2 + SHAPES})",
             f"seed=range({seeds})"]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        one = trained(root / "one")
        line = compose.parse_line(words)
        cells = timed("compose", lambda: compose.compose_cells("train", line))
        kept = timed("check and build on meta", lambda: validate_cells(cells))
        sweep = run_folder.claim(root / "outputs", "sweep")
        named = {cells_module.cell_name(i, cell): p for i, (cell, p) in enumerate(kept)}
        timed(f"write {len(named)} folders", lambda: write_cells(sweep, named, "genai train"))
        described = [
            (name, cell, schema.to_dict(p.cfg))
            for (name, p), (cell, _) in zip(named.items(), kept, strict=True)
        ]
        content = asked.manifest("genai train", Sweep(), Serial(), described)
        timed("sweep.yaml", lambda: asked.write_manifest(sweep, content))
        timed("sweep.csv", lambda: folders.write_table(sweep))
        fill(sweep, one)
        timed("sweep.csv, every cell changed", lambda: folders.write_table(sweep))
        cell = sweep / next(iter(named))
        atomic_write.write_json(
            cell / run_folder.RUN, run_folder.read_json(cell / run_folder.RUN) | {"tries": 2}
        )
        timed("sweep.csv, one cell changed", lambda: folders.write_table(sweep))
        os.environ["GENAI_OUTPUTS"] = str(root / "outputs")
        timed("genai --version, for its start alone", lambda: command("--version"))
        timed("genai runs", lambda: command("runs"))
        timed("genai runs --all", lambda: command("runs", "--all"))
        timed("genai runs --json", lambda: command("runs", "--json"))
        timed("genai compare --no-figures", lambda: command("compare", "latest", "--no-figures"))


def fill(sweep: Path, one: Path) -> None:
    """What training leaves in each cell: rows, numbers that differ, a log."""
    done = json.loads((one / run_folder.SUMMARY).read_text())
    for i, cell in enumerate(run_folder.cells(sweep)):
        described = run_folder.read_json(cell / run_folder.RUN)
        ended = {"status": "finished", "finished": run_folder.now(), "threads": 1}
        atomic_write.write_json(cell / run_folder.RUN, described | ended, durable=False)
        for entry in done["metrics"].values():
            entry["value"] *= 1 + (i % 97) * 1e-4
        atomic_write.write_json(cell / run_folder.SUMMARY, done, durable=False)
        for name in (run_folder.METRICS, run_folder.LOG):
            shutil.copy(one / name, cell / name)


if __name__ == "__main__":
    main()
