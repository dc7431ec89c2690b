"""No home, no cache, no name, a closed terminal, streams and folders that are not there."""

from __future__ import annotations

import csv
import errno
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_server import Server

from genai_cli.store import run_folder
from genai_cli.system import cache_dirs

TINY = (
    "model=autoencoder", "model.widths=[4]", "bottleneck=2", "dataset.limit=32", "batch_size=16",
    "trainer.threads=1", "trainer.step=eager",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing, of a user whom the system knows; put back afterwards."""
    monkeypatch.setattr(os, "environ", dict(os.environ))  # restored after the test
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", *NAMES):
        os.environ.pop(name, None)
    for name in (cache_dirs.MATPLOTLIB, cache_dirs.TORCH):
        os.environ.pop(name, None)
    monkeypatch.setattr(cache_dirs, "_made", [])
    return monkeypatch


def settled() -> dict[str, str | None]:
    cache_dirs.ensure_writable_dirs()
    names = ("HOME", cache_dirs.MATPLOTLIB, cache_dirs.TORCH)
    return {name: os.environ.get(name) for name in names}


def test_a_usual_home_is_left_alone(empty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    os.environ |= {"HOME": str(tmp_path), "USER": "me"}
    assert settled() == {
        "HOME": str(tmp_path), cache_dirs.MATPLOTLIB: None, cache_dirs.TORCH: None,
    }  # fmt: skip
    assert not list(tmp_path.iterdir())  # what was tried out is gone
    assert cache_dirs._made == []


def test_a_user_without_home_and_name_gets_a_folder(empty: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise KeyError("uid not found")

    import pwd

    empty.setattr(pwd, "getpwuid", unknown)
    empty.setattr(os.path, "expanduser", lambda path: os.environ.get("HOME", "~") + path[1:])
    found = settled()
    (own,) = cache_dirs._made
    assert found["HOME"] == found[cache_dirs.TORCH] == own
    assert os.access(own, os.W_OK)
    os.rmdir(own)


@pytest.mark.parametrize("where", ["a file", "below a file", "/proc/none/of/it"])
def test_what_cannot_be_written_is_replaced(
    where: str, empty: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    place = {"a file": str(tmp_path / "file"), "below a file": str(tmp_path / "file" / "x")}
    bad = place.get(where, where)
    os.environ |= {"HOME": str(tmp_path), "USER": "me", cache_dirs.TORCH: bad}
    os.environ["XDG_CACHE_HOME"] = bad
    found = settled()
    (own,) = cache_dirs._made
    assert found == {"HOME": str(tmp_path), cache_dirs.MATPLOTLIB: own, cache_dirs.TORCH: own}
    os.rmdir(own)


def test_where_nothing_can_be_written_nothing_is_made(empty: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise FileNotFoundError("No usable temporary directory")

    empty.setattr("tempfile.mkdtemp", full)
    os.environ |= {"HOME": "/proc/none", "USER": "me"}
    assert settled()[cache_dirs.MATPLOTLIB] == ""


def test_a_folder_that_is_gone_is_one_line(
    genai: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    with monkeypatch.context() as patched:
        patched.setattr(os, "getcwd", gone)
        done = [genai(verb, "latest") for verb in ("runs", "train", "resume", "compare")]
    assert [d.code for d in done] == [2] * 4
    assert all("has been removed; cd to another one" in d.err for d in done)
    assert all(d.err.count("\n") == 1 for d in done)


@pytest.mark.parametrize("words", ["runs outputs={}", "train epochs=1 outputs={}", "report {}",
                                   "compare {}", "resume {}", "sample {}"])  # fmt: skip
def test_a_path_that_is_too_long_is_one_line(words: str, genai: Callable) -> None:
    done = genai(*words.format("/tmp/" + "x" * 300).split())
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert done.folders == []


@pytest.mark.parametrize("words", ["runs", "resume latest", "train epochs=1 init_from=k3f9"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_an_outputs_folder_that_cannot_be_read_is_not_an_empty_one(
    words: str, number: int, genai: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outputs").mkdir()
    listdir = os.listdir

    def failing(path: object = ".") -> list[str]:
        if Path(str(path)).name == "outputs":
            raise OSError(number, os.strerror(number), str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", failing)
    done = genai(*words.split())
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "outputs" in done.err


@pytest.mark.slow
def test_everything_odd_at_once(tmp_path: Path) -> None:
    """No home, no cache, no colour, 20 columns, ASCII, no stdout and no stdin, umask 077, spaces
    and letters beyond ASCII in the path: the run is as any other, and says nothing on stderr."""
    place = tmp_path / "an odd – ö 目" / "place"
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "genai_cli", "train", "epochs=2", *TINY]
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "OMP_NUM_THREADS")}
    env |= {
        "HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", cache_dirs.TORCH: "/proc/none",
        "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20", "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    }  # fmt: skip
    if f"{ROOT}{sys.prefix}".isascii():  # else no library in C could be imported from there
        env |= {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def close() -> None:
        os.umask(0o077)
        os.close(0)
        os.close(1)

    done = subprocess.run(
        command, cwd=place, env=env, stderr=subprocess.PIPE, preexec_fn=close, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")
    (folder,) = place.glob("outputs/*/*")
    assert folder.stat().st_mode & 0o077 == 0
    with open(folder / run_folder.METRICS, newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["epoch", "1", "2"]
    assert len({len(row) for row in rows}) == 1
    assert run_folder.read_json(folder / run_folder.RUN)["status"] == "finished"
    assert "1×8×8" in (folder / run_folder.LOG).read_text(encoding="utf-8")


def test_a_terminal_that_is_closed_saves_the_run(server: Server, tmp_path: Path) -> None:
    """HUP, and then every write to the screen fails."""
    screen, terminal = pty.openpty()
    words = ("train", "epochs=100000", *TINY)
    env = {"TERM": "xterm"}
    started = server.start(tmp_path, *words, terminal=os.ttyname(terminal), env=env)
    text = b""
    while b"epoch" not in text:  # the live line
        text += os.read(screen, 4096)
    os.close(terminal)
    os.close(screen)
    assert started.wait() == 143
    (folder,) = tmp_path.glob("outputs/*/*")
    assert run_folder.read_json(folder / run_folder.RUN)["status"] == "interrupted"
    assert (folder / run_folder.CHECKPOINTS / "last").exists()
    assert "Traceback" not in (folder / run_folder.LOG).read_text()
    assert not list(folder.rglob(".*"))


def test_nohup_is_heeded() -> None:
    from genai_cli.system.preemption import Signals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGHUP)
        assert signals.code == 0
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with Signals() as signals:
            signal.raise_signal(signal.SIGHUP)
        assert signals.code == 143
    finally:
        signal.signal(signal.SIGHUP, before)
