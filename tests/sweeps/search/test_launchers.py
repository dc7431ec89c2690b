"""Searches on GPUs and clusters: how many trials at once, and trials that are queued."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genai_cli.config import compose
from genai_cli.launchers import queue, serial, share
from genai_cli.launchers.settings import Processes
from genai_cli.store import run_folder
from genai_cli.sweeps.search import placed
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

LINE = (
    "train",
    "-m",
    "sweep=random",
    "sweep.trials=2",
    "dataset.limit=64",
    "bottleneck=range(2,9)",
)


def test_as_many_trials_at_once_as_fit_on_the_gpu(
    measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placed, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(share, "free_memory", lambda: 4 * 2**30)
    monkeypatch.setattr(share, "cores", lambda: 64)
    line = compose.parse_line(["-m", "bottleneck=2,8", "device=cuda"])
    corners = [cell.config for cell in compose.compose_cells("train", line)]
    assert (
        placed.count_parallel_trials(Processes(per_gpu=None), corners) == 6
    )  # 3 of 1000 MiB in 0.9 of 4 GiB
    assert measured == [2, 8]
    assert placed.count_parallel_trials(Processes(per_gpu=2), corners) == 4
    line = compose.parse_line(["-m", "bottleneck=2,8", "device=cuda:1"])
    named = [cell.config for cell in compose.compose_cells("train", line)]
    assert placed.count_parallel_trials(Processes(per_gpu=2), named) == 2


def test_trials_that_are_queued_are_not_started_again(
    genai: Callable, squeue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(serial, "train_job", lambda *a, **k: 0)
        (sweep,) = genai(*LINE).folders
    cells = run_folder.cells(sweep)
    (sweep / "slurm").mkdir()
    jobs = [[cell.name] for cell in cells]
    atomic_write.write_json(sweep / "slurm" / "000.json", {"job": "7", "jobs": jobs})
    monkeypatch.setattr(queue, "read_states", lambda number: {0: ("PENDING", "Resources")})
    before = [(cell / run_folder.RUN).read_text() for cell in cells]
    done = genai("sweep", "resume", str(sweep))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "still in Slurm's queue; when they are over go on with: genai sweep resume" in done.err
    assert [(cell / run_folder.RUN).read_text() for cell in cells] == before
