"""Loading runs nothing: live payloads in every file that a verb reads, and none of them fires.

Each payload makes a file. `test_each_payload_is_live` shows that it would.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from genai_cli.errors import UserError
from genai_cli.runner.stopping_rules import read_rule
from genai_cli.store import run_folder, sweep_table
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

VERBS = (
    "runs",
    "resume {run} epochs=2",
    "sample {run} n=2",
    "evaluate {run} n=20",
    "encode {run}",
    "compare {run} {other}",
    "report {run}",
)


class Command:
    """A pickle of it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


class Code:
    """A pickle of it runs Python."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self.code,)


class Caller:
    """A pickle of it calls out."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __reduce__(self) -> tuple[Any, ...]:
        return socket.create_connection, (("127.0.0.1", self.port),)


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """The file a payload makes."""
    return tmp_path / "fired"


def of_pickle(witness: Path) -> dict[str, bytes]:
    """One payload in every container that somebody may load with pickle."""
    evil = Command(f"touch {witness}")
    zipped, old, array, arrays = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"weight": evil}, zipped)
    torch.save({"weight": evil}, old, _use_new_zipfile_serialization=False)
    np.save(array, np.array([evil], dtype=object), allow_pickle=True)
    np.savez(arrays, x=np.array([[evil]], dtype=object), y=np.array([evil], dtype=object))
    return {
        "pickle": pickle.dumps(evil),
        "pickle 0": pickle.dumps(evil, protocol=0),
        "exec": pickle.dumps(Code(f"open({str(witness)!r}, 'w')")),
        "torch": zipped.getvalue(),
        "torch, old": old.getvalue(),
        "npy": array.getvalue(),
        "npz": arrays.getvalue(),
    }


def test_each_payload_is_live(witness: Path) -> None:
    for name, data in of_pickle(witness).items():
        if name.startswith("torch"):
            torch.load(io.BytesIO(data), weights_only=False)
        elif name == "npz":
            with np.load(io.BytesIO(data), allow_pickle=True) as archive:
                archive["x"]
        elif name == "npy":
            np.load(io.BytesIO(data), allow_pickle=True)
        else:
            pickle.loads(data)
        assert witness.exists(), name
        witness.unlink()
    for text in tags(witness):
        yaml.unsafe_load(text)
        assert witness.exists(), text
        witness.unlink()


FILES = ("weights.safetensors", "state.safetensors", "state.json", "run.json", "summary.json")


def plant(run: Path, file: str, data: bytes) -> None:
    """``data`` for a file, with a checksum that fits, as a stranger would write it."""
    places = [*run.glob(f"checkpoints/*/{file}"), *run.glob(file)]
    assert places
    for place in places:
        place.write_bytes(data)
    for meta in run.glob("checkpoints/*/state.json"):
        if file.endswith("safetensors"):
            told = json.loads(meta.read_text())
            told["sha256"][file] = hashlib.sha256(data).hexdigest()
            meta.write_text(json.dumps(told))


@pytest.mark.parametrize("file", FILES)
def test_no_file_of_a_run_is_unpickled(
    file: str, genai: Callable, copy: Callable, witness: Path
) -> None:
    run = copy()
    plant(run, file, of_pickle(witness)["torch" if "tensors" in file else "pickle"])
    for line in ("runs", "resume {run} epochs=2", "encode {run}"):
        done = genai(*line.format(run=run).split())
        assert done.code in (0, 1, 2), (line, done.err)
        assert not witness.exists(), line


@pytest.mark.torture
@pytest.mark.parametrize("file", FILES)
def test_no_file_of_a_run_is_unpickled_by_any_verb(
    file: str, genai: Callable, copy: Callable, witness: Path
) -> None:
    for number, data in enumerate(of_pickle(witness).values()):
        run, other = copy(f"12-00-00-vae-a{number:03d}"), copy(f"12-00-00-vae-b{number:03d}")
        plant(run, file, data)
        for line in VERBS:
            done = genai(*line.format(run=run, other=other).split())
            assert done.code in (0, 1, 2), (line, done.err)
            assert not witness.exists(), (line, number)
        shutil.rmtree(run)
        shutil.rmtree(other)


def quick_verbs(genai: Callable, run: Path) -> None:
    """Each ends as a command does that met a damaged file: no traceback, one line or a note."""
    for line in ("runs", "resume {run} epochs=2", "encode {run}", "report {run}"):
        done = genai(*line.format(run=run).split())
        assert done.code in (0, 1, 2), (line, done.err)
        assert done.err.count("\n") <= 3, (line, done.err)


# ---- YAML and JSON -----------------------------------------------------------------------------


def tags(witness: Path) -> list[str]:
    """YAML that an unsafe loader runs."""
    touch = f"touch {witness}"
    return [
        f"!!python/object/apply:os.system ['{touch}']",
        f"!!python/object/apply:subprocess.check_call [[touch, '{witness}']]",
        f"!!python/object/apply:builtins.exec [\"open('{witness}', 'w')\"]",
        f"a: {{b: [!!python/object/apply:os.system ['{touch}']]}}",
        f"? !!python/object/apply:os.system ['{touch}']\n: 1",
        f"!<tag:yaml.org,2002:python/object/apply:os.system> ['{touch}']",
        f"%TAG !p! tag:yaml.org,2002:python/\n---\n!p!object/apply:os.system ['{touch}']",
        f"!!python/object/new:tuple [!!python/object/apply:map [!!python/name:os.system , "
        f"['{touch}']]]",
    ]


def test_no_tag_of_a_yaml_is_obeyed(
    genai: Callable, copy: Callable, witness: Path, tmp_path: Path
) -> None:
    run, sweep = copy(), tmp_path / "outputs" / "2026-01-01" / "00-00-00-sweep-abcd"
    sweep.mkdir(parents=True)
    for text in tags(witness):
        (run / run_folder.CONFIG).write_text(text)
        (sweep / run_folder.SWEEP).write_text(text)
        with pytest.raises(UserError):
            run_folder.read_config(run)
        with pytest.raises(UserError):
            sweep_table.read(sweep)
        assert read_rule(sweep) is None
        assert not witness.exists(), text
    quick_verbs(genai, run)
    for line in ("sweep resume {s}", "report {s} --no-figures", "compare {s}"):
        assert genai(*line.format(s=sweep).split()).code in (0, 2)
    assert not witness.exists()


def odd_configs(witness: Path) -> list[dict[str, Any]]:
    """Keys of a config by which other systems build objects, read variables or choose folders."""
    target = {
        "_target_": "os.system",
        "_args_": [f"touch {witness}"],
        "command": f"touch {witness}",
    }
    path = "../" * 9 + f"tmp/{witness.stem}"
    return [
        {"model": target},
        {"model": {"name": target}},
        {"model": {"name": "vae", **target}},
        {"model": {"name": path}},
        {"model": {"name": str(witness.with_suffix(""))}},
        {"model": {"name": "os"}},
        {"model": {"name": "base"}},
        {"model": {"name": "__init__"}},
        {"model": {"name": "..launchers.process"}},
        {"model": {"name": "evil"}},
        {"loss": target},
        {"loss": {"name": "os.system"}},
        {"optimizer": target},
        {"optimizer": {"name": "torch.optim.SGD"}},
        {"schedule": target},
        {"dataset": target},
        {"dataset": {"name": "embedded:digits"}},
        {"dataset": {"name": "os:system", "command": f"touch {witness}"}},
        {"trainer": target},
        {"hydra": {"run": {"dir": str(witness)}, "job": {"chdir": True}}},
        {"hydra": {"sweeper": target}},
        {"defaults": [{"model": "vae"}, "_self_"]},
        {"_target_": "os.system"},
        {"tags": ["${oc.env:GENAI_SECRET}"]},
        {"tags": ["\\${oc.env:GENAI_SECRET}"]},
        {"name": "${oc.decode:${oc.env:GENAI_SECRET}}"},
        {"name": "${oc.create:${oc.env:GENAI_SECRET}}"},
        {"bottleneck": "${oc.env:GENAI_SECRET}"},
        {"${oc.env:GENAI_SECRET}": 1},
        {"model": {"name": "vae", "${oc.env:GENAI_SECRET}": 1}},
        {"trainer": {"loggers": ["os"]}},
        {"figures": {"name": "../../evil"}},
        {"init_from": str(witness)},
        {"init_from": "${oc.env:GENAI_SECRET}"},
    ]


@pytest.mark.parametrize("part", range(3))
def test_no_key_of_a_config_builds_reads_or_moves_anything(
    part: int, genai: Callable, copy: Callable, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENAI_SECRET", "hunter2")
    for number, change in enumerate(odd_configs(witness)[part::3]):
        run = copy(f"12-00-00-vae-{number:04d}")
        monkeypatch.chdir(run)  # genai resume .
        obeys_nothing(change, run, genai, witness)


def obeys_nothing(change: dict[str, Any], run: Path, genai: Callable, witness: Path) -> None:
    """No verb builds what a changed config names, or shows what it looks up."""
    for place in (run / "models", run / "configs" / "model", run.parent / "models"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "evil.py").write_text(f"open({str(witness)!r}, 'w')\n")
    config = run_folder.read_config(run)
    for key, value in change.items():
        config[key] = config[key] | value if isinstance(value, dict) and key in config else value
    run_folder.write_config(run, config)
    before = sorted(p.name for p in run.iterdir())
    told = ""
    for line in ("resume . epochs=2", "encode .", "runs outputs=../..", "report ."):
        done = genai(*line.split())
        assert done.code in (0, 1, 2), (line, done.err)
        assert done.err.count("\n") <= 1, (line, done.err)
        told += done.out + done.err
    assert not witness.exists(), change
    assert "hunter2" not in told, change
    written = [
        p for p in run.rglob("*") if p.is_file() and p.suffix not in (".png", ".safetensors")
    ]
    assert not [p for p in written if b"hunter2" in p.read_bytes()]
    assert {p.name for p in run.iterdir()} - set(before) <= {"report.html", "samples", "codes.npz",
                                                             "evaluation", "codes"}  # fmt: skip


def test_json_names_no_code(genai: Callable, copy: Callable, witness: Path) -> None:
    """By which jsonpickle, wandb or a data set's loader would build an object."""
    run = copy()
    evil = {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": [f"touch {witness}"]}]}
    evil |= {"_target_": "os.system", "__class__": "os.system", "$ref": f"file://{witness}"}
    for file in (run_folder.RUN, run_folder.SUMMARY):
        content = run_folder.read_json(run / file)
        atomic_write.write_json(
            run / file, content | evil | {"dataset": evil, "metrics": {"x": evil}}
        )
    atomic_write.write_json(run / "loggers.json", {"wandb": evil, "mlflow": evil})
    quick_verbs(genai, run)
    assert not witness.exists()


# ---- data sets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pickle", "pickle 0", "exec", "torch", "torch, old", "npz"])
def test_no_table_is_unpickled(name: str, genai: Callable, tmp_path: Path, witness: Path) -> None:
    file = tmp_path / "table.npz"
    file.write_bytes(of_pickle(witness)[name])
    for words in (("data", "check", "table", f"path={file}"),
                  ("train", "model=mlp", "dataset=table", f"dataset.path={file}")):  # fmt: skip
        done = genai(*words)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert not witness.exists()


def test_an_array_of_an_npz_may_not_lie_about_what_it_is(tmp_path: Path, witness: Path) -> None:
    """A header that is Python: numpy evaluates it, as a literal."""
    from genai_cli.data.table import table

    head = f"__import__('os').system('touch {witness}')".ljust(117) + "\n"
    body = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()
    for name in ("x.npy", "../x.npy", "/x.npy"):
        with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
            archive.writestr(name, body)
        with pytest.raises(UserError):
            table(path=str(tmp_path / "t.npz"))
    assert not witness.exists()


def cifar_batch(data: bytes, place: Path, archived: bool) -> Path:
    """CIFAR-10's python files, the first batch ``data``."""
    folder = place / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    good = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]})
    for stem in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        (folder / stem).write_bytes(data if stem == "data_batch_1" else good)
    if archived:
        with tarfile.open(place / "cifar-10-python.tar.gz", "w:gz") as archive:
            archive.add(folder, folder.name)
        shutil.rmtree(folder)
    return place


@pytest.mark.parametrize("archived", [False, True])
def test_no_batch_of_cifar_runs_anything(archived: bool, tmp_path: Path, witness: Path) -> None:
    from genai_cli.data.cifar import cifar10

    assert len(cifar10(root=str(cifar_batch(
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}),
        tmp_path / "good", archived))).x) == 12  # fmt: skip
    names = ("os.system", "posix.system", "builtins.eval", "builtins.getattr", "numpy.load",
             "numpy.core.multiarray.scalar", "numpy.f2py.compile", "numpy.testing.os.system",
             "numpy.distutils.exec_command", "_codecs.decode", "codecs.encode")  # fmt: skip
    streams = [*of_pickle(witness).values()]
    for name in names:
        module, _, attribute = name.rpartition(".")
        call = f"c{module}\n{attribute}\n(S'touch {witness}'\ntR."
        streams += [call.encode(), b"\x80\x04" + call.encode()]
        framed = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        framed += b"\x8c" + bytes([len(attribute)]) + attribute.encode() + b"\x93"
        word = f"touch {witness}".encode()
        streams.append(framed + b"X" + len(word).to_bytes(4, "little") + word + b"\x85R.")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        streams.append(pickle.dumps(Caller(server.getsockname()[1])))
        for i, data in enumerate(streams):
            root = cifar_batch(data, tmp_path / f"evil{i}", archived)
            with pytest.raises(UserError) as refused:
                cifar10(root=str(root))
            assert "\n" not in str(refused.value)
            assert not witness.exists(), data
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_kept_classifier_or_inception_is_unpickled(
    tmp_path: Path, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.evaluation import inception, reference

    said: list[str] = []
    for data in of_pickle(witness).values():
        file = tmp_path / "weights.pth"
        file.write_bytes(data)
        with pytest.raises(UserError):
            inception._network(file)
        assert reference._cached(file, None, said.append) is None  # type: ignore[arg-type]
    assert not witness.exists()


# ---- secrets -----------------------------------------------------------------------------------


def test_no_secret_of_the_environment_is_written(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """run.json, the log and the page tell enough to explain a difference, and no more."""
    for name in ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "PASSWORD"):
        monkeypatch.setenv(name, f"hunter2-{name}")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:hunter2-index@host/simple")
    words = "model=vae model.widths=[4] bottleneck=2 dataset.limit=30 batch_size=10 epochs=1"
    done = genai("train", *words.split(), "trainer.max_steps=1")
    assert done.code == 0, done.err
    genai("report", "latest")
    genai("evaluate", "latest", "n=20", "only=reconstruction")
    files = [p for p in (tmp_path / "outputs").rglob("*") if p.is_file()]
    assert {"run.json", "train.log", "report.html", "evaluation.json"} <= {p.name for p in files}
    assert not [p for p in files if b"hunter2" in p.read_bytes()]
