"""Seconds of a sweep one cell after the other, and with two workers of hydra/launcher=processes.

    python benchmarks/launchers.py
    python benchmarks/launchers.py --rounds 3 --cells 8 --epochs 400

Whole commands, from Enter to the exit, imports and figures included; the two take turns. The cells
are seeds on digits with one thread each, so that both launchers train the same numbers. Seconds on
a core depend little on what else runs on the machine: with two cores free, the clock is near half.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

WAYS = {
    "serial": [],
    "processes, 2 workers": ["hydra/launcher=processes", "hydra.launcher.workers=2"],
}


def seconds(args: argparse.Namespace, words: list[str]) -> tuple[float, float]:
    """One sweep in an empty folder: by the clock, and of all its processes on a core."""
    line = ["train", "-m", f"seed=range({args.cells})", f"model={args.model}", "device=cpu"]
    line += [f"epochs={args.epochs}", "trainer.threads=1", "trainer.step=eager", *words]
    with tempfile.TemporaryDirectory() as folder:
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "genai_cli", *line, f"outputs={folder}"],
            capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        taken = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return taken, spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--model", default="autoencoder")
    args = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(args.rounds):
        for name, words in WAYS.items():
            wall, spent = seconds(args, words)
            taken[name].append(wall)
            print(f"{name:20s} {wall:7.1f} s, {spent:7.1f} s on a core", flush=True)
    first, other = (statistics.median(times) for times in taken.values())
    print(f"{args.cells} cells: {first:.1f} s, {other:.1f} s with 2 workers: {first / other:.2f} ×")
    return 0


if __name__ == "__main__":
    sys.exit(main())
