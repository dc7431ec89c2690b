"""Divide the cores and GPUs of this machine among the workers of a sweep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_cli.launchers.settings import Processes
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.cpu import cores

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig

CONTEXT_BYTES = 600 * 2**20  # bytes of a GPU that a process takes before its first tensor
SPARE_FRACTION = 0.1  # share of a GPU left free: what torch asks for in whole blocks


class WorkerResources(NamedTuple):
    """Resources of each worker: workers × ranks × threads never exceed the cores."""

    workers: int
    threads: int  # CPU threads of each process
    ranks: int  # processes that a cell is trained by: trainer.devices
    gpus: tuple[str, ...]  # CUDA_VISIBLE_DEVICES of worker i, by i % len; () leaves it alone
    note: str  # why there are fewer workers than were asked for, or ""

    def environment(self, worker: int) -> dict[str, str]:
        """Return the environment of worker number ``worker``; torch reads it on import."""
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(self.threads)
        environment["GENAI_CORES"] = str(self.threads * self.ranks)
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[worker % len(self.gpus)]
        return environment


class Needs(NamedTuple):
    """Resources that the cells of a sweep need."""

    threads: int  # that some cell must have: trainer.threads, or what it began with; 0 if none
    gpu: bool  # a cell may run on any GPU
    ranks: int = 1  # the most devices of a cell
    named: int = 0  # GPUs that cells name (device=cuda:1), cuda:0 where others may run on any


def needs(cells: Iterable[Path]) -> Needs:
    """Return the needs of cells, read from their folders."""
    configs = []
    for cell in cells:
        config = run_folder.read_config(cell)
        trainer = config.get("trainer") or {}
        if trainer.get("threads") is None and (cell / run_folder.LOG).exists():
            begun_with = run_folder.read_json(cell / run_folder.RUN).get("threads")
            config["trainer"] = trainer | {"threads": begun_with}  # and goes on with
        configs.append(config)
    return needs_of(configs)


def needs_of(configs: Iterable[Mapping[str, Any]]) -> Needs:
    """Return the needs of configs given as plain data."""
    threads, gpu, ranks, named = 0, False, 1, set()
    for config in configs:
        trainer, device = config.get("trainer") or {}, str(config.get("device"))
        ranks = max(ranks, trainer.get("devices") or 1)
        threads = max(threads, trainer.get("threads") or 0)
        gpu = gpu or device in ("auto", "cuda")
        if device.startswith("cuda:"):
            named.add(device)
    return Needs(threads, gpu, ranks, len(named | {"cuda:0"} if gpu and named else named))


def divide_machine(
    jobs: int, launcher: Processes, asked: Needs, gpus: Sequence[str]
) -> WorkerResources:
    """Divide this machine: a worker for each GPU, without one for each core.

    Args:
        jobs: how many there are: more workers than that have nothing to do.
        launcher: ``workers`` and ``per_gpu``.
        asked: of the cells.
        gpus: the names of the visible ones, as CUDA_VISIBLE_DEVICES has them.
    """
    have = cores()
    on: tuple[str, ...] = ()
    if asked.gpu and gpus and not asked.named:  # a name counts all that are there: hide none
        n = asked.ranks  # GPUs of one worker stand together
        on = tuple(",".join(gpus[i : i + n]) for i in range(0, len(gpus) - n + 1, n))
    most = max(1, have // (max(1, asked.threads) * asked.ranks))
    slots = asked.named if asked.named and gpus else len(on)
    wanted = launcher.workers or (slots * (launcher.per_gpu or 1) if slots else most)
    workers = max(1, min(wanted, jobs, most))
    note = ""
    if workers < min(launcher.workers or 0, jobs):
        each = f" with {asked.threads} threads each" if asked.threads > 1 else ""
        note = f"hydra.launcher.workers={launcher.workers}: {have} cores are enough for "
        note += f"{workers}{each}"
    threads = asked.threads or max(1, have // (workers * asked.ranks))
    return WorkerResources(workers, threads, asked.ranks, on, note)


def visible_gpus() -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them, or numbered where it is not set."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = [x for x in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if x]
    return named or [str(i) for i in range(torch.cuda.device_count())]


def resolve_per_gpu(launcher: Processes, configs: Callable[[], Iterable[TrainConfig]]) -> Processes:
    """Return the settings with ``per_gpu=null`` replaced by a measured number of processes.

    Args:
        launcher: as asked.
        configs: gives those of the cells, where something is to be measured.
    """
    if launcher.per_gpu is not None or launcher.workers is not None:
        return launcher
    many = count_cells_per_gpu(configs(), free_memory())
    print(f"launch {many} cells fit on a GPU, by measured memory", flush=True)
    return replace(launcher, per_gpu=many)


def count_cells_per_gpu(configs: Iterable[TrainConfig], free: int) -> int:
    """Return the number of cells that fit on a GPU together, by the largest measured shape.

    Args:
        configs: of the cells.
        free: bytes of the GPU.
    """
    from genai_cli.config import schema
    from genai_cli.runner.cost import Failed, measure_cost, shape

    shapes = {shape(cfg): cfg for cfg in configs}
    most = 0
    for cfg in shapes.values():
        try:
            most = max(most, measure_cost(schema.to_dict(cfg), os.environ).gpu or 0)
        except Failed:  # it will fail as a cell, too, and say why there
            continue
    return max(1, int(free * (1 - SPARE_FRACTION)) // (most + CONTEXT_BYTES))


def free_memory() -> int:
    """Return the smallest number of free bytes among the visible GPUs."""
    import torch

    return min(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))


def assign_threads(cells: Iterable[Path], threads: int) -> None:
    """Set ``threads`` of cells that have not begun and leave the number open.

    One thread stays one: the cell's steps are too small to be shared.
    """
    for cell in cells:
        described = run_folder.read_json(cell / run_folder.RUN)
        counted = described.get("threads") or 1
        if counted == 1 or counted == threads or (cell / run_folder.LOG).exists():
            continue
        if run_folder.read_config(cell)["trainer"].get("threads") is None:
            atomic_write.write_json(cell / run_folder.RUN, described | {"threads": threads})


def clear_machine(cells: Iterable[Path]) -> None:
    """Clear device and threads detected here from cells that begin on another machine."""
    for cell in cells:
        described = run_folder.read_json(cell / run_folder.RUN)
        if described.get("device") is None or (cell / run_folder.LOG).exists():
            continue
        threads = run_folder.read_config(cell)["trainer"].get("threads")
        atomic_write.write_json(
            cell / run_folder.RUN, described | {"device": None, "threads": threads}
        )
