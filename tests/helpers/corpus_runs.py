"""Run folders edited by hand, torn, of another tool or another time: each edit, and what
`genai resume` must say of it. The other verbs may do their work, or refuse in one line, too."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Edit = Callable[[Path], object]
EDITS: dict[str, tuple[Edit, list[str]]] = {}


def edit(name: str, change: Edit, *says: str) -> None:
    assert name not in EDITS, name
    EDITS[name] = change, list(says)


def gone(*parts: str) -> Edit:
    def change(folder: Path) -> None:
        path = folder.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def filled(name: str, data: bytes) -> Edit:
    return lambda folder: (folder / name).write_bytes(data)


def folder_instead(name: str) -> Edit:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def linked(name: str, target: str) -> Edit:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def of_config(key: str, value: Any) -> Edit:
    """``key`` of config.yaml becomes ``value``; ... takes it out."""

    def change(folder: Path) -> None:
        file = folder / "config.yaml"
        config = place = yaml.safe_load(file.read_text())
        *path, last = key.split(".")
        for part in path:
            place = place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value
        file.write_text(yaml.safe_dump(config))

    return change


def of_json(name: str, key: str, value: Any) -> Edit:
    def change(folder: Path) -> None:
        file = folder / name
        held = place = json.loads(file.read_text())
        *path, last = key.split(".")
        for part in path:
            place = place[part]
        place[last] = value
        file.write_text(json.dumps(held))

    return change


CONFIG = "config.yaml"
edit("no config", gone(CONFIG), CONFIG)
edit("config is empty", filled(CONFIG, b""), CONFIG)
edit("config is a word", filled(CONFIG, b"hello"), CONFIG)
edit("config is a list", filled(CONFIG, b"- 1\n- 2\n"), CONFIG)
edit("config is torn", filled(CONFIG, b"model: {name: vae, wid"), CONFIG)
edit("config is no YAML", filled(CONFIG, b"\tmodel: [}"), CONFIG)
edit("config is binary", filled(CONFIG, bytes(range(256))), CONFIG)
edit("config is a picture", filled(CONFIG, b"\x89PNG\r\n\x1a\n" + bytes(64)), CONFIG)
edit("config is UTF-16", filled(CONFIG, "model: 1\n".encode("utf-16")), CONFIG)
edit("config is two", filled(CONFIG, b"a: 1\n---\nb: 2\n"), CONFIG)
edit("config calls", filled(CONFIG, b"model: !!python/object/apply:os.system [true]\n"), CONFIG)
edit("config of another tool", filled(CONFIG, b"trainer:\n  max_epochs: 3\n"), CONFIG)
edit("config of hydra", filled(CONFIG, b"hydra:\n  run:\n    dir: x\n"), CONFIG)
edit("config is a folder", folder_instead(CONFIG), CONFIG)
edit("config is a link to nothing", linked(CONFIG, "nowhere"), CONFIG)
edit("config is a loop", linked(CONFIG, CONFIG), CONFIG)
for name, says in {
    "model": "model",
    "dataset": "dataset",
    "loss": "loss",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "model.name": "model",
    "dataset.name": "dataset",
    "loss.name": "loss",
    "optimizer.name": "optimizer",
    "schedule.name": "schedule",
}.items():
    edit(f"config without {name}", of_config(name, ...), says)
    edit(f"config with {name} null", of_config(name, None), says)
for key, value in {
    "new": 1,
    "model.new": 1,
    "model.widths": "wide",
    "model.beta": -1,
    "model.beta  ": "nan",
    "model.dropout": 2,
    "model.activation": "mish",
    "dataset.new": 1,
    "dataset.limit": -5,
    "dataset.test_fraction": 1.5,
    "loss.sigma": "nope",
    "optimizer.lr": 0,
    "optimizer.lr ": "fast",
    "optimizer.new": 1,
    "optimizer.betas": [1, 2, 3],
    "schedule.new": 1,
    "trainer.new": 1,
    "trainer.keep": 0,
    "trainer.max_steps": "many",
    "trainer.step": "fast",
    "trainer.clip": -1,
    "figures": "pdf",
    "figures.name": "../../x",
    "figures.scale": 99,
    "epochs": 0,
    "epochs ": "ten",
    "epochs  ": [1],
    "batch_size": -1,
    "batch_size ": 2**40,
    "bottleneck": 0,
    "bottleneck ": "two",
    "seed": -1,
    "seed ": 2**70,
    "split_seed": 1.5,
    "device": "gpu",
    "precision": "fp8",
    "monitor": "val/nope",
    "tags": "word",
    "name": {"a": 1},
    "force_loss": "maybe",
}.items():
    plain = key.strip()
    told = plain.rpartition(".")[2] if not key.endswith(" ") else plain.split(".")[0]
    edit(f"config with {key}={value}", of_config(plain, value), told)
edit("another model", of_config("model.name", "gan"), "model")
edit("a model by path", of_config("model.name", "../../evil"), "evil")
edit("a model by module", of_config("model.name", "os.system"), "os.system")
edit("another loss", of_config("loss.name", "hinge"), "hinge")
edit("another optimizer", of_config("optimizer.name", "sgdd"), "sgdd")
edit("another schedule", of_config("schedule.name", "coosine"), "coosine")
edit("another data set", of_config("dataset.name", "wine"), "dataset")
edit("an unknown data set", of_config("dataset.name", "digitz"), "digitz")
edit("more data", of_config("dataset.limit", 60), "dataset")
edit("another split", of_config("split_seed", 1), "dataset")
edit("a wider model", of_config("model.widths", [9]), "does not fit this model")
edit("a larger code", of_config("bottleneck", 3), "does not fit this model")
edit("a target", of_config("model._target_", "os.system"), "_target_")
edit("an interpolation", of_config("model.activation", "${oc.env:HOME}"), CONFIG)

RUN = "run.json"
edit("no run.json", gone(RUN), RUN)
edit("run.json is empty", filled(RUN, b""), RUN)
edit("run.json is torn", filled(RUN, b'{"schema": 1, "sta'), RUN)
edit("run.json is a list", filled(RUN, b"[1, 2]"), RUN)
edit("run.json is binary", filled(RUN, bytes(range(256))), RUN)
edit("run.json is a folder", folder_instead(RUN), RUN)
edit("run.json is deep", filled(RUN, b"[" * 10**5 + b"]" * 10**5), RUN)
edit("run.json is newer", of_json(RUN, "schema", 99), "newer")
edit("data of another hash", of_json(RUN, "dataset.hash", "0123456789abcdef"), "dataset")
edit("data of another split", of_json(RUN, "dataset.split_hash", "0123456789abcdef"), "dataset")
edit("data that is a word", of_json(RUN, "dataset", "digits"), RUN)

edit(
    "checkpoints is a file",
    lambda f: (gone("checkpoints")(f), filled("checkpoints", b"")(f)),
    "no folder of checkpoints",
)
edit("empty folder", lambda f: [gone(p.name)(f) for p in list(f.iterdir())], CONFIG)
edit("another tool's", lambda f: ([gone(p.name)(f) for p in list(f.iterdir())],
                                  (f / "model.ckpt").write_bytes(b"x")), CONFIG)  # fmt: skip
# ---- edits that leave the run a run: no verb may end in a traceback, nothing else is asked -----

TORN: dict[str, Edit] = {
    "checkpoints are gone": gone("checkpoints"),
    "metrics.csv is gone": gone("metrics.csv"),
    "metrics.csv is empty": filled("metrics.csv", b""),
    "metrics.csv is binary": filled("metrics.csv", bytes(range(256))),
    "metrics.csv is torn": filled("metrics.csv", b"epoch,step,images,seconds,lr,train/loss\n1,1,4"),
    "metrics.csv without a head": filled("metrics.csv", b"1,2,3\n2,3,4\n"),
    "metrics.csv with words": filled("metrics.csv", b"epoch,step,val/loss\n1,one,2\n"),
    "metrics.csv with nan": filled("metrics.csv", b"epoch,step,val/loss\n1,1,nan\n2,2,inf\n"),
    "metrics.csv out of order": filled(
        "metrics.csv", b"epoch,step,val/loss\n2,2,1\n1,1,2\n1,1,2\n"
    ),
    "metrics.csv is a folder": folder_instead("metrics.csv"),
    "summary.json is gone": gone("summary.json"),
    "summary.json is torn": filled("summary.json", b'{"schema": 1,'),
    "summary.json with NaN": filled("summary.json", b'{"metrics": {"test/mse": {"value": NaN}}}'),
    "summary.json of words": filled("summary.json", b'{"step": "x", "metrics": {"test/mse": 3}}'),
    "summary.json of a list": filled("summary.json", b'{"metrics": [1], "seconds": "x"}'),
    "summary.json is a folder": folder_instead("summary.json"),
    "run.json of words": filled("run.json", b'{"schema": 1, "status": 5, "parameters": "x"}'),
    "run.json with another status": of_json("run.json", "status", "tired"),
    "run.json started at no time": of_json("run.json", "started", ["x"]),
    "train.log is gone": gone("train.log"),
    "train.log is binary": filled("train.log", bytes(range(256))),
    "train.log is a folder": folder_instead("train.log"),
    "pictures are text": filled("loss_curve.png", b"no picture"),
    "best names nothing": filled("checkpoints/best", b"step-999999"),
    "best leaves the folder": filled("checkpoints/best", b"../../../../etc"),
    "last is empty": filled("checkpoints/last", b""),
    "a stray file": filled("notes.txt", b"mine"),
    "a stray checkpoint": lambda f: (f / "checkpoints" / "step-zzz").mkdir(),
}


def copied(run: Path, to: Path, change: Edit) -> Path:
    """A copy of a finished run, changed."""
    shutil.copytree(run, to, symlinks=True)
    change(to)
    return to


def weights(run: Path) -> list[Path]:
    return sorted(Path(run, "checkpoints").glob("step-*/weights.safetensors"))


def spoiled(change: Callable[[bytes], bytes]) -> Edit:
    """Every checkpoint's weights changed alike."""

    def spoil(folder: Path) -> None:
        for file in weights(folder):
            data = file.read_bytes()
            os.unlink(file)
            file.write_bytes(change(data))

    return spoil


TORN |= {
    "weights are empty": spoiled(lambda data: b""),
    "weights are cut off": spoiled(lambda data: data[: len(data) // 2]),
    "weights are text": spoiled(lambda data: b"no weights"),
    "weights promise exabytes": spoiled(lambda data: b"\xff" * 8 + data[8:]),
    "weights have one bit turned": spoiled(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
}
