"""Loggers get every row, go on after a resume, and never stop a run."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from PIL import Image

from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("dataset.limit=64", "model.widths=[8]", "bottleneck=2", "epochs=3")


@pytest.fixture
def two_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends with two small pictures instead of its figures."""

    def draw(folder: Path, *about: object) -> list[Path]:
        for name in ("loss_curve", "samples"):
            Image.new("L", (8, 8)).save(folder / f"{name}.png")
        return []

    monkeypatch.setattr("genai_cli.evaluation.run_figures.draw", draw)


def test_tensorboard_has_every_row_once(two_figures: None, genai: Callable) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = genai("train", *QUICK, "trainer.loggers=[tensorboard]")
    assert done.code == 0
    (run,) = done.folders
    assert genai("resume", str(run), "epochs=5").code == 0
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    rows = run_folder.read_metrics(run)
    assert len(rows) == 5
    told = events.Scalars("val/loss")
    assert [e.step for e in told] == [row["step"] for row in rows]
    assert [e.value for e in told] == pytest.approx([row["val/loss"] for row in rows], rel=1e-6)
    assert "test/loss" in events.Tags()["scalars"]
    assert {"loss_curve", "samples"} <= set(events.Tags()["images"])


@pytest.mark.slow
def test_mlflow_goes_on_in_the_same_run(genai: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = genai("train", *QUICK, "trainer.loggers=[mlflow]")
    assert done.code == 0
    assert "left out" not in done.out
    (run,) = done.folders
    assert genai("resume", str(run), "epochs=5").code == 0
    client = mlflow.tracking.MlflowClient(f"sqlite:///{done.outputs.resolve() / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "genai"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == run_folder.read_json(run / "loggers.json")["mlflow"]
    assert found.info.status == "FINISHED"
    assert found.data.params["bottleneck"] == "2"
    history = client.get_metric_history(found.info.run_id, "val/loss")
    rows = run_folder.read_metrics(run)
    assert [m.value for m in history] == [row["val/loss"] for row in rows]


class Wandb(types.ModuleType):
    """What of W&B is called, kept."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
        self.inits: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, Any], int | None]] = []
        self.ended: list[int] = []
        self.util = types.SimpleNamespace(generate_id=lambda: "abc123")
        self.offline = False

    def init(self, **given: Any) -> Wandb:
        self.inits.append(given)
        return self

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        if self.offline:
            raise ConnectionError("no route to host")
        self.logged.append((values, step))

    def finish(self, exit_code: int) -> None:
        self.ended.append(exit_code)

    def Settings(self, **given: Any) -> dict[str, Any]:
        return given

    def Image(self, path: str) -> Path:
        return Path(path)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_the_config_once_and_each_row(
    two_figures: None, genai: Callable, wandb: Wandb
) -> None:
    done = genai("train", *QUICK, "trainer.loggers=[wandb]")
    assert done.code == 0
    (run,) = done.folders
    assert genai("resume", str(run), "epochs=4").code == 0
    first, second = wandb.inits
    assert first["id"] == second["id"] == "abc123"
    assert first["resume"] == "allow"
    assert first["config"]["bottleneck"] == 2
    losses = [v["val/loss"] for v, _ in wandb.logged if "val/loss" in v]
    assert losses == [row["val/loss"] for row in run_folder.read_metrics(run)]
    images = [v["samples"] for v, _ in wandb.logged if "samples" in v]
    assert [path.resolve() for path in images] == [run.resolve() / "samples.png"] * 2
    assert wandb.ended == [0, 0]


def test_a_service_that_fails_is_said_once_and_the_run_goes_on(
    genai: Callable, wandb: Wandb
) -> None:
    wandb.offline = True
    done = genai("train", *QUICK, "trainer.loggers=[wandb]")
    assert done.code == 0
    (run,) = done.folders
    assert len(run_folder.read_metrics(run)) == 3
    assert (run / run_folder.LOG).read_text().count(
        "wandb: no route to host; left out from here on"
    ) == 1
    assert not wandb.ended


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.loggers=[tensorbord]"], "did you mean 'tensorboard'"),
        (["trainer.loggers=[wandb,wandb]"], "twice"),
        (["trainer.loggers=wandb"], "a list"),
        (["trainer.loggers=[wandb]", "trainer.pack=2"], "leave out trainer.pack"),
    ],
)
def test_mistakes(genai: Callable, wandb: Wandb, words: list[str], said: str) -> None:
    done = genai("train", *QUICK, *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not done.outputs.exists()


def test_a_missing_package_names_the_extra(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "mlflow" else real(n, *a)
    )
    done = genai("train", *QUICK, "trainer.loggers=[mlflow]")
    assert done.code == 2
    assert "pip install 'genai-cli[loggers]'" in done.err
    assert not done.outputs.exists()


def test_one_process_at_a_time_makes_what_mlflow_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is held while the tables and the experiment are made, and not after that."""
    tracking = pytest.importorskip("mlflow.tracking")
    from genai_cli.runner.loggers import MLflow
    from genai_cli.system.file_lock import is_locked

    def held() -> bool:
        with open(tmp_path / ".mlflow.lock", "rb") as file:
            return is_locked(file.fileno())

    class Client:
        seen: ClassVar[list[bool]] = []

        def __init__(self, where: str) -> None:
            self.seen.append(held())

        def get_experiment_by_name(self, name: str) -> None:
            self.seen.append(held())

        def create_experiment(self, name: str) -> str:
            self.seen.append(held())
            return "1"

        def create_run(self, number: str, run_name: str) -> SimpleNamespace:
            self.seen.append(held())
            return SimpleNamespace(info=SimpleNamespace(run_id="r"))

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "MlflowClient", Client)
    folder = tmp_path / "2026-01-01" / "run"
    folder.mkdir(parents=True)
    assert MLflow(folder, {}, 0).id == "r"
    assert Client.seen == [True] * 4
    assert not held()


@pytest.mark.slow
def test_four_processes_begin_with_mlflow_at_once(tmp_path: Path) -> None:
    """Without turns three of four failed, their migrations of the tables mixed up."""
    mlflow = pytest.importorskip("mlflow")
    code = (
        "import sys, time, pathlib; from genai_cli.runner.loggers import MLflow; "
        "import mlflow.tracking; print('ready', flush=True); sys.stdin.readline(); "
        "made = MLflow(pathlib.Path(sys.argv[1]), {'a': 1}, 0); made.row({'step': 1, 'x': 2.0}); "
        "made.end([], 'finished')"
    )
    folders = [tmp_path / "2026-01-01" / f"run-{i}" for i in range(4)]
    begun = []
    for folder in folders:
        folder.mkdir(parents=True)
        words = [sys.executable, "-c", code, str(folder)]
        begun.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for one in begun:
        assert one.stdout.readline() == b"ready\n"
    for one in begun:
        one.stdin.write(b"go\n")
        one.stdin.flush()
    assert [one.wait() for one in begun] == [0] * 4
    client = mlflow.tracking.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = (e for e in client.search_experiments() if e.name == "genai")
    found = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in found) == [f.name for f in folders]
