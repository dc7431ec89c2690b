"""The lecture's autoencoders here and in Keras: the same losses at the end, up to the seeds' noise?

    python benchmarks/lecture_keras.py --record                    # five of them, five seeds each
    python benchmarks/lecture_keras.py --only ae64_sigmoid_mse --seeds 0 1

A run of ours is `genai train experiment=lecture/NAME`. Keras builds layers, loss, optimizer, batch,
epochs and early stopping from what that line composes to, and starts from the same weights, which
the seed draws; without that, the loss of Adadelta after 20 epochs is mostly luck of the draw. The
order of the images is each one's own, so that means over seeds are compared: they agree where the
validation losses of the last epoch differ by at most two standard errors of the difference, or by
3 %. All 60,000 training images train and the 10,000 test images validate, as in the lecture
(`dataset.validation=test`). Keras's Adam adds eps before the bias of the first steps is corrected,
ours after (Kingma & Ba 2015), which no longer differs after a thousand steps.
Rows that the file has already are kept: a race cut off goes on. Beside other work the seconds mean
little.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from rows import append, table

NAMES = (
    "ae64_linear_mse_adadelta",
    "ae64_linear_mse_adam",
    "ae64_sigmoid_mse",
    "ae64_sigmoid_bce",
    "ae16_sigmoid_bce",
)
LOSSES = {"mse": "mse", "bce": "binary_crossentropy"}
MARKS = (1, 10)  # epochs whose losses are recorded besides the last
TOLERANCE = 0.03  # of a difference of means, where the seeds scatter less

Losses = list[tuple[float, float]]  # (training, validation) of each epoch


def ours(words: Sequence[str], folder: Path) -> Losses:
    """Train by the command."""
    line = [*words, f"outputs={folder}"]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (metrics,) = folder.glob("*/*/metrics.csv")
    with metrics.open(encoding="utf-8") as file:
        return [(float(row["train/loss"]), float(row["val/loss"])) for row in csv.DictReader(file)]


def keras_fit(config: dict[str, Any]) -> Losses:
    """Fit in Keras what ``config`` says, from the weights that we would start from."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    import keras
    import tensorflow
    import torch

    from genai_cli.config import schema
    from genai_cli.runner import load
    from genai_cli.training import setup

    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    cfg = schema.from_dict(config, Path("config.yaml"))
    data = load.load_data(cfg, lambda _: None)
    x, test = (
        s.x.flatten(1).numpy().astype("float32") / s.max_level for s in (data.train, data.val)
    )
    start = setup.new_training(cfg, data, torch.device("cpu")).model
    model, trainer, optimizer = config["model"], config["trainer"], dict(config["optimizer"])
    if model["code_activation"] != model["activation"]:
        raise SystemExit("lecture_keras: the layers built here have one activation")

    keras.utils.set_random_seed(config["seed"])
    inside = [*model["widths"], config["bottleneck"], *reversed(model["widths"])]
    net = keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            *(keras.layers.Dense(n, activation=model["activation"]) for n in inside),
            keras.layers.Dense(x.shape[1], activation=model["output_activation"]),
        ]
    )
    net.set_weights([p.detach().numpy().T for p in start.parameters()])
    kind = {"adam": keras.optimizers.Adam, "adadelta": keras.optimizers.Adadelta}
    names = {"lr": "learning_rate", "rho": "rho", "eps": "epsilon"}
    rule = {names[k]: v for k, v in optimizer.items() if k in names}
    net.compile(
        optimizer=kind[optimizer["name"]](**rule),
        loss=LOSSES[config["loss"]["name"]],
        steps_per_execution=20,
    )
    stop = []
    if trainer["patience"] is not None:
        stop.append(
            keras.callbacks.EarlyStopping(
                "val_loss", min_delta=trainer["min_delta"], patience=trainer["patience"]
            )
        )
    said = net.fit(
        x,
        x,
        batch_size=config["batch_size"],
        epochs=config["epochs"],
        validation_data=(test, test),
        callbacks=stop,
        verbose=0,
    ).history
    return list(zip(said["loss"], said["val_loss"], strict=True))


def row(tool: str, name: str, seed: int, losses: Losses, seconds: float) -> dict[str, Any]:
    """What is recorded of one training; an epoch that it did not reach is empty."""
    out: dict[str, Any] = {"tool": tool, "experiment": name, "seed": seed, "epochs": len(losses)}
    for mark in (*MARKS, None):
        there = mark is None or mark <= len(losses)
        train, val = losses[(mark or len(losses)) - 1] if there else ("", "")
        epoch = "last" if mark is None else mark
        out |= {f"train_{epoch}": train, f"val_{epoch}": val}
    return out | {"seconds": round(seconds, 1)}


def train(tool: str, name: str, seed: int, root: str | None) -> dict[str, Any]:
    """One training by ``tool``, in a process of its own."""
    words = [sys.executable, "-m", "genai_cli", "train", f"experiment=lecture/{name}"]
    words += [f"seed={seed}", *([] if root is None else [f"dataset.root={root}"])]
    start = time.perf_counter()
    if tool == "genai-cli":
        with tempfile.TemporaryDirectory() as folder:
            losses = ours(words, Path(folder))
    else:
        said = subprocess.run([*words, "--cfg", "job"], check=True, capture_output=True, text=True)
        child = [sys.executable, __file__, "--child"]
        done = subprocess.run(child, input=said.stdout, check=True, capture_output=True, text=True)
        losses = json.loads(done.stdout.splitlines()[-1])
    return row(tool, name, seed, losses, time.perf_counter() - start)


def verdict(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The means of both tools over their seeds, and whether they agree."""
    values = {
        tool: [float(r["val_last"]) for r in rows if (r["tool"], r["experiment"]) == (tool, name)]
        for tool in ("Keras", "genai-cli")
    }
    out: dict[str, Any] = {"experiment": name}
    means, errors = [], []
    for tool, found in values.items():
        means.append(statistics.mean(found))
        errors.append(statistics.stdev(found) / math.sqrt(len(found)) if found[1:] else math.nan)
        out[tool] = f"{means[-1]:.5f} ± {errors[-1]:.5f} (n {len(found)})"
    limit = max(2 * math.hypot(*errors), TOLERANCE * means[0])
    gap = means[1] - means[0]
    return out | {
        "difference": f"{gap:+.5f} ({gap / means[0]:+.1%})",
        "limit": f"{limit:.5f}",
        "agree": "yes" if abs(gap) <= limit else "NO",
    }


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--root", help="folder of Fashion-MNIST's files")
    parser.add_argument("--csv", type=Path, help="append rows here, keep those it has")
    parser.add_argument("--record", action="store_true", help="--csv results/lecture-keras-DATE")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.child:
        print(json.dumps(keras_fit(yaml.safe_load(sys.stdin))))
        return 0
    path = args.csv
    if args.record:
        results = Path(__file__).parent / "results"
        path = results / f"lecture-keras-{date.today()}-cpu.csv"
    rows = []
    if path is not None and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    done = {(r["tool"], r["experiment"], int(r["seed"])) for r in rows}
    for seed in args.seeds:
        for name in args.only:
            for tool in ("genai-cli", "Keras"):
                if (tool, name, seed) in done:
                    continue
                new = train(tool, name, seed, args.root)
                print(*(f"{k} {v}" for k, v in new.items() if v != ""), sep="  ", flush=True)
                append(path, [new])
                rows.append(new)
    print()
    table([verdict(rows, name) for name in args.only])
    return 0


if __name__ == "__main__":
    sys.exit(main())
