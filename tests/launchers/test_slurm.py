"""What the wait for Slurm's jobs concludes from the queue and the folders; no Slurm is needed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genai_cli.launchers import queue, serial, slurm
from genai_cli.launchers.settings import Slurm
from genai_cli.runner.lifecycle import set_status
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.preemption import Signals

pytestmark = pytest.mark.usefixtures("undrawn")

States = dict[int, tuple[str, str]]


@pytest.fixture
def sweep(finished: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of three cells, written and not begun; questions to Slurm take no time."""
    with monkeypatch.context() as patched:
        patched.setattr(serial, "train_job", lambda *a, **k: 0)
        words = ("bottleneck=2,3,4", "epochs=1", "dataset.limit=64", "name=written")
        folder = finished("-m", *words)
    monkeypatch.setattr(slurm, "FIRST", 0.0)
    monkeypatch.setattr(slurm, "LATE", 0.0)
    monkeypatch.setattr(queue, "submit", lambda text, name: "7")
    monkeypatch.setattr(queue, "read_max_array_size", lambda: 1001)
    monkeypatch.setattr(queue, "read_accounting", lambda number: {})
    return folder


def _answers(monkeypatch: pytest.MonkeyPatch, *answers: Callable[[], States | None]) -> None:
    """One after the other, then the last for ever."""
    left: Iterator[Callable[[], States | None]] = iter(answers)
    last = answers[-1]
    monkeypatch.setattr(queue, "read_states", lambda number: next(left, last)())


def _launch(sweep: Path, how: Slurm | None = None) -> tuple[bool, int]:
    jobs = [[cell] for cell in run_folder.cells(sweep)]
    with Signals() as signals:
        return slurm.launch(sweep, jobs, how or Slurm(), signals, {}), signals.code


def _statuses(sweep: Path) -> list[str]:
    return [
        run_folder.read_json(cell / run_folder.RUN)["status"] for cell in run_folder.cells(sweep)
    ]


def test_jobs_that_end_by_their_folders(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = run_folder.cells(sweep)

    def ended() -> States:
        for cell, status in zip(cells, ("finished", "failed", "stopped"), strict=True):
            set_status(cell, status)
        return {0: ("COMPLETED", ""), 1: ("FAILED", "NonZeroExitCode")}  # 2 is forgotten

    pending = dict.fromkeys(range(3), ("PENDING", "Resources"))
    _answers(monkeypatch, lambda: pending, lambda: None, ended)
    assert _launch(sweep) == (False, 0)
    assert _statuses(sweep) == ["finished", "failed", "stopped"]
    sheet = run_folder.read_json(sweep / "slurm" / "000.json")
    assert sheet["job"] == "7"
    assert sheet["jobs"] == [[cell.name] for cell in cells]
    assert "--array=0-2" in (sweep / "slurm" / "000.sh").read_text()


def test_a_job_that_said_nothing_fails_with_slurms_reason(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = run_folder.cells(sweep)

    def over() -> States:
        set_status(cells[2], "finished")
        return {0: ("OUT_OF_MEMORY", "OutOfMemory")}

    _answers(monkeypatch, over)
    assert _launch(sweep) == (False, 0)
    assert _statuses(sweep) == ["failed", "failed", "finished"]
    logs = [(cell / run_folder.LOG).read_text() for cell in cells[:2]]
    assert "OUT_OF_MEMORY (OutOfMemory)" in logs[0]
    assert "left the queue without a word" in logs[1]


def test_a_requeued_job_is_waited_for(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = run_folder.cells(sweep)

    def cut() -> States:
        for cell in cells:
            set_status(cell, "interrupted")
        return dict.fromkeys(range(3), ("COMPLETING", "TimeLimit"))

    def again() -> States:
        return dict.fromkeys(range(3), ("PENDING", "BeginTime"))

    def done() -> States:
        for cell in cells:
            set_status(cell, "finished")
        return {}

    _answers(monkeypatch, lambda: dict.fromkeys(range(3), ("RUNNING", "")), cut, again, again, done)
    assert _launch(sweep) == (False, 0)
    assert _statuses(sweep) == ["finished"] * 3


def test_a_saved_job_that_slurm_ended_is_not_waited_for(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def over() -> States:
        looks.append(1)
        for cell in run_folder.cells(sweep):
            set_status(cell, "interrupted")
        return dict.fromkeys(range(3), ("TIMEOUT", "TimeLimit"))

    _answers(monkeypatch, over)
    assert _launch(sweep) == (False, 143)
    assert _statuses(sweep) == ["interrupted"] * 3
    assert len(looks) == 1


def test_cancelled_jobs_are_interrupted(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "LATE", 60.0)  # one that never began is not waited for
    _answers(monkeypatch, lambda: dict.fromkeys(range(3), ("CANCELLED", "None")))
    assert _launch(sweep) == (False, 143)
    assert _statuses(sweep) == ["interrupted"] * 3


def test_a_job_that_was_cancelled_while_it_measured_leaves_that_to_do(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> States:
        for cell in run_folder.cells(sweep):
            done = {"measured": False, "epoch": 1, "seconds": 1.0}
            atomic_write.write_json(cell / run_folder.SUMMARY, done)
            set_status(cell, "finished")
        return dict.fromkeys(range(3), ("CANCELLED", "None"))

    _answers(monkeypatch, told)
    assert _launch(sweep) == (False, 143)
    assert _statuses(sweep) == ["finished"] * 3


def test_a_signal_off_a_terminal_cancels(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr(queue, "cancel", cancelled.extend)

    def answer() -> States:
        if not cancelled:
            signal.raise_signal(signal.SIGTERM)
            return dict.fromkeys(range(3), ("RUNNING", ""))
        return dict.fromkeys(range(3), ("CANCELLED", "None"))

    _answers(monkeypatch, answer)
    monkeypatch.setattr(slurm, "FIRST", 0.5)
    assert _launch(sweep) == (False, 143)
    assert cancelled == ["7"]


@pytest.mark.parametrize(("said", "goes_on"), [("y\n", False), ("\n", True)])
def test_ctrl_c_on_a_terminal_asks(
    said: str, goes_on: bool, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return said

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(slurm, "FIRST", 0.5)
    cancelled: list[str] = []
    monkeypatch.setattr(queue, "cancel", cancelled.extend)
    asked = 0

    def answer() -> States:
        nonlocal asked
        asked += 1
        if asked == 1:
            signal.raise_signal(signal.SIGINT)
            return dict.fromkeys(range(3), ("RUNNING", ""))
        if goes_on:
            for cell in run_folder.cells(sweep):
                set_status(cell, "finished")
            return {}
        return dict.fromkeys(range(3), ("CANCELLED", "None"))

    _answers(monkeypatch, answer)
    assert _launch(sweep) == (False, 0 if goes_on else 130)
    assert cancelled == ([] if goes_on else ["7"])


def test_a_second_ctrl_c_leaves_the_jobs_alone(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer() -> States:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return {}

    _answers(monkeypatch, answer)
    assert _launch(sweep) == (True, 130)
    assert "job 7 goes on without us" in capsys.readouterr().out
    assert _statuses(sweep) == ["running"] * 3


def test_without_wait_it_says_how_to_look(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _launch(sweep, Slurm(wait=False)) == (True, 0)
    assert "squeue -j 7" in capsys.readouterr().out
    assert _statuses(sweep) == ["running"] * 3


def test_what_is_in_the_queue_is_not_touched_by_a_resume(
    sweep: Path, genai: Callable, squeue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _launch(sweep, Slurm(wait=False))
    states = {0: ("PENDING", "Resources"), 1: ("COMPLETED", ""), 2: ("RUNNING", "")}
    _answers(monkeypatch, lambda: states)
    cells = run_folder.cells(sweep)
    before = [(cell / run_folder.RUN).read_text() for cell in cells]
    done = genai("sweep", "resume", str(sweep), "hydra/launcher=serial")
    assert (done.code, done.err) == (0, "")
    assert "2 of 3 runs are in Slurm's queue: job 7" in done.out
    assert _statuses(sweep) == ["running", "finished", "running"]
    assert [(cells[i] / run_folder.RUN).read_text() for i in (0, 2)] == [before[0], before[2]]


def test_answers_of_the_queue_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    command("squeue", "printf '12_0|RUNNING|None\\n12_3|PENDING|Resources\\n'")
    assert queue.read_states("12") == {0: ("RUNNING", "None"), 3: ("PENDING", "Resources")}
    command("squeue", "echo '12|COMPLETED|None'")
    assert queue.read_states("12") == {0: ("COMPLETED", "None")}
    command("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert queue.read_states("12") == {}
    command("squeue", "echo 'slurm_load_jobs error: Unable to contact controller' >&2; exit 1")
    assert queue.read_states("12") is None
    command("scontrol", "exit 0")
    assert queue.requeue("12") == ""
    command("scontrol", "kill $$")
    assert queue.requeue("12") is None
    command("sacct", "printf '12_0|CANCELLED by 0|0:15\\n'")
    assert queue.read_accounting("12") == {0: ("CANCELLED", "0:15")}
    command("sbatch", "cat > script; echo '12;cluster'")
    monkeypatch.chdir(tmp_path)
    assert queue.submit("#!/bin/sh\n", "genai-x") == "12"
    assert (tmp_path / "script").read_text() == "#!/bin/sh\n"
    command("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    assert "invalid partition" in queue.check_script("")
