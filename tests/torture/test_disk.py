"""A disk that is full, read-only, broken or gone: one line, nothing torn, nothing lost.

Errors are made at every kind of operation, and a real small file system (tmpfs) is filled.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command_server import Done, Server
from torture_runs import Whole, assert_equal, folder_of, newest, words

ERRORS = {
    "ENOSPC": "the disk is full",
    "EDQUOT": "your quota of the disk is used up",
    "EROFS": "the disk is read-only",
    "ESTALE": "the network share is gone",
    "EIO": "the disk failed to read or write",
}
FREEING = ("EROFS", "ESTALE", "EIO")  # nothing can be renamed or removed either


def told(done: Done, what: str) -> None:
    """One line, with what happened; no traceback."""
    lines = [line for line in done.said.splitlines() if line.startswith("genai")]
    assert len(lines) == 1, done.said
    assert what in lines[0], lines[0]
    assert "Traceback" not in done.said


def nothing_torn(folder: Path, cleaned: bool) -> None:
    """What a failed run leaves: whole files, whole rows, whole checkpoints."""
    for path in folder.glob("*.json"):
        json.loads(path.read_text())
    metrics = folder / "metrics.csv"
    if metrics.exists():
        assert metrics.read_text().endswith("\n"), metrics.read_text()
    newest(folder)
    left = [str(p.relative_to(folder)) for p in folder.rglob(".*")]
    assert not cleaned or not left, left


@pytest.fixture
def failing(server: Server, whole: Callable, tally: Callable) -> Callable[..., None]:
    """``failing(MODEL, ERROR, where, place)``: `fail_and_go_on` at ``where`` of the operations of
    the undisturbed run."""

    def at(model: str, name: str, where: Callable[[list[str]], list], place: Path) -> None:
        it = whole(*words(model))
        place.mkdir(exist_ok=True)
        fail_and_go_on(server, place, it, name, where(it.seen), tally)

    return at


def fail_and_go_on(
    server: Server, place: Path, whole: Whole, name: str, at: list, tally: Callable
) -> None:
    fault = {"root": "outputs", "at": at, "how": "error", "number": getattr(errno, name)}
    done = server.run(place, *whole.command, fault=fault | {"freeing": name in FREEING})
    assert done.code in (0, 1, 2), done.said
    tally(f"{name} at an operation")
    if done.code:  # 2 is of the folder that could not be made: in the system's words
        plain = os.strerror(getattr(errno, name))
        told(done, plain if done.code == 2 and plain in done.said else ERRORS[name])
    found = list((place / "outputs").glob("*/*/config.yaml"))
    if not found:  # it had not begun
        assert done.code == 2
        assert name in FREEING or not list((place / "outputs").glob("*/*"))
        return
    folder = found[0].parent
    nothing_torn(folder, name not in FREEING)
    again = server.run(place, "resume", folder.name[-4:])
    assert again.code == 0, again.said
    assert_equal(whole.contents, folder)


SLOW = pytest.mark.torture


@pytest.mark.parametrize(
    "at",
    [
        "tensors state.safetensors",
        "write config.yaml",
        pytest.param("write metrics.csv", marks=SLOW),
        pytest.param("write train.log", marks=SLOW),
    ],
)
def test_a_full_disk_in_an_operation(at: str, failing: Callable, tmp_path: Path) -> None:
    failing("vae", "ENOSPC", lambda seen: [at, seen.count(at) - 1], tmp_path)


@SLOW
@pytest.mark.parametrize("model", ["mlp", "vae", "gan"])
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_at_any_operation(
    name: str, model: str, failing: Callable, tmp_path: Path, rng: random.Random
) -> None:
    def anywhere(seen: list[str]) -> list:
        operation = rng.choice(sorted(set(seen)))
        return [operation, rng.randrange(seen.count(operation))]

    for i in range(6):
        failing(model, name, anywhere, tmp_path / str(i))


@pytest.mark.parametrize(
    "at", ["write metrics.csv", pytest.param("rename step", marks=SLOW),
           pytest.param("write loss_curve.png", marks=SLOW)]
)  # fmt: skip
def test_a_folder_that_vanishes_is_told_and_not_made_again(
    at: str, server: Server, tmp_path: Path, tally: Callable
) -> None:
    done = server.run(tmp_path, *words("vae"), fault={"root": "outputs", "at": [at, 1 if
                      at == "rename step" else 0], "how": "vanish"})  # fmt: skip
    assert done.code == 1
    told(done, "its folder is gone")
    assert not list(tmp_path.glob("outputs/*/*"))
    tally("run folder removed under a run")


# ---- a real file system ------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``disk("size=64k")``: an own tmpfs with these options, the same one again if there is one."""
    place = tmp_path / "outputs"
    place.mkdir()
    mounted = False

    def mount(options: str) -> Path:
        nonlocal mounted
        what = ["-o", f"remount,{options}"] if mounted else ["-t", "tmpfs", "-o", options, "tmpfs"]
        program = shutil.which("mount")
        line = [program or sys.executable, *what, str(place)]
        made = subprocess.run(line, capture_output=True, text=True)
        if program is None or made.returncode:
            message = f"cannot mount a tmpfs: {made.stderr.strip()[:200]}"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
        mounted = True
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


def size_of(folder: Path) -> int:
    """KiB of pages that a run's files take."""
    return sum(-(-p.stat().st_size // 4096) * 4 for p in folder.rglob("*") if p.is_file())


def fill(server: Server, place: Path, whole: Whole, disk: Callable, kib: int) -> Done:
    disk(f"size={kib}k")
    done = server.run(place, *whole.command)
    disk("size=1g")
    return done


@pytest.mark.parametrize(
    "share", [0.5, *(pytest.param(s, marks=SLOW) for s in
                     (0.05, 0.2, 0.35, 0.65, 0.75, 0.85, 0.95, 1.1))]
)  # fmt: skip
def test_a_disk_that_is_full(
    share: float, server: Server, whole: Callable, tmp_path: Path, disk: Callable, tally: Callable
) -> None:
    it = whole(*words("vae"))
    done = fill(server, tmp_path, it, disk, max(4, int(share * size_of(it.folder))))
    if share < 1:
        assert done.code in (1, 2)
    if done.code:
        told(done, "the disk is full")
        assert " MB free" in done.said
    tally("a real full disk")
    if not list((tmp_path / "outputs").glob("*/*/config.yaml")):
        assert not list((tmp_path / "outputs").glob("*/*"))
        assert done.code == 2
        return
    folder = folder_of(tmp_path)
    nothing_torn(folder, cleaned=True)
    if done.code:
        assert f"genai resume {folder.relative_to(tmp_path)}" in done.said
    again = server.run(tmp_path, "resume", folder.name[-4:])
    assert again.code == 0, again.said
    assert_equal(it.contents, folder)


@SLOW
def test_a_read_only_disk(
    server: Server, whole: Callable, tmp_path: Path, disk: Callable, tally: Callable
) -> None:
    it = whole(*words("vae"))
    disk("size=64m,ro")
    refused = server.run(tmp_path, *it.command)
    assert refused.code == 2
    assert "Read-only file system; set outputs=DIR" in refused.said
    assert refused.said.count("\n") == 1
    disk("rw,size=64m")
    kill = {"root": "outputs", "at": ["rename step", 1], "how": "after"}
    assert server.run(tmp_path, *it.command, fault=kill).code < 0
    folder = folder_of(tmp_path)
    disk("ro,size=64m")
    done = server.run(tmp_path, "resume", folder.name[-4:])
    assert done.code in (1, 2)
    told(done, "the disk is read-only")
    disk("rw,size=64m")
    assert server.run(tmp_path, "resume", folder.name[-4:]).code == 0
    assert_equal(it.contents, folder)
    tally("a read-only disk", 2)


@SLOW
@pytest.mark.parametrize("verb", ["report", "sample", "encode", "evaluate"])
def test_what_only_reads_a_run_has_one_line_on_a_full_disk(
    verb: str, server: Server, tmp_path: Path, disk: Callable, tally: Callable
) -> None:
    disk("size=8m")
    assert server.run(tmp_path, *words("vae")).code == 0
    folder = folder_of(tmp_path)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with open(tmp_path / "outputs" / "filler", "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    done = server.run(tmp_path, verb, str(folder))
    assert done.code in (1, 2)
    told(done, "No space left" if "No space left" in done.said else "the disk is full")
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    (tmp_path / "outputs" / "filler").unlink()
    again = server.run(tmp_path, verb, str(folder))
    assert again.code == 0, again.said
    tally("a real full disk under another verb")
