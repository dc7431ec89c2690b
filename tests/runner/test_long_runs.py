"""Runs of many epochs: what grows with their number is one row of metrics.csv, and nothing else."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from genai_cli.runner.console import LINES, Reporter
from genai_cli.store import run_folder
from genai_cli.store.metrics_csv import MetricsWriter

TINY = (
    "model=autoencoder", "model.widths=[4]", "bottleneck=2", "dataset.limit=16", "batch_size=4",
    "trainer.threads=1", "trainer.step=eager",
)  # fmt: skip


def row(epoch: int, **more: float) -> dict[str, float]:
    return {"epoch": epoch, "step": 4 * epoch, "seconds": 0.1 * epoch, "train/loss": 1.0, **more}


def test_a_row_costs_the_same_whatever_stands_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = MetricsWriter(tmp_path)
    for epoch in range(1, 101):
        metrics.add(row(epoch))
    monkeypatch.setattr(MetricsWriter, "_write", None)  # no row is ever written twice
    monkeypatch.setattr("genai_cli.store.metrics_csv.read_metrics", None)
    for epoch in range(101, 201):
        metrics.add(row(epoch))
    rows = run_folder.read_metrics(tmp_path)
    assert [r["epoch"] for r in rows] == list(range(1, 201))
    held = [value for value in vars(metrics).values() if isinstance(value, dict | list)]
    assert held
    assert max(map(len, held)) < 10


def test_a_late_column_keeps_all_rows(tmp_path: Path) -> None:
    metrics = MetricsWriter(tmp_path)
    for epoch in range(1, 6):
        metrics.add(row(epoch))
    metrics.add(row(6, **{"val/loss": 0.25}))
    again = MetricsWriter(tmp_path, up_to_step=24)
    again.add(row(7, **{"train/kl": 0.5}))
    rows = run_folder.read_metrics(tmp_path)
    assert [r["epoch"] for r in rows] == list(range(1, 8))
    assert (rows[5]["val/loss"], rows[6]["train/kl"], again.last) == (0.25, 0.5, rows[6])


@pytest.mark.parametrize("epochs", [3, 999, 20_000])
def test_the_log_of_a_long_run_stays_small(epochs: int, tmp_path: Path, capsys) -> None:
    with Reporter(tmp_path / run_folder.LOG) as report:
        report.epochs = epochs
        for epoch in range(1, epochs + 1):
            report.epoch(row(epoch), best=False)
    lines = (tmp_path / run_folder.LOG).read_text().splitlines()
    assert min(epochs, LINES) <= len(lines) < 2 * LINES
    assert lines[-1].startswith(f"epoch {epochs}/{epochs}")
    assert capsys.readouterr().out.splitlines() == lines


def open_files() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that listed them
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def held() -> float:
    """MB of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("epochs", "saves", "figures"),
    [
        pytest.param(40, 4, 16),
        pytest.param(2500, 12, 50, marks=pytest.mark.torture),  # 10,000 steps, 208 checkpoints
    ],
)
def test_memory_and_files_stay(
    epochs: int, saves: int, figures: int, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a warm-up with figures: caches of torch, the allocator's pools, fonts."""
    from genai_cli.runner.session import Session

    seen: list[tuple[int, float, set[str]]] = []
    plain = Session._write

    def counting(self: Session, *args: object) -> None:
        plain(self, *args)
        if self.state.epoch % max(1, epochs // 20) == 0:
            gc.collect()
            seen.append((self.state.epoch, held(), open_files()))

    monkeypatch.setattr(Session, "_write", counting)
    gc.freeze()  # what is there already need not be searched at every count
    words = (f"epochs={epochs}", f"trainer.save_every={saves}", f"trainer.figures_every={figures}")
    done = genai("train", *TINY, *words)
    gc.unfreeze()
    assert done.code == 0, done.err
    warm = [s for s in seen if s[0] >= max(epochs // 5, figures)]
    half = len(warm) // 2
    grown = (
        sum(m for _, m, _ in warm[half:]) / (len(warm) - half)
        - sum(m for _, m, _ in warm[:half]) / half
    )
    assert grown < 6, [f"{e}: {m:.1f}" for e, m, _ in seen]
    assert len({frozenset(files) for *_, files in warm}) == 1
    kept = list((done.folders[0] / run_folder.CHECKPOINTS).glob("step-*"))
    assert len(kept) <= 3  # trainer.keep=2 and the best
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
