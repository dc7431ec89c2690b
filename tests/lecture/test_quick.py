"""The quick part of the lecture as a user runs it: every command in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.lecture.chapters import QUICK, SHOWS
from genai_cli.lecture.finding import examine_runs, find_contradiction
from genai_cli.lecture.folder import read
from genai_cli.store import outputs, run_folder
from genai_cli.system.subprocesses import python_command

pytestmark = pytest.mark.slow  # trainings of seconds, each with its own start
OUTPUTS = Path("outputs")


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_every_quick_experiment_shows_its_lesson_on_digits(genai: Callable) -> None:
    assert {*SHOWS} <= {*QUICK}
    done = genai("lecture", "quick", "dataset=digits")
    assert (done.code, done.err) == (0, "")
    (place,) = outputs.lectures(OUTPUTS)
    for part in read(place).parts:
        what = examine_runs(place / part.folder)
        assert find_contradiction(part.name, what) == ""
        assert SHOWS[part.name] in {f.phrase for found in what.findings.values() for f in found[:1]}
    page = (place / "report.html").read_text()
    assert "contradicts" not in page
    assert "was not drawn" not in page
    assert page.count("<figure>") >= len(QUICK) - 1  # of the run that is to fail there is none
    assert len(page) < 4_000_000


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_run_and_resume_ends_it(
    genai: Callable, own: Callable[..., Path], sent: signal.Signals, code: int
) -> None:
    """And latest in a header is what the line before made, whatever else was trained since."""
    body = "defaults:\n  - override /dataset: diabetes\n  - override /model: mlp\n"
    own("long", more="# genai doctor latest\n", body=f"{body}epochs: 800\n")
    own("short", more="# genai doctor latest\n", body=f"{body}epochs: 3\n")
    words = [*python_command("genai_cli"), "lecture", "long", "short"]
    lecture = subprocess.Popen(words, env=os.environ, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(OUTPUTS.glob("*/*/01-long/*/*/checkpoints/step-*")):
        assert time.monotonic() < deadline
        assert lecture.poll() is None
        time.sleep(0.1)
    lecture.send_signal(sent)
    assert lecture.wait(60) == code
    lecture.stdout.close()
    (place,) = outputs.lectures(OUTPUTS)
    (run,) = outputs.folders(place / "01-long")
    assert run_folder.read_json(run / run_folder.RUN)["status"] == "interrupted"
    assert [part.status for part in read(place).parts] == ["interrupted", "waiting"]
    assert genai("train", "model=mlp", "dataset=wine", "epochs=1").code == 0
    done = genai("lecture", "resume", "latest")
    assert (done.code, done.err) == (0, "")
    assert run_folder.read_json(run / run_folder.RUN)["status"] == "finished"
    assert f"$ genai resume {run}\n" in (place / "01-long" / "commands.log").read_text()
    for name in ("01-long", "02-short"):
        (own_run,) = outputs.folders(place / name)
        assert own_run.name.rsplit("-", 1)[-1] in (place / name / "commands.log").read_text()
