"""Who works in a folder: one process, and none that is dead."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.errors import UserError
from genai_cli.runner.console import Reporter
from genai_cli.store import run_folder
from genai_cli.system.file_lock import LocksUnsupported, is_locked, lock

OWNER = (  # takes the lock of a file, says so, and lives until it is killed
    "import fcntl, sys, time; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX);"
    "print('mine', flush=True); time.sleep(60)"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / run_folder.LOG
    path.touch()
    return path


def owner(log: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", OWNER, str(log)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "mine\n"
    return process


def refusing(number: int, kinds: int = fcntl.LOCK_EX | fcntl.LOCK_SH) -> Callable:
    """An flock that fails; unlocking always works."""

    def flock(file: object, operation: int) -> None:
        if operation & kinds & ~fcntl.LOCK_UN:
            raise OSError(number, os.strerror(number))

    return flock


def test_a_dead_owner_keeps_no_lock(log: Path) -> None:
    process = owner(log)
    with open(log, "ab") as mine, open(log, "rb") as asking:
        assert not lock(mine)
        assert is_locked(asking)
        assert run_folder.is_training(log.parent)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_locked(asking)
        assert not run_folder.is_training(log.parent)
        assert lock(mine)
        assert is_locked(asking)  # another open file, of whatever process


def test_who_asks_leaves_nothing_behind_and_disturbs_nobody_who_asks(log: Path) -> None:
    with open(log, "rb") as one, open(log, "rb") as other, open(log, "ab") as worker:
        assert not is_locked(one)
        fcntl.flock(one, fcntl.LOCK_SH)  # somebody is just asking
        assert not is_locked(other)
        fcntl.flock(one, fcntl.LOCK_UN)
        assert not is_locked(one)
        assert lock(worker)


def test_on_nfs_who_asks_needs_no_exclusive_lock(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There LOCK_EX on a file that is open for reading is EBADF; a running cell looked dead."""
    real = fcntl.flock

    def flock(file: object, operation: int) -> None:
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        wanted = {fcntl.LOCK_EX: os.O_WRONLY, fcntl.LOCK_SH: os.O_RDONLY}
        need = wanted.get(operation & (fcntl.LOCK_EX | fcntl.LOCK_SH))
        if need is not None and mode not in (need, os.O_RDWR):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert not run_folder.is_training(log.parent)
    with Reporter(log):
        assert run_folder.is_training(log.parent)
    with open(log, "rb") as reading, pytest.raises(OSError, match="Bad file descriptor") as error:
        lock(reading)
    assert not isinstance(error.value, LocksUnsupported)  # a mistake of ours, not of the share


def test_a_sweep_is_locked_on_nfs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genai_cli.sweeps.cells import sweep_lock

    modes = []
    real = fcntl.flock

    def flock(file: object, operation: int) -> None:
        modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE)
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with sweep_lock(tmp_path):
        refused = f"{tmp_path} is being trained by another process"
        with pytest.raises(UserError, match=refused), sweep_lock(tmp_path):
            raise AssertionError("two at once")
    with sweep_lock(tmp_path):
        pass
    assert os.O_RDONLY not in modes


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_share_without_locks_is_told(
    number: int, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with open(log, "ab") as file, pytest.raises(LocksUnsupported):
        lock(file)
    assert not run_folder.is_training(log.parent)  # it must be possible to resume a run there
    with Reporter(log):
        pass
    told = capsys.readouterr().out
    assert told.startswith(f"note: no locks on the disk of {log.parent} ({os.strerror(number)})")
    assert "a second process would not be kept out" in told
    assert log.read_text() == told


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_broken_disk_is_not_taken_for_a_free_one(
    number: int, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(OSError, match=os.strerror(number)) as error:
        Reporter(log)
    assert not isinstance(error.value, LocksUnsupported)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_both_ways_to_say_that_a_lock_is_taken(
    number: int, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with open(log, "ab") as file:
        assert not lock(file)
        assert is_locked(file)


def test_a_run_that_starts_waits_for_who_only_asks(log: Path) -> None:
    with open(log, "rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        free = threading.Timer(0.1, fcntl.flock, (asking, fcntl.LOCK_UN))
        free.start()
        with Reporter(log):
            assert is_locked(asking)
        free.join()


def test_a_second_reporter_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genai_cli.runner.console.PATIENCE", 0.05)
    with Reporter(log) as first:
        with pytest.raises(UserError, match=f"{log.parent} is being trained by another process"):
            Reporter(log)
        first.line("still here")
    assert log.read_text() == "still here\n"


def test_a_log_torn_by_a_kill_goes_on_in_a_new_line(log: Path) -> None:
    log.write_text("epoch 1/3  tra")
    with Reporter(log, quiet=True) as report:
        report.line("epoch 1/3  train 2")
    assert log.read_text() == "epoch 1/3  tra\nepoch 1/3  train 2\n"


def test_resume_while_it_trains_is_refused_and_writes_nothing(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = []

    def resume(self: Reporter, now: object) -> None:
        if now.step != 1:
            return
        (folder,) = tmp_path.glob("outputs/*/*")
        files = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        words = [sys.executable, "-m", "genai_cli", "resume", str(folder), "epochs=5"]
        done = subprocess.run(words, capture_output=True, text=True)
        said.append((done.returncode, done.stderr))
        assert files == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    monkeypatch.setattr(Reporter, "step", resume)
    done = genai("train", "model=mlp", "epochs=2", "dataset.limit=40", "trainer.figures_every=0")
    assert done.code == 0
    folder = done.folders[0].relative_to(tmp_path)
    refusal = f"genai resume: {tmp_path / folder} is being trained by another process\n"
    assert said == [(2, refusal)]


@pytest.mark.slow
def test_a_run_of_a_stack_that_another_process_trains_is_left_to_it(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner import stacked

    plain, taken = stacked.train, []

    def train(folders: list[Path], *rest: object) -> None:
        file = open(folders[1] / run_folder.LOG, "ab")  # noqa: SIM115 - until the test ends
        assert lock(file)
        taken.append((folders[1], file))
        plain(folders, *rest)

    monkeypatch.setattr(stacked, "train", train)
    monkeypatch.setattr("genai_cli.runner.console.PATIENCE", 0.05)
    done = genai("train", "-m", "model=mlp", "epochs=1", "dataset.limit=40", "seed=0,1,2",
                 "trainer.pack=auto", "trainer.figures_every=0")  # fmt: skip
    folder, file = taken[0]
    assert f"note: {folder} is being trained by another process: left to it" in done.out
    cells = run_folder.cells(folder.parent)
    states = {cell: run_folder.read_json(cell / run_folder.RUN)["status"] for cell in cells}
    assert states.pop(folder) == "running"  # what its own process has said of it
    assert list(states.values()) == ["finished", "finished"]
    file.close()
