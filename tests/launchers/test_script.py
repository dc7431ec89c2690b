"""The batch script, word for word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from genai_cli.launchers.script import render_script
from genai_cli.launchers.settings import Slurm


def test_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sheet = tmp_path / "sweep" / "slurm" / "000.json"
    how = Slurm(partition="gpu", gpus=1, cpus=4, memory_gb=7.5, minutes=90, parallel=3,
                setup=["module load cuda"])  # fmt: skip
    assert (
        render_script(how, sheet, 12, "genai-k3f9")
        == f"""#!/bin/bash
#SBATCH --job-name=genai-k3f9
#SBATCH --array=0-11%3
#SBATCH --partition=gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --mem=7680M
#SBATCH --time=90
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --chdir={tmp_path}
#SBATCH --output={tmp_path}/sweep/slurm/%A_%a.log
set -e
module load cuda
export PYTHONSAFEPATH=1
export OMP_NUM_THREADS=4
exec {shlex.quote(sys.executable)} -m genai_cli.launchers.job {sheet}
"""
    )


def test_a_run_alone_is_no_array() -> None:
    text = render_script(Slurm(), Path("/runs/x-k3f9/slurm/000.json"), 1, "genai-k3f9")
    assert "--array" not in text
    assert "--output=/runs/x-k3f9/slurm/%j.log" in text


def test_a_folder_with_odd_letters(tmp_path: Path) -> None:
    sheet = tmp_path / "it's 5 % of $HOME" / "slurm" / "000.json"
    text = render_script(Slurm(), sheet, 2, "genai-k3f9")
    output = next(line for line in text.splitlines() if line.startswith("#SBATCH --output="))
    assert "5 %% of" in output  # % begins a pattern of Slurm's
    command = text.splitlines()[-1].removeprefix("exec ")
    assert shlex.split(command)[-1] == str(sheet)
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_several_nodes_go_through_torchrun() -> None:
    how = Slurm(nodes=2, gpus=4, cpus=8)
    text = render_script(how, Path("/runs/x/slurm/000.json"), 2, "genai-x", ranks=4)
    assert "#SBATCH --signal=USR1@120" in text  # to the steps: the shell's child is srun
    assert "--nnodes=2 --nproc-per-node=4" in text
    assert "export OMP_NUM_THREADS=2\n" in text
    assert "--signals-to-handle=SIGTERM,SIGINT,SIGUSR1" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
