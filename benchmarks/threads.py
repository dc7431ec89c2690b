"""When is a second CPU thread worth it? Seconds a training step, by size, on idle and busy cores.

    python benchmarks/threads.py          # medians of 7 alternating rounds
    python benchmarks/threads.py --busy   # the same beside a process that keeps every core busy

Measure before changing SMALL_STEP in genai_cli/training/machine.py.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time

import torch

from genai_cli.config import compose
from genai_cli.models.summary import layers
from genai_cli.runner.prepare import prepare
from genai_cli.training import setup
from genai_cli.training.loop import train

CASES = (
    "batch_size=64",
    "batch_size=256",
    "batch_size=64 model.widths=[512,256]",
    "batch_size=128 model.widths=[1024,512]",
    "batch_size=256 model.widths=[2048,1024]",
    "batch_size=64 model.network=conv model.channels=[16,32]",
)
ROUNDS, STEPS = 7, 20


def spin() -> None:
    while True:
        pass


def main() -> None:
    cores = torch.get_num_threads()
    busy = "--busy" in sys.argv
    load = [multiprocessing.Process(target=spin, daemon=True) for _ in range(cores * busy)]
    for process in load:
        process.start()
    print(f"torch {torch.__version__}, {cores} threads of {os.cpu_count()} cores, busy={busy}")
    print("multiply-adds,ms with 1 thread,ms with all,words")
    for words in CASES:
        cells = compose.compose_cells(
            "train", compose.parse_line([*words.split(), "epochs=100000"])
        )
        prepared = prepare(cells[0].config, print)
        cfg, data = prepared.cfg, prepared.data
        run = setup.new_training(cfg, data, torch.device("cpu"))
        steps = train(run, data, cfg, torch.device("cpu"))
        noise = run.model.noise(1, torch.Generator())
        made_of = layers(run.model, data.train.batch(torch.arange(1)), noise)
        work = 3 * cfg.batch_size * sum(layer.work for layer in made_of)
        seconds: dict[int, list[float]] = {1: [], cores: []}
        for _ in range(ROUNDS):
            for threads, times in seconds.items():
                torch.set_num_threads(threads)
                next(steps)
                start = time.perf_counter()
                for _ in range(STEPS):
                    next(steps)
                times.append((time.perf_counter() - start) / STEPS)
        one, many = (1000 * statistics.median(times) for times in seconds.values())
        print(f"{work},{one:.2f},{many:.2f},{words}", flush=True)
    for process in load:
        process.terminate()


if __name__ == "__main__":
    main()
