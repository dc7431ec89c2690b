"""A run is taken again from its folder alone: identical on the same machine, for every family."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.config.catalog import config_dir
from genai_cli.store import run_folder as runs
from genai_cli.store.run_diff import DIFFERS, IDENTICAL, RESULT, WITHIN, compare
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = ("train", "epochs=3", "dataset.limit=64", "batch_size=32", "model=autoencoder")
FAMILIES = sorted(p.stem for p in (config_dir() / "model").glob("*.yaml"))
SMALL = {
    "gan": ("model.widths=[16]", "model.r1=1", "model.augment=[translation,color]"),
    "flow": ("model.steps=2", "model.dropout=0.2"),
    "ddpm": ("model.timesteps=20", "model.channels=[8]", "bottleneck=8"),
    "vae": ("trainer.ema=0.9", "schedule=cosine", "dataset.shift=1"),
}


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """TERM after a given step; 0: never again."""
    from genai_cli.runner.console import Reporter

    plain = Reporter.step

    def arrange(step: int) -> None:
        def stopping(self: Reporter, now: object) -> None:
            plain(self, now)
            if now.step == step:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(Reporter, "step", stopping if step else plain)

    return arrange


def first(done: object) -> Path:
    return next(f for f in done.folders if "-reproduce-" not in f.name)


def told(done: object) -> dict:
    (folder,) = (f for f in done.folders if "-reproduce-" in f.name)
    return runs.read_json(folder / RESULT)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(m, marks=[pytest.mark.slow] * (m not in ("gan", "vae", "flow")))
        for m in FAMILIES
    ],
)
def test_every_family_is_identical(model: str, genai: Callable) -> None:
    words = ("train", "epochs=2", "dataset.limit=64", "batch_size=32", f"model={model}")
    folder = first(genai(*words, *SMALL.get(model, ())))
    done = genai("reproduce", folder.name[-4:])
    assert done.code == 0, done.err
    result = told(done)
    assert (result["verdict"], result["epochs"], result["weights"]) == (IDENTICAL, 2, True)
    assert result["numbers"] > 0
    assert result["not_the_same"] == {}
    assert f"\n{IDENTICAL}: 2 epochs of metrics.csv, " in done.out


def test_the_folder_alone_is_enough(genai: Callable, finished: Callable, tmp_path: Path) -> None:
    folder = finished(*WORDS[1:])
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in (runs.CONFIG, runs.RUN, runs.METRICS, runs.SUMMARY):
        shutil.copy(folder / name, kept)
    shutil.rmtree(folder)
    before = {p: p.read_bytes() for p in kept.iterdir()}
    done = genai("reproduce", str(kept), f"outputs={tmp_path / 'other'}")
    assert done.code == 0, done.err
    assert f"{IDENTICAL}: 3 epochs" in done.out
    assert {p: p.read_bytes() for p in kept.iterdir()} == before
    assert not done.folders
    assert len(list((tmp_path / "other").glob("*/*-kept-reproduce-*"))) == 1


def test_changes_of_a_resume_are_made_at_their_steps(genai: Callable, stop_at: Callable) -> None:
    stop_at(3)  # in the middle of the second epoch
    folder = first(genai(*WORDS))
    stop_at(0)
    assert genai("resume", "latest", "optimizer.lr=0.1", "trainer.clip=0.5").code == 0
    assert genai("resume", "latest", "optimizer.lr=1e-5", "epochs=5").code == 0
    done = genai("reproduce", folder.name[-4:])
    assert done.code == 0, done.err
    assert told(done)["verdict"] == IDENTICAL
    assert told(done)["weights"] is True
    assert "again  from step 3 with optimizer.lr=0.1, trainer.clip=0.5\n" in done.out
    assert "again  from step 6 with optimizer.lr=1e-05\n" in done.out


def test_a_run_that_did_not_end_is_taken_to_its_last_epoch(
    genai: Callable, stop_at: Callable
) -> None:
    stop_at(5)
    folder = first(genai(*WORDS))
    stop_at(0)
    done = genai("reproduce", folder.name[-4:])
    assert done.code == 0, done.err
    result = told(done)
    assert (result["verdict"], result["epochs"], result["numbers"]) == (IDENTICAL, 2, 0)
    assert "to epoch 2, the last one of a run that did not end" in done.out


def test_a_run_that_was_stopped_is_stopped_again(genai: Callable, stop_at: Callable) -> None:
    stop_at(4)
    folder = first(genai(*WORDS))
    stop_at(0)
    reason = {"status": "interrupted", "reason": "asked to stop"}
    atomic_write.write_json(folder / runs.RUN, runs.read_json(folder / runs.RUN) | reason)
    from genai_cli.runner.run import run

    assert run(folder, resume=True) == 0  # concluded, as its sweep would
    done = genai("reproduce", folder.name[-4:])
    assert done.code == 0, done.err
    result = told(done)
    assert (result["verdict"], result["epochs"]) == (IDENTICAL, 2)
    assert result["numbers"] > 0
    assert "to epoch 2, after which it was asked to stop" in done.out


def test_patience_ends_both(genai: Callable) -> None:
    words = ("epochs=9", "optimizer.lr=1e-9", "trainer.min_delta=1", "trainer.patience=2")
    folder = first(genai(*WORDS[:1], *WORDS[2:], *words))
    assert runs.read_json(folder / runs.RUN)["status"] == "stopped"
    done = genai("reproduce", folder.name[-4:])
    assert (done.code, told(done)["verdict"], told(done)["epochs"]) == (0, IDENTICAL, 3)


def test_no_logger_hears_of_the_second_run(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, list[str]]] = []
    monkeypatch.setattr("genai_cli.config.validation.check_loggers", lambda names: None)
    monkeypatch.setattr(
        "genai_cli.runner.loggers.Loggers",
        lambda folder, names, *_: heard.append((folder.name, names)) or Mute(),
    )
    folder = first(genai(*WORDS, "trainer.loggers=[wandb]"))
    assert genai("reproduce", str(folder)).code == 0
    assert [names for _, names in heard] == [["wandb"], []]


class Mute:
    def __getattr__(self, name: str) -> Callable:
        return lambda *_: None


def test_what_differs_is_named_with_its_first_epoch(genai: Callable, finished: Callable) -> None:
    folder = finished(*WORDS[1:])
    described = runs.read_json(folder / runs.RUN)
    described["versions"]["torch"] = "1.0"
    atomic_write.write_json(folder / runs.RUN, described)
    head, one, two, three = (folder / runs.METRICS).read_text().splitlines()
    cells = two.split(",")
    at = head.split(",").index("val/loss")
    cells[at] = repr(2 * float(cells[at]))
    text = "\n".join([head, one, ",".join(cells), three])
    (folder / runs.METRICS).write_text(f"{text}\n")
    done = genai("reproduce", folder.name[-4:])
    assert done.code == 1
    assert told(done)["verdict"] == DIFFERS
    assert "first    val/loss in epoch 2: " in done.out
    assert told(done)["not_the_same"]["torch"][0] == "1.0"
    assert genai("reproduce", folder.name[-4:], "rtol=1").code == 0


def test_a_packed_cell_says_what_it_was(genai: Callable) -> None:
    sweep = ("seed=0,1", "-m", "trainer.pack=2")
    done = genai(*WORDS, *sweep)
    assert done.code == 0, done.err
    (folder,) = done.folders
    cell = runs.cells(folder)[0]
    assert runs.read_json(cell / runs.RUN)["step_kind"] == "packed"
    done = genai("reproduce", str(cell))
    assert done.code == 0, done.out
    result = told(done)
    assert result["verdict"] in (IDENTICAL, WITHIN)
    assert result["not_the_same"]["step_kind"] == ["packed", "eager"]
    assert "trained in a stack of 2 runs, here alone: not bit-equal" in done.out


MISTAKES = [
    ("nope", "no run 'nope'"),
    ("latest rtol=-1", "rtol=-1 is not allowed"),
    ("latest rtol=many", "rtol=many is not allowed"),
    ("latest device=[1]", "is not allowed"),
    ("latest device=cuda:99", "device=cuda:99"),
    ("latest epochs=3", "unknown key 'epochs'"),
]


def test_a_mistake_is_one_line_and_leaves_nothing(genai: Callable, run_folder: Path) -> None:
    for words, part in MISTAKES:
        done = genai("reproduce", *words.split())
        assert (done.code, done.err.count("\n")) == (2, 1), words
        assert part in done.err
        assert len(done.folders) == 1, words


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of one epoch, as far as its folder tells."""
    from genai_cli.config import compose
    from genai_cli.runner.prepare import prepare, start
    from genai_cli.store import run_config

    line = compose.parse_line(["epochs=1", "dataset.limit=64", f"outputs={tmp_path / 'outputs'}"])
    (cell,) = compose.compose_cells("train", line)
    folder = start(prepare(cell.config, print), "genai train")
    (folder / runs.METRICS).write_text("epoch,step,val/loss\n1,1,0.5\n")
    assert run_config.load_config(folder).epochs == 1
    return folder


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda run: (run / runs.METRICS).unlink(), "has no epoch to compare with"),
        (lambda run: (run / runs.RUN).write_text("{"), "has no readable run.json"),
        (lambda run: _edit(run, "dataset", {"hash": "0"}), "is not the one"),
    ],
)
def test_what_cannot_be_taken_again_is_one_line(
    damage: Callable, part: str, genai: Callable, run_folder: Path
) -> None:
    damage(run_folder)
    done = genai("reproduce", str(run_folder))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert part in done.err
    assert len(done.folders) == 1


def _edit(run: Path, key: str, value: object) -> None:
    atomic_write.write_json(run / runs.RUN, runs.read_json(run / runs.RUN) | {key: value})


def rows(*losses: float) -> list[dict[str, float]]:
    return [{"epoch": i, "step": 2 * i, "seconds": i, "loss": v} for i, v in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("one", "other", "verdict", "first"),
    [
        (rows(4.0, 0.0), rows(4.0, 0.0), IDENTICAL, None),
        (rows(4.0, 0.0), rows(4.0, 1e-3), WITHIN, ("loss", 2)),  # of 4, not of 0
        (rows(4.0, 0.0), rows(4.0, 1e-2), DIFFERS, ("loss", 2)),
        (rows(4.0, 2.0), rows(4.0), DIFFERS, ("epoch", 2)),
        (rows(4.0), rows(4.0, 2.0), DIFFERS, ("the row", 2)),
        (rows(4.0, float("nan")), rows(4.0, float("nan")), IDENTICAL, None),
        (rows(4.0, 1.0), rows(4.0, float("nan")), DIFFERS, ("loss", 2)),
        (rows(0.0), rows(1e-9), DIFFERS, ("loss", 1)),
    ],
)
def test_verdicts(one: list, other: list, verdict: str, first: tuple | None) -> None:
    found = compare(one, other)
    assert found.verdict(1e-3) == verdict
    assert (found.first and (found.first.column, found.first.epoch)) == first


def test_numbers_of_a_summary_and_weights_count() -> None:
    a = {"metrics": {"test/mse": {"value": 1.0}, "test/kl": {"value": None}}}
    b = {"metrics": {"test/mse": {"value": 2.0}}}
    found = compare(rows(1.0), rows(1.0), (a, b))
    assert (found.verdict(1e-3), found.numbers) == (DIFFERS, 1)
    assert found.first.describe() == "test/mse in summary.json: 1 and 2 (1.0e+00 of its range)"
    same = compare(rows(1.0), rows(1.0))
    same.weights = False
    assert same.verdict(1e-3) == WITHIN


def test_what_an_older_version_did_not_write_is_no_difference() -> None:
    old = [{"epoch": 1, "step": 2, "loss": 1.0}, {"epoch": 2, "step": 4, "loss": 0.5}]
    new = [row | {"gradient": 3.0} for row in old]
    a, b = ({"metrics": {n: {"value": 1.0} for n in names}} for names in (["x"], ["x", "y"]))
    found = compare(old, new, (a, b))
    assert (found.verdict(1e-3), found.newer) == (IDENTICAL, ["gradient", "y"])
    went_on = compare([old[0], new[1] | {"gradient": 4.0}], new)  # by the newer version
    assert [(gap.column, gap.epoch) for gap in went_on.gaps] == [("gradient", 2)]
    assert compare(new, old).verdict(1e-3) == DIFFERS
    assert compare(old, old, (b, a)).verdict(1e-3) == DIFFERS


def test_the_newer_columns_are_named(genai: Callable, finished: Callable) -> None:
    folder = finished(*WORDS[1:])
    lines = (folder / runs.METRICS).read_text().split()
    (folder / runs.METRICS).write_text("".join(x.rpartition(",")[0] + "\n" for x in lines))
    done = genai("reproduce", folder.name[-4:])
    assert (done.code, done.err) == (0, "")
    assert f"not written by the first run, not compared: {lines[0].split(',')[-1]}" in done.out
