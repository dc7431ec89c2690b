"""Checkpoints that are torn, and which one is gone on from, kept and named."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genai_cli.errors import UserError
from genai_cli.models.base import Player
from genai_cli.training import checkpoint
from genai_cli.training.ema import Ema
from genai_cli.training.schedule import LRSchedule
from genai_cli.training.state import Training

FILES = ("weights.safetensors", "state.safetensors", "state.json")


def training() -> Training:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizers = {"model": torch.optim.Adam(model.parameters())}
    schedule = LRSchedule({"name": "constant", "warmup": 0})
    players = [Player("model", model)]
    return Training(model, players, optimizers, schedule, Ema(model, 0.9), 10, monitor="val/loss")


def at(run: Training, step: int, best: bool = False) -> Training:
    """The run at a step: every weight is its number."""
    run.step = step
    for p in run.model.parameters():
        p.data.fill_(step)
    if best:
        run.best, run.best_step, run.best_epoch = 1 / step, step, run.epoch
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 10, 20 (the best) and 30."""
    run = training()
    for step in (10, 20, 30):
        best = step == 20
        checkpoint.save(tmp_path, at(run, step, best), keep=3, mark_best=best)
    return tmp_path


def steps(folder: Path) -> list[int]:
    return sorted(int(p.name[5:]) for p in folder.glob("step-*"))


def loaded(folder: Path) -> tuple[Training, str | None]:
    run = training()
    note = checkpoint.load(folder, run)
    assert all((p == run.step).all() for p in run.model.parameters())
    return run, note


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    """One bit, in the middle of what is written last: a number of the tensors or of state.json."""
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def another_number(path: Path) -> None:
    if path.suffix == ".json":
        path.write_text(re.sub(r'"images": \d+', '"images": 7', path.read_text()))
    else:
        flip(path)


DAMAGE = (truncate, empty, flip, another_number, Path.unlink)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(
    damage: Callable, file: str, folder: Path
) -> None:
    damage(folder / "step-000030" / file)
    run, note = loaded(folder)
    assert run.step == 20
    assert note.startswith(f"step-000030 is damaged ({file} is ")
    assert note.endswith("; going on from step-000020, the checkpoint before it")


@pytest.mark.parametrize("pointer", ["last", "best"])
@pytest.mark.parametrize("said", ["step-000099", "", "../../etc", "step-", "\udcff", "20", "/tmp"])
def test_a_pointer_that_names_nothing_is_told_and_written_anew(
    said: str, pointer: str, folder: Path
) -> None:
    (folder / pointer).write_bytes(said.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"no checkpoint '{pointer}'") as error:
        checkpoint.named(folder, pointer)
    assert "(there: step-000030, step-000020, step-000010)" in str(error.value)
    run, _ = loaded(folder)
    assert run.step == 30
    checkpoint.save(folder, at(run, 40), keep=3, mark_best=False)
    assert checkpoint.named(folder, "last").name == "step-000040"
    assert checkpoint.named(folder, "best").name == "step-000020"


def test_a_file_is_summed_once_until_it_is_another_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in folder.glob("step-*/*"):
        os.utime(file, ns=(10**18, 10**18))
    read: list[str] = []
    plain = hashlib.sha256

    def counted(*data: bytes) -> object:
        read.append("json" if data else "file")
        return plain(*data)

    monkeypatch.setattr("hashlib.sha256", counted)
    for _ in range(4):
        assert checkpoint.newest_whole(folder) == (folder / "step-000030", {})
    assert read.count("file") == 2  # weights and state
    weights = folder / "step-000030" / FILES[0]
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert checkpoint.newest_whole(folder)[0].name == "step-000020"
    content[-1] ^= 1
    weights.write_bytes(content)  # at once, as long, and on some disks with the same time
    os.utime(weights, ns=(10**18 + 1, 10**18 + 1))
    assert checkpoint.newest_whole(folder)[0].name == "step-000030"


def test_tensors_are_flushed_by_one_who_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows asks for: there a file that is open for reading is not flushed."""
    modes, plain = [], os.fsync

    def flushing(number: int) -> None:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            modes.append(flags & os.O_ACCMODE)
        plain(number)

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(os, "fsync", flushing)
    checkpoint.save(tmp_path / "checkpoints", at(training(), 1), keep=1, mark_best=True)
    assert len(modes) >= 3
    assert os.O_RDONLY not in modes


def test_none_is_whole(folder: Path) -> None:
    for path in folder.glob("step-*"):
        empty(path / "weights.safetensors")
    with pytest.raises(UserError, match="holds no whole checkpoint") as error:
        loaded(folder)
    assert all(f"step-0000{n}0: weights.safetensors is not" in str(error.value) for n in (1, 2, 3))


def test_a_kill_before_the_pointers_leaves_best_behind_and_load_mends_it(folder: Path) -> None:
    run = at(training(), 40, best=True)
    pointer = (folder / "best").read_text()
    checkpoint.save(folder, run, keep=3, mark_best=True)
    (folder / "best").write_text(pointer)  # as if killed after the rename of step-000040
    loaded(folder)
    assert checkpoint.named(folder, "best").name == "step-000040"


def test_best_that_ran_ahead_of_a_torn_checkpoint_comes_back(folder: Path) -> None:
    run = at(training(), 40, best=True)
    checkpoint.save(folder, run, keep=4, mark_best=True)
    empty(folder / "step-000040" / "state.json")
    run, _ = loaded(folder)
    assert (run.step, run.best_step) == (30, 20)
    assert checkpoint.named(folder, "best").name == "step-000020"


@pytest.mark.parametrize("gone", [flip, lambda path: shutil.rmtree(path.parent)])
def test_lost_best_weights_are_told_and_the_best_counts_anew(gone: Callable, folder: Path) -> None:
    gone(folder / "step-000020" / "weights.safetensors")
    run, note = loaded(folder)
    assert note == "the best weights so far, step-000020, are lost; the best counts anew from here"
    assert (run.step, run.best, run.best_step, run.best_epoch) == (30, math.inf, 0, 3)
    assert checkpoint.named(folder, "best").name == "step-000030"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("ema", [False, True])
def test_weights_are_verified_wherever_they_are_loaded(ema: bool, file: str, folder: Path) -> None:
    flip(folder / "step-000020" / file)
    used = file != "state.safetensors" or ema
    if not used:  # only the averaged weights are in there
        checkpoint.load_weights(folder / "step-000020", training().model, ema)
        return
    with pytest.raises(UserError, match=rf"step-000020 is damaged \({file} is not") as error:
        checkpoint.load_weights(folder / "step-000020", training().model, ema)
    other = "name another one: checkpoint=step-000030 or step-000010"
    assert str(error.value).endswith(other)


def test_one_of_a_version_without_the_last_sum_is_whole(folder: Path) -> None:
    path = folder / "step-000030" / "state.json"
    meta = json.loads(path.read_text())
    del meta["sha256"]["state.json"]
    path.write_text(json.dumps(meta))
    assert checkpoint.find_damage(path.parent) is None
    assert loaded(folder)[0].step == 30


# ---- what is removed, and when ----------------------------------------------------------------


def test_a_damaged_newer_one_is_not_kept_instead_of_the_new_one(folder: Path) -> None:
    empty(folder / "step-000030" / "weights.safetensors")
    run, _ = loaded(folder)
    checkpoint.save(folder, at(run, 25), keep=1, mark_best=False)
    assert steps(folder) == [20, 25]  # the best, and this one
    assert checkpoint.named(folder, "last").name == "step-000025"


class Cut(Exception):
    """Where the process would have been killed."""


NAMES = ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir")


@pytest.mark.parametrize("turn", range(30))
def test_cut_anywhere_there_is_a_whole_checkpoint_and_none_is_torn(
    turn: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With trainer.keep=1: what is removed is removed after the new one is safe."""
    count = 0

    def cut(real: Callable) -> Callable:
        def operation(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count > turn:
                raise Cut  # and of everything after it: a dead process cleans nothing up
            return real(*args, **kwargs)

        return operation

    run = at(training(), 40, best=True)
    with monkeypatch.context() as patch:
        for name in NAMES:
            patch.setattr(os, name, cut(getattr(os, name)))
        try:
            checkpoint.save(folder, run, keep=1, mark_best=True)
            finished = True
        except Cut:
            finished = False
    assert finished == (count <= turn)
    for path in folder.glob("step-*"):
        assert checkpoint.find_damage(path) is None, path
    names = (folder / "last").read_text(), (folder / "best").read_text()
    assert names in {
        ("step-000030\n", "step-000020\n"), ("step-000040\n", "step-000020\n"),
        ("step-000040\n", "step-000040\n"),
    }  # fmt: skip
    assert all((folder / name.strip()).is_dir() for name in names)
    newest, _ = loaded(folder)
    assert newest.step in (30, 40)
    checkpoint.save(folder, at(newest, 50, best=True), keep=1, mark_best=True)
    assert sorted(p.name for p in folder.iterdir()) == ["best", "last", "step-000050"]


def test_a_vanished_run_folder_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    with pytest.raises(FileNotFoundError):
        checkpoint.save(folder, at(training(), 10), keep=1, mark_best=False)
    assert not (tmp_path / "run").exists()


SAID = (  # by versions of safetensors
    'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space …" })',
    "Error while serializing: I/O error: No space left on device (os error 28)",
)


@pytest.mark.parametrize("said", SAID)
def test_a_full_disk_is_an_oserror_with_its_number(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors has the number in its words alone."""
    from safetensors import SafetensorError

    def full(*_: object) -> None:
        raise SafetensorError(said)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        checkpoint.save(tmp_path, at(training(), 10), keep=1, mark_best=False)
    assert error.value.errno == 28
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_shorter_than_its_head_says_is_not_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sum of what lies on the disk would not tell."""
    from safetensors.torch import save_file

    def short(tensors: dict, path: Path) -> None:
        save_file(tensors, path)
        truncate(path)

    monkeypatch.setattr(checkpoint, "save_file", short)
    with pytest.raises(OSError, match="Error while") as error:
        checkpoint.save(tmp_path, at(training(), 10), keep=1, mark_best=False)
    assert error.value.errno == errno.EIO
    assert list(tmp_path.iterdir()) == []
