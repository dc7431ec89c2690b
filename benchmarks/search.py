"""Best validation loss against optimizer steps: a grid, and searches of 20 trials beside it.

    python benchmarks/search.py                     # VAE on digits, learning rate × bottleneck
    python benchmarks/search.py --seeds 5 --epochs 30

The grid has 5 × 5 cells that are all trained to their end. A search draws 20 trials from the same
ranges; each trial that is not pruned takes as many steps as a cell of the grid. Steps are what
metrics.csv counts, of pruned trials included; the seed is that of the search, not of the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import yaml
from rows import append, table

from genai_cli.cli.front_door import main as genai
from genai_cli.store import run_folder

GRID = ("optimizer.lr=1e-4,4e-4,1.6e-3,6.3e-3,2.5e-2", "bottleneck=2,4,8,16,32")
SPACE = ("optimizer.lr=tag(log,interval(1e-4,2.5e-2))", "bottleneck=tag(log,range(2,33))")


def measured(name: str, seed: int | str, words: list[str]) -> dict[str, object]:
    """Train a sweep in a folder of its own; its best value and all steps."""
    with tempfile.TemporaryDirectory() as folder:
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = genai(["train", "-m", *words, f"outputs={folder}"])
        sweep = next(Path(folder).glob("*/*"))
        cells = run_folder.cells(sweep)
        values, steps, pruned = [], 0, 0
        for cell in cells:
            rows = run_folder.read_metrics(cell)
            values += [row["val/loss"] for row in rows]
            steps += int(rows[-1]["step"]) if rows else 0
            described = run_folder.read_json(cell / run_folder.RUN)
            pruned += str(described.get("reason", "")).startswith("pruned")
        cell = yaml.safe_load((sweep / run_folder.SWEEP).read_text()).get("best") or {}
    return {"entrant": name, "seed": seed, "runs": len(cells), "pruned": pruned, "code": code,
            "steps": steps, "best": min(values), **(cell.get("values") or {})}  # fmt: skip


def main() -> None:
    take = argparse.ArgumentParser(description=__doc__)
    take.add_argument("--epochs", type=int, default=27)
    take.add_argument("--trials", type=int, default=20)
    take.add_argument("--seeds", type=int, default=3)
    take.add_argument("--dataset", default="digits")
    take.add_argument("--model", default="vae")
    take.add_argument("--only", default="grid,tpe,random,halving")
    take.add_argument(
        "--words", nargs="*", default=[], help="more of a search, like sweep.prune=none"
    )
    take.add_argument("--first", type=int, default=0, help="of the seeds")
    take.add_argument("--csv", type=Path)
    args = take.parse_args()
    same = [f"model={args.model}", f"dataset={args.dataset}", "trainer.threads=1"]
    full = [*same, f"epochs={args.epochs}"]
    rows: list[dict[str, object]] = []
    for name in args.only.split(","):
        if name == "grid":
            rows.append(measured("grid", "", [*full, *GRID]))
        elif name == "halving":
            rungs = f"sweep.rungs=[{args.epochs // 9},{args.epochs // 3},{args.epochs}]"
            rows.append(measured("halving", "", [*same, *GRID, "sweep=halving", rungs]))
        else:
            for seed in range(args.first, args.first + args.seeds):
                asked = [f"sweep={name}", f"sweep.trials={args.trials}", f"sweep.seed={seed}"]
                rows.append(measured(name, seed, [*full, *SPACE, *asked, *args.words]))
                print(rows[-1], flush=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    rows = [{key: row.get(key, "") for key in columns} for row in rows]
    table(rows)
    append(args.csv, rows)


if __name__ == "__main__":
    main()
