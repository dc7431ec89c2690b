"""Workers × threads never exceed the cores; what a cell has begun with it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.launchers import share as shares
from genai_cli.launchers.settings import Processes
from genai_cli.launchers.share import Needs, assign_threads, divide_machine, needs, needs_of
from genai_cli.store import run_config, run_folder
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

CPU, GPU = Needs(0, False), Needs(0, True)


@pytest.mark.parametrize(
    ("cores", "jobs", "how", "asked", "gpus", "workers", "threads"),
    [
        (8, 100, Processes(), CPU, (), 8, 1),
        (8, 3, Processes(), CPU, (), 3, 2),
        (8, 100, Processes(workers=2), CPU, (), 2, 4),
        (8, 100, Processes(workers=16), CPU, (), 8, 1),
        (8, 100, Processes(), Needs(3, False), (), 2, 3),
        (8, 100, Processes(workers=4), Needs(4, False), (), 2, 4),
        (2, 100, Processes(), Needs(4, False), (), 1, 4),
        (16, 100, Processes(), GPU, ("0", "1"), 2, 8),
        (16, 100, Processes(per_gpu=3), GPU, ("0", "1"), 6, 2),
        (16, 100, Processes(), CPU, ("0", "1"), 16, 1),
        (1, 1, Processes(), CPU, (), 1, 1),
        (8, 100, Processes(), Needs(0, False, 2), (), 4, 1),
        (8, 100, Processes(workers=2), Needs(0, False, 2), (), 2, 2),
        (16, 100, Processes(), Needs(0, True, 2), ("0", "1", "2", "3", "4"), 2, 4),
        (16, 100, Processes(per_gpu=3), Needs(0, False, 1, 1), ("0", "1"), 3, 5),
        (16, 100, Processes(), Needs(0, True, 1, 2), ("0", "1"), 2, 8),
        (16, 100, Processes(), Needs(0, False, 1, 1), (), 16, 1),
    ],
)
def test_shares(
    cores: int, jobs: int, how: Processes, asked: Needs, gpus: tuple[str, ...],
    workers: int, threads: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(shares, "cores", lambda: cores)
    parts = divide_machine(jobs, how, asked, gpus)
    assert (parts.workers, parts.threads) == (workers, threads)
    assert parts.workers * parts.ranks * parts.threads <= max(cores, asked.threads)
    assert bool(parts.note) == (how.workers is not None and workers < min(how.workers, jobs))


def test_the_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "cores", lambda: 4)
    parts = divide_machine(9, Processes(per_gpu=2), GPU, ("3", "GPU-ab"))
    got = [parts.environment(i) for i in range(parts.workers)]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in got] == ["3", "GPU-ab", "3", "GPU-ab"]
    assert {(e["OMP_NUM_THREADS"], e["GENAI_CORES"]) for e in got} == {("1", "1")}


def test_a_named_gpu_counts_and_none_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "cores", lambda: 16)
    configs = [{"device": device} for device in ("cuda:1", "auto", "cuda:1")]
    assert needs_of(configs[:1]) == Needs(0, False, 1, 1)
    assert needs_of(configs) == Needs(0, True, 1, 2)
    parts = divide_machine(9, Processes(per_gpu=2), needs_of(configs), ("0", "1"))
    assert (parts.workers, parts.gpus) == (4, ())  # cuda:1 is the second of those that are seen


def test_a_worker_of_several_ranks_has_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "cores", lambda: 16)
    parts = divide_machine(9, Processes(), Needs(0, True, 2), ("0", "1", "2", "3", "4"))
    assert parts.gpus == ("0,1", "2,3")
    assert parts.environment(1)["GENAI_CORES"] == "8"


def test_threads_of_cells(genai: Callable) -> None:
    done = genai("train", "-m", "bottleneck=2,3,4", "trainer.max_steps=1", "dataset.limit=64")
    cells = run_folder.cells(done.folders[0])
    assert needs(cells) == Needs(1, True)  # they have begun, with one
    for cell, threads in zip(cells, (1, 2, 2), strict=True):
        described = run_folder.read_json(cell / run_folder.RUN)
        atomic_write.write_json(cell / run_folder.RUN, described | {"threads": threads})
    (cells[1] / run_folder.LOG).unlink()  # has not
    assert needs(cells[:2]).threads == 1
    assign_threads(cells, 6)
    assert [run_folder.read_json(c / run_folder.RUN)["threads"] for c in cells] == [1, 6, 2]


def test_threads_given_are_needed_and_kept(genai: Callable, tmp_path: Path) -> None:
    done = genai("train", "trainer.threads=2", "trainer.max_steps=1", "dataset.limit=64",
                 "device=cpu")  # fmt: skip
    (folder,) = done.folders
    (folder / run_folder.LOG).unlink()
    assert needs([folder]) == Needs(2, False)
    assign_threads([folder], 6)
    assert run_folder.read_json(folder / run_folder.RUN)["threads"] == 2


def test_cells_that_fit_on_a_gpu_by_measured_memory(genai: Callable, measured: list[int]) -> None:
    done = genai("train", "-m", "bottleneck=2,3", "seed=1,2", "trainer.max_steps=1",
                 "dataset.limit=64")  # fmt: skip
    cells = [run_config.load_config(cell) for cell in run_folder.cells(done.folders[0])]
    assert shares.count_cells_per_gpu(cells, 10 * 2**30) == 9  # 0.9 of 10 GiB, 400 and 600 MiB each
    assert measured == [2, 3]
    assert shares.count_cells_per_gpu(cells, 2**20) == 1
