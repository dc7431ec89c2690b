"""A sweep whose process is killed, at any of the operations by which it changes its folder, goes on
with `genai sweep resume` and ends as the undisturbed one: a grid, a search that prunes, halving."""

from __future__ import annotations

import csv
import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_server import Server
from safetensors.torch import load_file

from genai_cli.store import run_folder

SAME = (
    "train", "-m", "model=autoencoder", "dataset.limit=64", "model.widths=[8]", "batch_size=32",
    "trainer.step=eager", "trainer.threads=1", "trainer.save_every=1",
)  # fmt: skip
KILLED = "kill -9 of a sweep, a search or its resume"
PRUNED = ("sweep.prune=median", "sweep.prune_after=1", "sweep.startup=1")
SWEEPS = {
    "grid": ("epochs=2", "bottleneck=2,3,4"),
    "random": ("sweep=random", "sweep.trials=4", "epochs=3", "bottleneck=2",
               "optimizer.lr=tag(log,interval(1e-6,1e-1))", *PRUNED),
    "tpe": ("sweep=tpe", "sweep.trials=5", "epochs=3", "bottleneck=range(2,6)",
            "optimizer.lr=tag(log,interval(1e-6,1e-1))", *PRUNED),
    "halving": ("sweep=halving", "sweep.rungs=[1,2,3]", "sweep.keep=0.5", "bottleneck=2,3",
                "optimizer.lr=1e-2,1e-4"),
}  # fmt: skip


def forked(
    server: Server, outputs: Path, words: tuple[str, ...], **fault: Any
) -> tuple[int, str, list[str]]:
    """`genai WORDS` in a process of its own: its code, what it said, the operations it did."""
    outputs.parent.mkdir(exist_ok=True)
    seen = outputs.with_suffix(".seen")
    more = {"fault": {"root": str(outputs)} | fault, "seen": str(seen)}
    done = server.run(outputs.parent, *words, f"outputs={outputs}", **more)
    return done.code, done.said, json.loads(seen.read_text()) if seen.exists() else []


class Whole:
    """The undisturbed sweep of a name, trained once."""

    def __init__(self, server: Server, name: str, place: Path) -> None:
        self.server, self.words = server, (*SAME, *SWEEPS[name])
        code, said, self.operations = forked(server, place / name, self.words)
        assert code == 0, said
        (self.folder,) = (place / name).glob("*/*")
        self.told = told(self.folder)
        self.weights = {cell.name: weights(cell) for cell in run_folder.cells(self.folder)}


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    known: dict[str, Whole] = {}
    place = tmp_path_factory.mktemp("whole")
    return lambda name: known.get(name) or known.setdefault(name, Whole(server, name, place))


def weights(cell: Path) -> dict[str, Any]:
    last = (cell / run_folder.CHECKPOINTS / "last").read_text().strip()
    return load_file(cell / run_folder.CHECKPOINTS / last / "weights.safetensors")


def told(sweep: Path) -> dict[str, Any]:
    """All that a sweep says of itself, but for times and for what befell it."""
    content = yaml.safe_load((sweep / run_folder.SWEEP).read_text())
    with open(sweep / run_folder.SWEEP_TABLE, newline="") as file:
        table = [{k: v for k, v in row.items() if k not in ("seconds", "note")}
                 for row in csv.DictReader(file)]  # fmt: skip
    rows = {}
    for cell in run_folder.cells(sweep):
        lines = (cell / run_folder.METRICS).read_text().splitlines()
        read = [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in run_folder.read_metrics(cell)
        ]
        assert len(lines) == 1 + len(read)  # no row is torn
        rows[cell.name] = (read, run_folder.read_json(cell / run_folder.RUN).get("reason"))
    asked = {k: content.get(k) for k in ("best", "left_out", "varied")}
    names = [cell["folder"] for cell in content["cells"]]
    assert names == [cell.name for cell in run_folder.cells(sweep)]
    return {"asked": asked, "table": table, "rows": rows}


def files(sweep: Path) -> dict[Path, bytes]:
    """All files of the cells that are done."""
    statuses = {c: run_folder.read_json(c / run_folder.RUN) for c in run_folder.cells(sweep)}
    ended = [c for c, run in statuses.items() if run.get("status") in ("finished", "stopped")]
    return {p: p.read_bytes() for cell in ended for p in cell.rglob("*") if p.is_file()}


def survives(one: Whole, outputs: Path, at: int, how: str, again: int | None = None) -> str:
    """Kill the sweep at an operation, its resume at another, and let a last resume end it.

    Returns:
        What was killed, as "begun" or "nothing" (there was no sweep.yaml yet).
    """
    code, said, _ = forked(one.server, outputs, one.words, at=at, how=how)
    if code == 0:  # threads make the number of operations differ by a few
        assert at > 0.9 * len(one.operations)
    else:
        assert code == -signal.SIGKILL, said
    (sweep,) = outputs.glob("*/*") if list(outputs.glob("*/*")) else (outputs / "x" / "y",)
    resume = ("sweep", "resume", str(sweep))
    if not run_folder.is_sweep(sweep):
        code, said, _ = forked(one.server, outputs, resume)
        assert (code, said.count("\n")) == (2, 1), said
        assert "genai train -m" in said
        assert not list(outputs.rglob(run_folder.CONFIG))  # what is lost is a folder without a run
        return "nothing"
    if again is not None:
        code, said, _ = forked(one.server, outputs, resume, at=again, how=how)
        assert code in (0, -signal.SIGKILL), said
    before = files(sweep)
    yaml.safe_load((sweep / run_folder.SWEEP).read_text())
    code, said, _ = forked(one.server, outputs, resume)
    assert code == 0, said
    after = files(sweep)
    if "sweep=halving" not in one.words:  # whose cells go on
        assert {p: after[p] for p in before} == before
    assert told(sweep) == one.told
    for cell in run_folder.cells(sweep):
        now, then = weights(cell), one.weights[cell.name]
        assert all(now[k].equal(then[k]) for k in then)
    return "begun"


@pytest.mark.parametrize(
    ("name", "share", "how"),
    [
        ("grid", 0.03, "half"),
        pytest.param("random", 0.5, "before", marks=pytest.mark.torture),
    ],
)
def test_a_sweep_that_is_killed_loses_nothing(
    name: str,
    share: float,
    how: str,
    whole: Callable[[str], Whole],
    tally: Callable[..., None],
    tmp_path: Path,
) -> None:
    one = whole(name)
    assert len(one.operations) > 100
    at = int(share * len(one.operations))
    assert survives(one, tmp_path / "out", at, how) == "begun"
    tally(KILLED)


@pytest.mark.torture
@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_is_killed_anywhere(
    name: str,
    number: int,
    whole: Callable[[str], Whole],
    rng: random.Random,
    tally: Callable[..., None],
    tmp_path: Path,
) -> None:
    if name == "tpe":
        pytest.importorskip("optuna")
    one = whole(name)
    at = rng.randrange(60 if number < 2 else len(one.operations))  # the first write the folders
    again = rng.randrange(200) if number % 3 == 0 else None
    survives(one, tmp_path / "out", at, rng.choice(["before", "half", "after"]), again)
    tally(KILLED, 1 if again is None else 2)
