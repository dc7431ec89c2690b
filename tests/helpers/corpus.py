"""How a mistake is judged: exit code 2, one line that names it, not a byte moved on the disk."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genai_cli.cli.front_door import main
from genai_cli.store import run_folder

MOST = 1400  # characters of a line on stderr, whatever was typed


class Told(NamedTuple):
    """What a command in this process did."""

    code: int | str  # "accepted": it would have begun to train
    out: str
    err: str
    noise: list[str]  # warnings


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """All of them; those that are not each ``every``-th are for `make torture` alone."""
    marks = [pytest.mark.torture]
    return [
        case if k % every == 0 else pytest.param(case, marks=marks) for k, case in enumerate(cases)
    ]


def in_parts(some: Sequence[Any], others: Sequence[Any], size: int = 20) -> list[Any]:
    """Lists of so many cases, a test each; those of ``others`` are for `make torture` alone."""
    parts = []
    for cases, marks in ((some, ()), (others, (pytest.mark.torture,))):
        for i in range(0, len(cases), size):
            part = list(cases[i : i + size])
            parts.append(pytest.param(part, marks=marks, id=f"part {len(parts)}"))
    return parts


def one_of_a_rule(cases: Mapping[str, tuple[Any, list[str]]]) -> tuple[list[str], list[str]]:
    """The names of the first of all cases that are to say the same, but for names and numbers, and
    the names of all others."""
    firsts: dict[str, str] = {}
    for name, (_, says) in cases.items():
        firsts.setdefault(re.sub(r"'[^']*'|\S*\d\S*", "", says[-1]), name)
    return [*firsts.values()], [name for name in cases if name not in firsts.values()]


class Accepted(BaseException):
    """A line that no check objected to: raised where its folder would be made."""


def tell(words: list[str] | tuple[str, ...], capture: pytest.CaptureFixture[str]) -> Told:
    """``genai WORDS``; a run or a sweep ends where it would claim its folder (`accepts`)."""
    capture.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of files of other tests
        try:
            code: int | str = main(list(words))
        except Accepted:
            code = "accepted"
    out, err = capture.readouterr()
    return Told(code, out, err, [str(w.message) for w in caught])


def tree(root: Path) -> dict[str, tuple]:
    """Every name below ``root``: kind, size, time, inode, and of what can be read the content."""
    found: dict[str, tuple] = {}
    for place, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            about = os.lstat(path)
            facts = (stat.S_IFMT(about.st_mode), about.st_size, about.st_mtime_ns, about.st_ino)
            if stat.S_ISDIR(about.st_mode):
                facts = facts[:1]
            elif stat.S_ISREG(about.st_mode) and about.st_size < 2**20:
                facts += (hashlib.blake2b(Path(path).read_bytes()).digest(),)
            found[os.fsdecode(os.path.relpath(path, root))] = facts
    return found


def one_line(told: Told, *says: str) -> None:
    """It is code 2 and one readable line on stderr that holds all of ``says``, and nothing else."""
    assert told.code == 2, told
    assert told.err.startswith("genai"), told
    assert told.err.count("\n") == 1, told
    assert told.err.endswith("\n"), told
    assert len(told.err) <= MOST, told
    assert told.err[:-1].isprintable(), told
    assert "Traceback" not in told.err, told
    assert told.out == "", told
    assert told.noise == [], told
    for part in says:
        assert part in told.err, told


def refused(
    words: list[str] | tuple[str, ...],
    says: list[str] | tuple[str, ...],
    root: Path,
    capture: pytest.CaptureFixture[str],
) -> None:
    """`one_line`, and below ``root`` nothing is made, changed or removed."""
    before = tree(root)
    one_line(tell(words, capture), *says)
    assert tree(root) == before


TINY = ("dataset.limit=48", "epochs=1", "trainer.max_steps=2", "trainer.figures_every=0")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of a VAE below outputs/, and an empty one."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "NONE").mkdir()
    words = ["model.widths=[8]", "bottleneck=2", *TINY, f"outputs={root / 'outputs'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genai_cli.evaluation.run_figures.draw", lambda *a, **k: [])
        assert main(["train", *words]) == 0
    return root


@pytest.fixture
def run(place: Path) -> Path:
    return next((place / "outputs").glob("*/*"))


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Typed in that folder; what would begin to train ends as `Accepted`."""

    def claim(*args: object) -> None:
        raise Accepted

    monkeypatch.chdir(place)
    monkeypatch.setenv("GENAI_CACHE", str(place / "cache"))  # one classifier for all
    monkeypatch.setattr(run_folder, "claim", claim)
    return place
