"""Seconds of a sweep of 32 seeds of the autoencoder: packed, beside one run after the other.

    python benchmarks/sweep.py                          # digits, start-up included
    python benchmarks/sweep.py --dataset fashion_mnist --root DIR --limit 6000 --epochs 2

A round is the whole command, from Enter to its exit: figures, checkpoints and tables, too. "single
commands" runs four of them and tells the time of all. Images a second are over all seeds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable

from race import Entrant, main, parser, version
from turns import Turns

SINGLES = 2


def command(args: argparse.Namespace, *words: str) -> list[str]:
    out = [sys.executable, "-m", "genai_cli", "train", "model=autoencoder", *words]
    out += ["model.widths=[128]", "bottleneck=16", f"dataset={args.dataset}"]
    out += [f"batch_size={args.batch}", f"epochs={args.epochs}", f"device={args.device}"]
    out += [f"precision={args.precision}", f"trainer.threads={args.threads}"]
    if args.root:
        out.append(f"dataset.root={args.root}")
    return out if args.limit is None else [*out, f"dataset.limit={args.limit}"]


def examples(args: argparse.Namespace) -> int:
    """In the training split."""
    from entrants import images_of

    return len(images_of(args))


def sweeping(pack: str) -> Callable[[argparse.Namespace, Turns], None]:
    def enter(args: argparse.Namespace, turns: Turns) -> None:
        words = ["-m", f"seed=range({args.seeds})", f"trainer.pack={pack}"]
        n = examples(args)
        turns.ready(version=version("genai-cli"), images=n * args.seeds * args.epochs)
        for _ in range(turns.rounds):
            with tempfile.TemporaryDirectory() as folder:
                line = command(args, *words, f"outputs={folder}")
                turns.start()
                _run(line)
                turns.stop()

    return enter


def singles(args: argparse.Namespace, turns: Turns) -> None:
    n, few = examples(args), min(SINGLES, args.seeds)
    turns.ready(version=version("genai-cli"), images=n * args.seeds * args.epochs)
    for _ in range(turns.rounds):
        with tempfile.TemporaryDirectory() as folder:
            turns.start()
            for seed in range(few):
                _run(command(args, f"seed={seed}", f"outputs={folder}"))
            turns.stop(scale=args.seeds / few)


def _run(line: list[str]) -> None:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1:] or done.returncode)


def entrants() -> dict[str, Entrant]:
    return {
        "packed": Entrant(sweeping("auto"), fail=True),
        "one after the other": Entrant(sweeping("none"), fail=True),
        "single commands": Entrant(singles, fail=True),
    }


if __name__ == "__main__":
    options = parser(__doc__, dataset="digits", batch=64, warmup=0, epochs=20)
    options.add_argument("--seeds", type=int, default=32)
    sys.exit(main("sweep", options.parse_args(), entrants()))
