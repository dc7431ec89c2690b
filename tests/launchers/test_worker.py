"""One job: what fails fails alone, what was begun goes on, other code is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.launchers import versions
from genai_cli.launchers.worker import record_failure, train_job
from genai_cli.store import run_folder
from genai_cli.system.preemption import Signals

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=2", "dataset.limit=64", "model=autoencoder")


@pytest.fixture
def cells(finished: Callable, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two cells that are written and not begun."""
    from genai_cli.launchers import serial

    with monkeypatch.context() as patched:
        patched.setattr(serial, "train_job", lambda *a, **k: 0)
        return run_folder.cells(finished("-m", "bottleneck=2,3", *QUICK, "name=written"))


def _status(cell: Path) -> str:
    return run_folder.read_json(cell / run_folder.RUN)["status"]


def test_a_job_of_several_begun_cells_goes_on_one_by_one(cells: list[Path]) -> None:
    with Signals() as signals:
        assert train_job(cells[:1], signals) == 0
        rows = run_folder.read_metrics(cells[0])
        assert train_job(cells, signals) == 0
    assert list(map(_status, cells)) == ["finished"] * 2
    assert run_folder.read_metrics(cells[0]) == rows  # nothing was trained again


def test_a_cell_that_cannot_be_trained_fails_alone(cells: list[Path]) -> None:
    text = (cells[0] / run_folder.CONFIG).read_text()
    (cells[0] / run_folder.CONFIG).write_text(text.replace("name: digits", "name: nowhere"))
    with Signals() as signals:
        assert train_job([cells[0]], signals) == 1
        assert train_job([cells[1]], signals) == 0
    assert list(map(_status, cells)) == ["failed", "finished"]
    assert "nowhere" in (cells[0] / run_folder.LOG).read_text()


def test_a_cell_that_another_process_trains_is_left_to_it(
    cells: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from genai_cli.runner.console import Reporter

    with Reporter(cells[0] / run_folder.LOG, quiet=True), Signals() as signals:
        assert train_job([cells[0]], signals) == 1
        assert _status(cells[0]) == "running"
    assert "another process" in capsys.readouterr().err


def test_after_a_signal_the_rest_of_a_job_is_not_begun(cells: list[Path]) -> None:
    with Signals() as signals:
        signals.code = 143
        (cells[0] / "checkpoints" / "step-000000").mkdir()  # begun: the two are not stacked
        assert train_job(cells, signals) == 143
    assert list(map(_status, cells)) == ["interrupted"] * 2


def test_other_code_is_told_and_recorded(
    cells: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.note_changes(cells[0])
    assert not (cells[0] / run_folder.LOG).exists()
    now = versions.current_versions() | {"torch": "9.9", "git": "0123456789ab"}
    monkeypatch.setattr(versions, "current_versions", lambda: now)
    versions.note_changes(cells[0])
    told = (cells[0] / run_folder.LOG).read_text()
    assert told.count("\n") == 1
    assert "→ 9.9" in told
    assert "→ 0123456789ab" in told
    assert told.strip() in capsys.readouterr().out
    assert run_folder.read_json(cells[0] / run_folder.RUN)["versions"]["torch"] == "9.9"
    versions.note_changes(cells[0])
    assert (cells[0] / run_folder.LOG).read_text() == told


def test_a_lost_cell_says_why(cells: list[Path]) -> None:
    record_failure(cells[0], "its process was killed")
    assert _status(cells[0]) == "failed"
    assert (cells[0] / run_folder.LOG).read_text() == "its process was killed\n"
