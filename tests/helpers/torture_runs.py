"""The runs that are tortured, and how two of them are held equal."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

QUICK = (
    "dataset.limit=60", "batch_size=32", "trainer.ema=0.9", "trainer.save_every=1",
    "trainer.keep=1", "schedule=cosine", "trainer.threads=1",
)  # fmt: skip
STEPS = 2  # an epoch
MODELS = {
    "mlp": ("model.widths=[8]", "bottleneck=4", "optimizer.lr=0.1"),  # its best epoch is the first
    "autoencoder": ("model.widths=[8]", "bottleneck=2"),
    "vae": ("model.widths=[8]", "bottleneck=2"),
    "flow": (),
    "latent_flow": ("bottleneck=2",),
    "gan": ("model.widths=[16]", "bottleneck=4", "model.r1=1", "model.penalty_every=3"),
    "ddpm": ("model.timesteps=20", "model.channels=[8]", "bottleneck=8"),
}  # fmt: skip


def words(model: str, epochs: int = 3, figures: int = 2) -> tuple[str, ...]:
    """The command of a run of a family that takes about a second."""
    many = (f"model={model}", f"epochs={epochs}", f"trainer.figures_every={figures}")
    return ("train", *many, *QUICK, *MODELS[model])


class Whole(NamedTuple):
    """The undisturbed run of a command: what it holds, what it did, how long it took."""

    command: tuple[str, ...]
    folder: Path
    contents: dict[str, object]
    seen: list[str]  # operations on its files, in order
    seconds: float


def folder_of(place: Path) -> Path:
    """The only run below a directory."""
    (folder,) = (p.parent for p in place.glob("outputs/*/*/config.yaml"))
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    """Those of metrics.csv, without seconds; a torn or doubled one fails."""
    text = (folder / "metrics.csv").read_text()
    assert text.endswith("\n"), "a torn row"
    with open(folder / "metrics.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in found), text
    steps = [int(row["step"]) for row in found]
    assert steps == sorted(set(steps)), f"steps {steps}"
    seconds = [float(row.pop("seconds")) for row in found]
    assert seconds == sorted(seconds), seconds
    assert min(seconds) >= 0, seconds
    return found


def contents(folder: Path) -> dict[str, object]:
    """All that a finished run holds but its seconds, its log and its own name."""
    held: dict[str, object] = {"metrics.csv": rows(folder)}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or name in ("metrics.csv", "train.log", "run.json", "config.yaml"):
            held.setdefault(name, path.is_dir())
        elif path.suffix == ".json":
            held[name] = _without_seconds(json.loads(path.read_text()))
        else:
            held[name] = path.read_bytes()
    return held


def assert_equal(whole: dict[str, object], folder: Path) -> None:
    """A run's contents are those of the undisturbed one, to the last bit."""
    found = contents(folder)
    other = found.keys() ^ whole.keys()
    assert not other, f"only in one: {sorted(other)}"
    differing = [name for name in whole if found[name] != whole[name]]
    assert not differing, differing


def newest(folder: Path) -> int:
    """Epochs of the newest whole checkpoint, -1 if there is none."""
    from genai_cli.errors import UserError
    from genai_cli.training.checkpoint import newest_whole

    try:
        path, damaged = newest_whole(folder / "checkpoints")
    except UserError:
        assert not list((folder / "checkpoints").glob("step-*")), "a torn checkpoint has a name"
        return -1
    assert not damaged, damaged  # a kill leaves none: they are renamed when they are whole
    return int(path.name[5:]) // STEPS


def _without_seconds(value: dict) -> dict:
    value.pop("seconds", None)
    if "sha256" in value:
        value["sha256"].pop("state.json", None)  # it covers the seconds
    return value
