"""Seconds of a sweep one cell after the other, and with two workers of hydra/launcher=joblib.

    python benchmarks/launchers.py
    python benchmarks/launchers.py --rounds 3 --cells 8 --epochs 60

Whole commands, from Enter to the exit, imports and figures included; the two take turns. The cells
are seeds of a DDPM on digits with one thread each, so that both launchers train the same numbers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

WAYS = {
    "serial": [],
    "joblib, 2 workers": ["hydra/launcher=joblib", "hydra.launcher.workers=2"],
}


def seconds(args: argparse.Namespace, words: list[str]) -> float:
    """One sweep in an empty folder."""
    line = ["train", "-m", f"seed=range({args.cells})", f"model={args.model}", "device=cpu"]
    line += [f"epochs={args.epochs}", "trainer.threads=1", "trainer.step=eager", *words]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "genai_cli", *line, f"outputs={folder}"],
            capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        taken = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--model", default="ddpm")
    args = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(args.rounds):
        for name, words in WAYS.items():
            taken[name].append(seconds(args, words))
            print(f"{name:20s} {taken[name][-1]:7.1f} s", flush=True)
    first, other = (statistics.median(times) for times in taken.values())
    print(f"{args.cells} cells: {first:.1f} s, {other:.1f} s with 2 workers: {first / other:.2f} ×")
    return 0


if __name__ == "__main__":
    sys.exit(main())
