"""What a run spends on its log, figures and checkpoints, and whether seconds grow with epochs.

    python benchmarks/overhead.py --root /usr/share/datasets/fashion-mnist
    python benchmarks/overhead.py --lengths 10 100 --device cuda

`genai train` of the lecture's autoencoder on Fashion-MNIST, once for each number of epochs, each
in a process of its own. The seconds of what is neither a step nor a validation are taken where they
are spent: rows and lines, checkpoints, and figures with the import of matplotlib.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from race import RESULTS, parser, processor
from rows import append, table

# what is timed: (name of the sum, module, class or None, functions)
PLACES = (
    ("log", "genai_cli.store.metrics_csv", "MetricsWriter", ("__init__", "add")),
    ("log", "genai_cli.runner.console", "Reporter", ("line", "step", "epoch", "log", "start_live")),
    ("checkpoints", "genai_cli.training.saving", "Saver", ("begin", "epoch", "now", "rescue")),
    ("figures", "genai_cli.evaluation.run_figures", None, ("draw",)),
)


class Clock:
    """Seconds by name; calls inside timed calls are not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.inside = False

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return function(*args, **kwargs)
            self.inside, start = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - start
                self.inside = False

        return call


@contextlib.contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Within the block `PLACES` are timed."""
    before = []
    for name, module, cls, functions in PLACES:
        clock.seconds[name] = clock.seconds.get(name, 0.0)
        place = importlib.import_module(module)
        place = place if cls is None else getattr(place, cls)
        for function in functions:
            before.append((place, function, getattr(place, function)))
            setattr(place, function, clock.timed(name, getattr(place, function)))
    try:
        yield
    finally:
        for place, function, own in before:
            setattr(place, function, own)


def train(args: argparse.Namespace, epochs: int) -> dict[str, Any]:
    """One run: seconds of its clock and of the three sums."""
    import genai_cli.training.setup  # torch is not part of what figures cost
    from genai_cli.cli.commands import train as verb

    words = ["train", "model=autoencoder", "model.widths=[128]", "bottleneck=64", "batch_size=100"]
    words += [f"dataset={args.dataset}", f"epochs={epochs}", f"device={args.device}"]
    words += [f"trainer.threads={args.threads}", "trainer.step=eager"]
    words += [f"dataset.root={args.root}"] if args.root else []
    words += [f"dataset.limit={args.limit}"] if args.limit else []
    start = time.perf_counter()
    import genai_cli.evaluation.run_figures  # noqa: F401  matplotlib is part of what figures cost

    imported, clock = time.perf_counter() - start, Clock()
    with tempfile.TemporaryDirectory() as folder, watched(clock):
        with contextlib.redirect_stdout(io.StringIO()):
            code = verb.main([*words[1:], f"outputs={folder}"])
        if code:
            raise SystemExit(code)
        summary = next(Path(folder).rglob("summary.json"))
        rows = next(Path(folder).rglob("metrics.csv")).read_text(encoding="utf-8").splitlines()
        seconds = json.loads(summary.read_text(encoding="utf-8"))["seconds"] + imported
    trained = float(rows[-1].split(",")[rows[0].split(",").index("seconds")])
    clock.seconds["figures"] += imported
    other = sum(clock.seconds.values())
    return {
        "entrant": f"{epochs} epochs",
        "median": seconds,
        "trained": trained,
        "s_per_epoch": trained / epochs,
        **clock.seconds,
        "share_percent": 100 * other / seconds,
    }


def main() -> int:
    options = parser(__doc__, dataset="fashion_mnist")
    options.add_argument("--lengths", type=int, nargs="+", default=[10, 50], metavar="EPOCHS")
    args = options.parse_args()
    print(f"overhead: {args.dataset}, {args.device}, {args.threads} threads")
    with get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
        fresh.apply(train, (args, 1))  # what is imported is then in the disk's cache
        rows = fresh.map(functools.partial(train, args), args.lengths, chunksize=1)
    table(rows)
    if args.csv or args.record:
        day, kind = datetime.date.today(), args.device.partition(":")[0]
        where = args.csv or RESULTS / f"overhead-{day}-{kind}.csv"
        about = {"date": str(day), "machine": processor(), "device": args.device}
        about |= {"threads": args.threads, "version": version("genai-cli")}
        about |= {"torch": version("torch"), "dataset": args.dataset}
        append(where, [about | row for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
