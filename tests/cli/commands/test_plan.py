"""`genai plan`: what a line will cost; nothing is launched or written."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

QUICK = ("model=autoencoder", "epochs=3", "dataset.limit=64")
COST = (1, 1, 2, 0.1, 9, 0.1, 1.0, 0.1, 0.1, 0.1, 1, None, 1, 1)  # of a cell that is not measured


@pytest.mark.usefixtures("undrawn")
def test_a_sweep_is_measured_once_for_each_shape(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from genai_cli.config import schema
    from genai_cli.runner import cost

    def here(config: dict, environment: dict) -> cost.Cost:  # in this process
        folder = tmp_path / str(config["bottleneck"])
        folder.mkdir()
        return cost.cost(schema.from_dict(config, Path("plan")), folder, time.time())

    monkeypatch.setattr(cost, "measure_cost", here)
    words = ("-m", "bottleneck=2,8", "seed=1,2,3", *QUICK, "hydra/launcher=processes")
    done = genai("plan", *words)
    assert done.code == 0, done.err
    assert not done.outputs.exists()
    assert [line for line in done.err.splitlines() if line.startswith("measuring")] == [
        "measuring 1/2  bottleneck=2", "measuring 2/2  bottleneck=8",
    ]  # fmt: skip
    rows = [re.split(r"  +", line.strip()) for line in done.out.splitlines()]
    head = next(row for row in rows if row[0] == "shape")
    body = [dict(zip(head, row, strict=True)) for row in rows if row[0].startswith("bottleneck=")]
    assert [row["cells"] for row in body] == ["3", "3"]
    parameters = [int(row["parameters"].replace(",", "")) for row in body]
    assert parameters[0] < parameters[1]
    assert all(row["memory"].endswith(("MB", "GB")) for row in body)
    assert "cells  6" in done.out
    assert "one after the other" in done.out
    assert "with processes" in done.out
    assert "estimates" in done.out


def test_one_run_in_a_process_of_its_own(genai: Callable) -> None:
    done = genai("plan", *QUICK, "trainer.max_steps=8")
    assert (done.code, done.outputs.exists()) == (0, False), done.err
    assert "autoencoder" in done.out
    assert "cells  1" in done.out


def test_a_shape_that_fails_is_told_and_the_others_are_not_lost(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner import cost

    def failing(config: dict, environment: dict) -> cost.Cost:
        if config["bottleneck"] == 2:
            raise cost.Failed("killed by signal 9 (out of memory?)")
        return cost.Cost(*COST)

    monkeypatch.setattr(cost, "measure_cost", failing)
    done = genai("plan", "-m", "bottleneck=2,8", *QUICK)
    assert done.code == 1
    assert "bottleneck=2 fails: killed by signal 9" in done.err
    assert "cells  1" in done.out


def test_script_prints_the_batch_script_alone(genai: Callable) -> None:
    words = ("-m", "bottleneck=2,8,16", "hydra/launcher=slurm", "hydra.launcher.gpus=1")
    done = genai("plan", *words, "--script", *QUICK)
    assert (done.code, done.outputs.exists()) == (0, False), done.err
    lines = done.out.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --array=0-2" in lines
    assert "#SBATCH --gpus-per-node=1" in lines
    assert lines[-1].startswith("exec ")
    alone = genai("plan", "hydra/launcher=slurm", "--script", *QUICK).out
    assert "--array" not in alone


def test_cells_that_cannot_be_built_are_left_out_as_of_the_sweep(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner import cost

    monkeypatch.setattr(cost, "measure_cost", lambda *_: cost.Cost(*COST))
    words = ("plan", "-m", "bottleneck=4,0,8", *QUICK)
    assert genai(*words).code == 2
    done = genai(*words, "sweep.skip_invalid=true")
    assert done.code == 0
    assert "left out: cell bottleneck=0" in done.err
    assert "cells  2" in done.out


def test_a_gpu_of_the_node_cannot_be_measured_where_there_is_none(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ("plan", "device=cuda", *QUICK, "hydra/launcher=slurm", "hydra.launcher.gpus=1")
    done = genai(*words)
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert "device=cuda: torch finds no CUDA device here, and a plan for slurm is" in done.err
    assert "type device=cpu to measure on this CPU, or --script to see" in done.err
    assert "#SBATCH --gpus-per-node=1\n" in genai(*words, "--script").out


def test_ranks_share_the_cpus_that_are_planned_with(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.launchers import queue, share
    from genai_cli.runner import cost

    seen: list[tuple[str, str]] = []

    def measured(config: dict, environment: dict) -> cost.Cost:
        seen.append((environment["OMP_NUM_THREADS"], environment["GENAI_CORES"]))
        raise cost.Failed("looked")

    monkeypatch.setattr(cost, "measure_cost", measured)
    monkeypatch.setattr(share, "cores", lambda: 8)
    monkeypatch.setattr(queue, "read_max_array_size", lambda: 2)
    words = ("-m", "bottleneck=2,4,8", "trainer.devices=2", "device=cpu", *QUICK)
    slurm = ("hydra/launcher=slurm", "hydra.launcher.cpus=6")
    genai("plan", *words, *slurm)
    genai("plan", *words, "hydra/launcher=processes")
    assert seen == [("3", "6")] * 3 + [("1", "2")] * 3  # 3 workers of 2 ranks on 8 cores
    done = genai("plan", *words, *slurm, "--script")
    assert "export OMP_NUM_THREADS=3\n" in done.out
    assert "#SBATCH --array=0-1\n" in done.out
    assert "3 jobs are submitted as 2 arrays; this is the first (MaxArraySize=2)" in done.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--script", "add hydra/launcher=slurm"),
        ("hydra/launcher=processes", "add -m"),
        ("--cfg job", "genai train --cfg"),
        ("-m bottleneck=4,0", "nothing was launched"),
        ("modle=vae", "did you mean 'model'"),
    ],
)
def test_a_mistake_is_one_line(typed: str, said: str, genai: Callable) -> None:
    done = genai("plan", *typed.split(" "))
    assert (done.code, done.err.count("\n"), done.out) == (2, 1, "")
    assert said in done.err
