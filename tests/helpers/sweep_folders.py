"""What the tests read of a sweep."""

from __future__ import annotations

import csv
from pathlib import Path

from safetensors.torch import load_file

QUICK = ("epochs=2", "dataset.limit=64", "model.widths=[8]", "batch_size=32")
AE = ("train", "-m", "model=autoencoder", *QUICK)


def table(sweep: Path) -> list[dict[str, str]]:
    with open(sweep / "sweep.csv", newline="") as file:
        return list(csv.DictReader(file))


def statuses(sweep: Path) -> list[str]:
    return [row["status"] for row in table(sweep)]


def cells(sweep: Path) -> list[Path]:
    return sorted(p for p in sweep.iterdir() if (p / "config.yaml").exists())


def weights(cell: Path) -> dict:
    last = (cell / "checkpoints" / "last").read_text().strip()
    return load_file(cell / "checkpoints" / last / "weights.safetensors")


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
