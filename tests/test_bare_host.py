"""Whatever is installed, an unmarked test sees none of it: no Slurm, browser, GPU or settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bare_host
import pytest

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = (
    *("squeue", "scontrol", "sbatch", "sacct", "scancel", "srun", "sinfo"),
    *("chromium", "chromium-browser", "google-chrome", "node", "nvidia-smi", "zsh", "fish"),
)
ASKED_SLURM = (  # tests that once asked the host's own
    "sweeps/search/test_launchers.py::test_trials_that_are_queued_are_not_started_again",
    "launchers/test_slurm.py::test_what_is_in_the_queue_is_not_touched_by_a_resume",
    "cli/commands/test_plan.py::test_script_prints_the_batch_script_alone",
    "sweeps/test_of_experiments.py::test_it_is_planned_as_it_is_trained",
)


def test_no_program_of_the_host_is_found() -> None:
    assert [name for name in HIDDEN if shutil.which(name)] == []
    assert [name for name in ("bash", "cat", "git") if not shutil.which(name)] == []


def test_no_setting_of_the_host_is_seen() -> None:
    foreign = ("SLURM", "PYTHONPATH", "PYTHONWARN", "HTTP", "http", "XDG", "MPL", "RANK", "WORLD")
    odd = {"XDG_DATA_DIRS"}  # set for each test
    assert [name for name in os.environ if name.startswith(foreign) and name not in odd] == []
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["TZ"]) == ("", "UTC")
    assert Path.home().parent.name.startswith("genai-tests-")
    assert "TERM" not in os.environ


def test_programs_and_settings_of_a_host_change_nothing(tmp_path: Path) -> None:
    """A Slurm whose every command answers nonsense, and notes that it was called."""
    folder, notes = tmp_path / "host", tmp_path / "notes"
    folder.mkdir()
    for name in HIDDEN:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >>'{notes}'\necho 'MaxArraySize = 2'\n")
        (folder / name).chmod(0o755)
    settings = {
        "PATH": f"{folder}:{os.environ[bare_host.HOST_PATH]}",
        "HOME": "/proc/none",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "1",
        "RANK": "1",
        "WORLD_SIZE": "2",
        "GENAI_OUTPUTS": "/proc/none",
        "GENAI_PATH": "/proc/none",
        "PYTHONWARNINGS": "error",
        "COLUMNS": "20",
        # Python up to 3.12 reads the path of an editable install in the encoding of the locale
        "LC_ALL": "C" if str(ROOT).isascii() else "C.UTF-8",
    }
    settings |= {name: os.environ[name] for name in bare_host.KEPT if name in os.environ}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'base'}", *(f"tests/{name}" for name in ASKED_SLURM)],
        cwd=ROOT, env=settings, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ASKED_SLURM)} passed" in done.stdout
    assert not notes.exists(), notes.read_text()


@pytest.mark.parametrize("mark", sorted(bare_host.NEEDS))
def test_what_did_not_run_is_counted_by_its_mark(mark: str) -> None:
    line = bare_host.not_run(bare_host.Counter({mark: 2}), bare_host.Counter({mark: 1}))
    assert line == f"not run: 3 {mark} ({bare_host.NEEDS[mark]})"


def test_a_run_of_everything_says_nothing() -> None:
    assert bare_host.not_run(bare_host.Counter(), bare_host.Counter()) == ""
