"""From one measured run of each shape to all cells."""

from __future__ import annotations

import dataclasses

import pytest

from genai_cli.config.compose import compose_cells, parse_line
from genai_cli.launchers.settings import Processes, Serial, Slurm
from genai_cli.runner.cost import Cost, shape
from genai_cli.sweeps.forecast import (
    check_limits,
    compute_makespan,
    count_parallel,
    forecast,
    format_bytes,
    format_duration,
)

COST = Cost(
    parameters=10, threads=1, steps_per_epoch=20, step=0.5, timed=3, validation=2.0, start=3.0,
    begin=1.0, end=4.0, whole=4.0, memory=3 * 2**30, gpu=None, checkpoint=1000, files=70,
)  # fmt: skip


def _configs(*words: str) -> list:
    return [cell.config for cell in compose_cells("train", parse_line(words))]


def test_a_run_is_steps_validation_figures_and_an_end() -> None:
    (cfg,) = _configs("epochs=10", "trainer.figures_every=5", "trainer.keep=2")
    # 1 to begin, 200 steps, 10 validations, 2 drawings and the end; 2 newest and the best one
    assert forecast(cfg, COST) == (1 + 100 + 20 + 3 * 4, 3 * 1000 + 70)
    (cfg,) = _configs("epochs=10", "trainer.max_steps=30")
    assert forecast(cfg, COST).seconds == 1 + 15 + 2 * 2 + 4


def test_an_end_takes_a_tenth_of_the_training_at_most() -> None:
    (cfg,) = _configs("epochs=10")
    long = dataclasses.replace(COST, end=10.0, whole=15.0)
    assert forecast(cfg, long).seconds == pytest.approx(1.1 * (1 + 100 + 20))
    assert forecast(cfg, dataclasses.replace(long, whole=11.0)).seconds == 1 + 100 + 20 + 11
    (cfg,) = _configs("epochs=1")
    assert forecast(cfg, long).seconds == 1 + 10 + 2 + 10


def test_shapes_differ_by_what_a_step_costs() -> None:
    def number(*words: str) -> int:
        return len({shape(cfg) for cfg in _configs("-m", *words)})

    assert number("seed=1,2,3", "epochs=1,2", "optimizer.lr=0.1,0.2") == 1
    assert number("schedule=constant,cosine", "trainer.patience=3,4") == 1
    assert number("bottleneck=2,3", "seed=1,2") == 2
    assert number("optimizer=adam,sgd") == 2
    assert number("batch_size=32,64") == 2


def test_cells_take_the_first_free_place() -> None:
    assert compute_makespan([5, 1, 1, 1], 1, 2, each=False) == 2 + 8
    assert compute_makespan([5, 1, 1, 1], 2, 2, each=False) == 2 + 5
    assert compute_makespan([5, 1, 1, 1], 2, 2, each=True) == 9  # 3 + 3 + 3 beside 7
    assert compute_makespan([5, 1], 8, 2, each=True) == 7


def test_places_of_a_launcher() -> None:
    assert count_parallel(Serial(), 9, 2) == 1
    assert count_parallel(Processes(), 9, 2) == 2
    assert count_parallel(Slurm(), 9, 1) == 9
    assert count_parallel(Slurm(parallel=4), 9, 1) == 4


def test_limits_that_are_too_low_are_told() -> None:
    told = check_limits(Slurm(memory_gb=2, minutes=10, notice=60), [COST], [1000.0, 10.0])
    assert "memory_gb=2 is less than the measured 3.0 GB" in told[0]
    assert "17 min and is requeued 1 time" in told[1].replace("16.7", "17")
    assert check_limits(Slurm(memory_gb=4), [COST], [1000.0]) == []
    (told,) = check_limits(Slurm(gpus=1), [COST], [1000.0])
    assert "hydra.launcher.gpus=1" in told
    assert "those of a CPU" in told
    assert check_limits(Slurm(gpus=1), [dataclasses.replace(COST, gpu=5)], [1000.0]) == []
    assert check_limits(Serial(), [COST], [1e9]) == []


def test_words_for_numbers() -> None:
    assert [format_duration(s) for s in (0.25, 12.3, 200, 9000, 1e6)] == [
        "0.2 s", "12 s", "3.3 min", "2.5 h", "11.6 d",
    ]  # fmt: skip
    assert [format_bytes(b) for b in (1200, 3.4e6, 5e9, 6e12)] == [
        "1 kB",
        "3.4 MB",
        "5.0 GB",
        "6.0 TB",
    ]
