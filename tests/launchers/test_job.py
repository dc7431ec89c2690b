"""One job of Slurm's: what it trains, and when it asks to be started again; no Slurm is needed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from genai_cli.launchers import job, queue
from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm(tmp_path / "bin", monkeypatch)


@pytest.fixture
def sheet(genai: Callable, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three cells in job 11, which runs."""
    words = ("bottleneck=2,3,4", "epochs=1", "dataset.limit=64")
    launcher = ("hydra/launcher=slurm", "hydra.launcher.wait=false")
    (sweep,) = genai("train", "-m", *words, *launcher).folders
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    fake.states["11"] = "RUNNING"
    fake.asked.clear()
    return sweep / "slurm" / "000.json"


def _interrupted(sheet: Path, task: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a task of a sheet, which a signal interrupts."""
    from genai_cli.launchers import worker

    run = worker.run

    def interrupted(*args: object, **more: object) -> int:
        signal.raise_signal(number)
        return run(*args, **more)

    monkeypatch.setattr(worker, "run", interrupted)
    cell = run_folder.cells(sheet.parent.parent)[task]
    text = (cell / run_folder.CONFIG).read_text()
    (cell / run_folder.CONFIG).write_text(text.replace("epochs: 1", "epochs: 9"))
    assert job.main(str(sheet)) == 143
    assert run_folder.read_json(cell / run_folder.RUN)["status"] == "interrupted"


def test_a_job_trains_the_cells_of_its_task_and_not_again(
    sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert job.main(str(sheet)) == 0
    cells = run_folder.cells(sheet.parent.parent)
    statuses = [run_folder.read_json(cell / run_folder.RUN)["status"] for cell in cells]
    assert statuses == ["running", "finished", "running"]
    rows = (sheet.parent.parent / run_folder.SWEEP_TABLE).read_text().splitlines()
    assert "finished" in rows[2]
    before = (cells[1] / run_folder.LOG).read_text()
    assert job.main(str(sheet)) == 0  # requeued after its end
    assert (cells[1] / run_folder.LOG).read_text() == before


def test_usr1_while_a_cell_is_measured_has_it_measured_by_the_next_job(
    sheet: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.evaluation import summary

    cell = run_folder.cells(sheet.parent.parent)[0]
    with monkeypatch.context() as patched:
        patched.setattr(summary, "batch_terms", lambda *a: signal.raise_signal(signal.SIGUSR1))
        assert job.main(str(sheet)) == 143
    assert fake.asked == ["scontrol requeue 11"]
    assert run_folder.read_json(cell / run_folder.RUN)["status"] == "finished"
    assert run_folder.read_json(cell / run_folder.SUMMARY)["measured"] is False
    rows = (cell / run_folder.METRICS).read_bytes()
    assert job.main(str(sheet)) == 0
    assert run_folder.read_json(cell / run_folder.SUMMARY)["measured"] is True
    assert (cell / run_folder.METRICS).read_bytes() == rows


@pytest.mark.parametrize(
    ("number", "state", "reason", "again"),
    [
        (signal.SIGUSR1, "RUNNING", "None", True),
        (signal.SIGTERM, "COMPLETING", "TimeLimit", True),  # the save took longer than the notice
        (signal.SIGTERM, "COMPLETING", "None", False),  # scancel, or a preemption
    ],
)
def test_a_job_out_of_time_asks_to_be_started_again_and_a_cancelled_one_does_not(
    number: int,
    state: str,
    reason: str,
    again: bool,
    sheet: Path,
    fake: FakeSlurm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake.states["11"], fake.reason = state, reason
    _interrupted(sheet, 0, number, monkeypatch)
    assert [words for words in fake.asked if "requeue" in words] == ["scontrol requeue 11"] * again


def test_a_task_of_an_array_has_itself_started_again_and_no_other(
    sheet: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "11")  # the number of this task is that of the array
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    _interrupted(sheet, 2, signal.SIGUSR1, monkeypatch)
    assert fake.asked == ["scontrol requeue 11_2"]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (
            [None, "slurm_requeue error: Socket timed out", "Job is pending execution for job 11"],
            "started again when it can",
        ),
        (
            ["Requested operation is presently disabled for job 11"],
            "not started again: Requested operation is presently disabled for job 11",
        ),
    ],
)
def test_a_request_without_an_answer_is_repeated_and_a_refused_one_is_not(
    answers: list[str | None],
    outcome: str,
    sheet: Path,
    fake: FakeSlurm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.requeues = list(answers)
    _interrupted(sheet, 0, signal.SIGUSR1, monkeypatch)
    assert fake.asked == ["scontrol requeue 11"] * len(answers)
    assert outcome in capsys.readouterr().out


def test_after_a_scancel_a_request_is_not_repeated(
    sheet: Path,
    fake: FakeSlurm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def requeue(number: str) -> None:
        fake.asked.append(number)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(queue, "requeue", requeue)
    _interrupted(sheet, 0, signal.SIGUSR1, monkeypatch)
    assert fake.asked == ["11"]
    assert "did not say whether this job is started again" in capsys.readouterr().out
