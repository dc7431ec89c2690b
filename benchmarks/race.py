"""Entrants take turns: each in a process of its own, one round at a time. Not a script.

A script names its entrants and calls `main`. Thread pools of TensorFlow and torch never meet, peak
memory is each entrant's own, and the order turns round after every round, so that a machine that
gets slower meets all alike. The first entrant is the one the others are compared with.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rows import append, table
from turns import Turns

RESULTS = Path(__file__).parent / "results"
SHOWN = (
    "entrant version median low high ratio ratio_per_flop first_round images_per_s "
    "mflop_per_image parameters peak_mib"
)
REST = 0.2  # seconds between turns: the threads of whoever was last go to sleep


class Entrant(NamedTuple):
    """Somebody who takes turns.

    ``enter(args, turns)`` sets up, calls ``turns.ready``, then times ``turns.rounds`` rounds.
    """

    enter: Callable[[argparse.Namespace, Turns], None]
    needs: tuple[str, ...] = ()  # packages of the extra "bench", by import name
    fail: bool = False  # whether the whole script fails with it: ours


def parser(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The arguments every race takes."""
    out = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("--rounds", type=int, default=5, help="timed rounds of each entrant")
    out.add_argument("--warmup", type=int, default=1, help="rounds before them, not counted")
    out.add_argument("--device", default="cpu", help="cpu or cuda")
    out.add_argument("--threads", type=int, default=1, help="CPU threads of every entrant")
    out.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    out.add_argument("--batch", type=int, default=100)
    out.add_argument("--dataset", default="fashion_mnist", help="its train split, from memory")
    out.add_argument("--root", help="folder of its files; default: where genai train finds them")
    out.add_argument("--limit", type=int, help="only so many training examples")
    out.add_argument(
        "--epochs", type=int, default=40, help="of the run for which genai-cli chooses its step"
    )
    out.add_argument("--only", nargs="+", metavar="NAME", help="entrants whose name holds a word")
    out.add_argument("--skip", nargs="+", metavar="NAME", default=[], help="leave these out")
    out.add_argument("--csv", type=Path, help="append the rows to this file")
    out.add_argument("--record", action="store_true", help="append them to benchmarks/results/")
    out.add_argument("--worker", help=argparse.SUPPRESS)
    out.set_defaults(**defaults)
    return out


def main(claim: str, args: argparse.Namespace, entrants: Mapping[str, Entrant]) -> int:
    """Run the race (or, in a worker, one entrant's part of it); the exit code."""
    if args.worker:
        return _work(entrants[args.worker], args)
    before = os.getloadavg()[0]
    heading(claim, args)
    chosen = {
        name: entrant
        for name, entrant in entrants.items()
        if (not args.only or any(word in name for word in args.only))
        and not any(word in name for word in args.skip)
    }
    workers, failed = [], False
    for name, entrant in chosen.items():
        missing = [m for m in entrant.needs if importlib.util.find_spec(m) is None]
        if missing:
            print(f"{name}: left out, {', '.join(missing)} is not installed (the extra bench)")
            continue
        worker = Worker(name, args)
        if worker.get_ready():
            workers.append(worker)
            if worker.facts.get("note"):
                print(f"{name}: {worker.facts['note']}", flush=True)
        else:
            print(f"{name}: left out, {worker.said}")
            failed |= entrant.fail
    for i in range(args.warmup + args.rounds):
        for worker in workers if i % 2 == 0 else workers[::-1]:
            time.sleep(REST)
            worker.take_turn()
    for worker in workers:
        worker.leave()
    for worker in [w for w in workers if w.said]:
        print(f"{worker.name}: stopped, {worker.said}")
        failed |= chosen[worker.name].fail
    rows = _rows(claim, args, [w for w in workers if not w.said], before)
    shown = [k for k in SHOWN.split() if any(row[k] != "-" for row in rows)]
    table([{k: row[k] for k in shown} for row in rows])
    _limit([w for w in workers if not w.said], args)
    print(f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after\n")
    append(args.csv, rows)
    if args.record:
        kind = args.device.partition(":")[0]
        append(RESULTS / f"speed-{datetime.date.today()}-{kind}.csv", rows)
    return int(failed)


class Worker:
    """An entrant's process, seen from outside."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name, self.args, self.said = name, args, ""
        self.facts: dict[str, Any] = {}
        self.seconds: list[float] = []
        self.extras: list[dict[str, float]] = []  # what a round tells besides its seconds
        # OMP_WAIT_POLICY: whoever waits for its turn leaves the cores to the others
        environment = os.environ | {
            "OMP_NUM_THREADS": str(args.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, *sys.argv, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            tail = self.log.read().strip().splitlines()[-1:]
            return {"said": " ".join(tail) or f"exit code {self.process.returncode}"}
        return json.loads(line)

    def get_ready(self) -> bool:
        self.facts = self._read()
        self.said = self.facts.get("said", "")
        return not self.said

    def take_turn(self) -> None:
        if self.said:
            return
        with contextlib.suppress(BrokenPipeError):
            print("go", file=self.process.stdin, flush=True)
        answer = self._read()
        self.said = answer.pop("said", "")
        if not self.said:
            self.seconds.append(answer.pop("seconds"))
            self.extras.append(answer)

    def leave(self) -> None:
        """Its last words are its peak memory."""
        if not self.said:
            self.facts |= self._read()
            self.said = self.facts.pop("said", "")
        self.process.stdin.close()
        self.process.wait(60)

    def timed(self) -> list[float]:
        return self.seconds[self.args.warmup :]

    def best(self, extra: str) -> float:
        """Of the timed rounds: what a machine can do is not what others leave it."""
        return max(e[extra] for e in self.extras[self.args.warmup :])


def _work(entrant: Entrant, args: argparse.Namespace) -> int:
    turns = Turns(args.warmup + args.rounds, args.device)
    try:
        entrant.enter(args, turns)
        turns.leave()
    except Exception as error:
        traceback.print_exc()
        turns.say(said=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return 1
    return 0


def version(package: str) -> str:
    """Of an installed distribution, else a dash."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def processor() -> str:
    """The processor's name where Linux tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def heading(claim: str, args: argparse.Namespace) -> None:
    print(
        f"{claim}: {args.dataset}, batch {args.batch}, {args.precision}, {args.device}, "
        f"{args.threads} threads, {args.rounds} rounds after {args.warmup}"
    )
    print(
        f"{processor()}, {os.cpu_count()} cores; genai-cli {version('genai-cli')}, "
        f"torch {version('torch')}, Python {platform.python_version()}; {datetime.date.today()}",
        flush=True,
    )


def _rows(
    claim: str, args: argparse.Namespace, workers: list[Worker], before: float
) -> list[dict[str, Any]]:
    """One row an entrant; ``ratio`` is its median over the first entrant's, ``ratio_per_flop``
    that of their seconds a FLOP."""
    timed = [w for w in workers if w.facts.get("images")]
    if not timed:
        return []
    first, work = statistics.median(timed[0].timed()), timed[0].facts.get("flops")
    rows = []
    for w in timed:
        middle, flops = statistics.median(w.timed()), w.facts.get("flops")
        rows.append(
            {
                "claim": claim,
                "entrant": w.name,
                "version": w.facts.get("version", "-"),
                "rounds": len(w.timed()),
                "median": middle,
                "low": min(w.timed()),
                "high": max(w.timed()),
                "ratio": middle / first,
                "ratio_per_flop": middle / first * work / flops if flops and work else "-",
                "first_round": w.seconds[0],  # of the warm-up: compiling, autotuning
                "images": w.facts["images"],
                "images_per_s": w.facts["images"] / middle,
                "mflop_per_image": flops / 1e6 if flops else "-",
                "parameters": w.facts.get("parameters", "-"),
                "peak_mib": w.facts["peak_mib"],
                "device": w.facts.get("device") or processor(),
                "cores": os.cpu_count(),
                "threads": args.threads,
                "precision": args.precision,
                "batch": args.batch,
                "dataset": args.dataset,
                "load_before": round(before, 2),
                "load_after": round(os.getloadavg()[0], 2),
                "torch": version("torch"),
                "python": platform.python_version(),
                "date": datetime.date.today().isoformat(),
            }
        )
    return rows


def _limit(workers: list[Worker], args: argparse.Namespace) -> None:
    """What the machine allows for the first entrant's rounds, and how far each is from it."""
    machine = next((w for w in workers if w.facts.get("machine")), None)
    first = next((w for w in workers if w.facts.get("flops")), None)
    if machine is None or first is None:
        return
    rate, near, far = (machine.best(k) for k in ("flops", "near", "far"))
    facts = first.facts
    images = facts["images"]
    compute, memory = images * facts["flops"] / rate, 0.0
    print(
        f"limit: {facts['flops'] * args.batch / 1e6:.4g} MFLOP a step at {rate / 1e9:.4g} GFLOP/s "
        f"are {compute:.4g} s of arithmetic a round"
    )
    if held := facts.get("bytes"):  # of a step
        band = near if held < machine.facts["near_bytes"] else far
        memory = images / args.batch * held / band
        print(f"  {held / 1e6:.4g} MB a step at {band / 1e9:.4g} GB/s are {memory:.4g} s of memory")
    for w in [w for w in workers if w.facts.get("flops")]:
        middle = statistics.median(w.timed())
        used = w.facts["images"] * w.facts["flops"] / middle / rate
        times = middle / max(compute, memory)
        print(f"  {w.name}: {times:.3g} × the limit, {used:.0%} of the rate")
