"""The launcher of a line: its keys are checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.config.compose import parse_line
from genai_cli.launchers.settings import Processes, Serial, Slurm, read_launcher, read_run_launcher

pytestmark = pytest.mark.usefixtures("undrawn")

MISTAKES = {
    "-m bottleneck=2,4 hydra/launcher=slrm": ["did you mean 'slurm'", "processes, serial, slurm"],
    "-m bottleneck=2,4 hydra/launcher=processes hydra.launcher.workers=0": [
        "workers=0",
        "1 or more",
    ],
    "-m bottleneck=2,4 hydra/launcher=processes hydra.launcher.worker=2": [
        "did you mean 'workers'"
    ],
    "-m bottleneck=2,4 hydra/launcher=processes hydra.launcher.per_gpu=x": ["per_gpu=x"],
    "-m bottleneck=2,4 hydra/launcher=slurm hydra.launcher.minutes=1": ["notice=120", "60 s"],
    "-m bottleneck=2,4 hydra/launcher=slurm hydra.launcher.gpus=-1": ["gpus=-1", "0 or more"],
    "-m bottleneck=2,4 hydra/launcher=slurm hydra.launcher.memory_gb=0": ["memory_gb=0", "above 0"],
    "-m seed=1,2 hydra/launcher=processes hydra/launcher=serial": ["hydra/launcher is given twice"],
    "-m model=mlp,vae model=autoencoder": ["model is given twice"],
    "-m sweep=seeds sweep=none": ["sweep is given twice"],
    "-m seed=1,2 hydra/launcher=processes hydra.launcher.per_gpu=2 hydra.launcher.per_gpu=3": [
        "twice"
    ],
    "hydra/launcher=processes": ["is for a sweep; add -m"],
    "hydra/launcher=serial hydra.launcher.workers=2": ["unknown key 'hydra.launcher.workers'"],
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(typed: str, genai: Callable) -> None:
    done = genai("train", *typed.split(" "))
    assert (done.code, done.err.count("\n"), done.outputs.exists()) == (2, 1, False), done.err
    for words in MISTAKES[typed]:
        assert words in done.err, done.err


def test_slurm_without_slurm_is_one_line_and_leaves_nothing(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for words in (("hydra/launcher=slurm",), ("-m", "bottleneck=2,4", "hydra/launcher=slurm")):
        done = genai("train", *words)
        assert (done.code, done.err.count("\n"), done.outputs.exists()) == (2, 1, False), done.err
        assert "no sbatch here" in done.err


def test_the_launcher_of_a_line() -> None:
    assert read_launcher(parse_line(["-m", "seed=1,2"])) == Serial()
    line = parse_line(["-m", "seed=1,2", "hydra/launcher=processes", "hydra.launcher.workers=3"])
    assert read_launcher(line) == Processes(workers=3)
    line = parse_line(["-m", "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.workers=3"])
    assert read_launcher(line) == Processes(workers=3)  # the name in version 0.1
    line = parse_line(["hydra/launcher=slurm", "hydra.launcher.setup=[module load cuda]"])
    assert read_run_launcher(line) == Slurm(setup=["module load cuda"])
    assert read_run_launcher(parse_line(["hydra/launcher=serial"])) is None


def test_a_user_launcher_of_the_earlier_name_goes_on(tmp_path: Path) -> None:
    group = tmp_path / "hydra" / "launcher"
    group.mkdir(parents=True)
    (group / "joblib.yaml").write_text("name: joblib\nworkers: 5\n")
    (group / "mine.yaml").write_text("name: joblib\nper_gpu: 2\n")
    for name, expected in (("joblib", Processes(workers=5)), ("mine", Processes(per_gpu=2))):
        line = parse_line(["-m", "seed=1,2", f"hydra/launcher={name}", "-cd", str(tmp_path)])
        assert read_launcher(line) == expected
