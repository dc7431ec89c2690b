"""Successive halving: train all cells to a first rung and the best share of them to the next.

Which cells go on is a function of what lies in their metrics.csv, so that it can be asked again at
any time, by another process, under another launcher (Jamieson & Talwalkar 2016, "Non-stochastic
best arm identification and hyperparameter optimization").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genai_cli.config import compose, schema
from genai_cli.config.schema import TrainConfig
from genai_cli.config.sweep_lists import cell_keys
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Launcher, gpus_of
from genai_cli.runner.lifecycle import set_status
from genai_cli.runner.prepare import Prepared, start
from genai_cli.store import run_folder
from genai_cli.store.trials import FAILED, FINISHED, Trial
from genai_cli.sweeps import cells as cells_module
from genai_cli.sweeps.asked import cell_entry, write_manifest
from genai_cli.sweeps.checked import SkipInvalid, refuse_sweep, validate_cells
from genai_cli.sweeps.search.placed import refuse_stack
from genai_cli.sweeps.settings import Sweep


def select_next_rung(
    trials: Sequence[Trial], rungs: Sequence[int], keep: float
) -> tuple[int, list[Trial]]:
    """Return (rung, the cells to train to it), or (the last rung, []) when all is done.

    Args:
        trials: all cells.
        rungs: epochs, rising.
        keep: the share that goes on from each, at least one.
    """
    alive = list(trials)
    for rung in rungs:
        missing = [t for t in alive if not _reached(t, rung)]
        if missing:
            return rung, missing
        ranked = [
            (t.curve[min(rung, max(t.curve))], i) for i, t in enumerate(alive) if _has_curve(t)
        ]
        number = max(1, round(keep * len(alive)))
        alive = [alive[i] for i in sorted(i for _, i in sorted(ranked)[:number])]
    return rungs[-1], []


def _has_curve(trial: Trial) -> bool:
    return trial.state != FAILED and bool(trial.curve)


def _reached(trial: Trial, rung: int) -> bool:
    """It has come to the rung, or to an end of its own before it."""
    if trial.state == FAILED or max(trial.curve, default=0) > rung:
        return True
    return trial.state == FINISHED and (rung in trial.curve or trial.stopped)


class HalvingSearch:
    """Runs successive halving in rounds; arguments as of `search.placed.SequentialSearch`."""

    def __init__(self, line: compose.CommandLine, sweep: Sweep, launcher: Launcher) -> None:
        self.line, self.sweep, self.summary = line, sweep, ""
        self.gpus = gpus_of(launcher)
        self.varied: list[str] = []
        self.cells: list[compose.ComposedCell] = []
        self.tried: set[tuple[str, int]] = set()  # cells and rungs of this session
        self.data: dict[Path, Dataset] = {}
        given = [*line.overrides, *sweep.over, *cell_keys(sweep.cells)]
        if any(word.partition("=")[0] == "epochs" for word in given):
            raise UserError("epochs is the last of sweep.rungs in successive halving; leave it out")

    def prepare(self) -> list[Prepared]:
        """Validate all cells, with learning-rate schedules stretched to the last rung."""
        last = f"epochs={self.sweep.rungs[-1]}"
        line = self.line._replace(overrides=[*self.line.overrides, last])
        refuse = SkipInvalid() if self.sweep.skip_invalid else refuse_sweep
        composed = compose.compose_cells("train", line, self.sweep.over, refuse, self.sweep.cells)
        kept = validate_cells(composed, refuse, self.gpus)
        self.cells = [cell for cell, _ in kept]
        self.varied = list(dict.fromkeys(key for cell in self.cells for key in cell.swept))
        for _, prepared in kept:
            refuse_stack(prepared)
        self.summary = f"{len(kept)} runs, rungs at {self.sweep.rungs} epochs"
        return [prepared for _, prepared in kept]

    def begin(self, folder: Path, asked: dict[str, Any], prepared: Sequence[Prepared]) -> None:
        """Write all cells, to be trained to the first rung; sweep.yaml first, from which any
        of them can be written again."""
        ready: dict[Path, Prepared] = {}
        for i, (cell, one) in enumerate(zip(self.cells, prepared, strict=True)):
            path = folder / cells_module.cell_name(i, cell)
            cfg = self.first(path, one.cfg)
            ready[path] = dataclasses.replace(one, cfg=cfg)
            asked["cells"].append(cell_entry(path.name, cell, schema.to_dict(cfg)))
            self.data[path] = one.data
        write_manifest(folder, asked)
        for path, one in ready.items():
            path.mkdir()
            start(one, asked["command"], path)

    def first(self, cell: Path, cfg: TrainConfig) -> TrainConfig:
        """Return the config of a new cell: that of its words, with the epochs of the first rung."""
        return dataclasses.replace(cfg, epochs=self.sweep.rungs[0])

    def now(self, cell: Path, cfg: TrainConfig) -> TrainConfig:
        """Return the config of a cell for the rung that its metrics.csv has reached."""
        done = max((row["epoch"] for row in run_folder.read_metrics(cell)), default=0)
        rung = next((r for r in self.sweep.rungs if r >= done), self.sweep.rungs[-1])
        return dataclasses.replace(cfg, epochs=rung)

    def resume(self, folder: Path, asked: dict[str, Any]) -> None:
        """Read the varied keys; every cell is written already."""
        self.varied = asked["varied"]

    def next(
        self, folder: Path, asked: dict[str, Any], trials: Sequence[Trial]
    ) -> tuple[list[Path], dict[Path, Dataset]]:
        """Return the folders of the cells that go on, with configs up to the next rung."""
        while True:
            rung, cells = select_next_rung(trials, self.sweep.rungs, self.sweep.keep)
            lost = [t.name for t in cells if (t.name, rung) in self.tried]
            if not lost:
                break
            trials = [t._replace(state=FAILED) if t.name in lost else t for t in trials]
        self.tried |= {(t.name, rung) for t in cells}
        for trial in cells:
            config = run_folder.read_config(folder / trial.name)
            if config["epochs"] != rung:
                run_folder.write_config(folder / trial.name, config | {"epochs": rung})
                set_status(folder / trial.name, "running")
        if cells:
            number = self.sweep.rungs.index(rung) + 1
            print(f"\nrung {number} of {len(self.sweep.rungs)}: {len(cells)} runs to epoch {rung}")
        return [folder / t.name for t in cells], self.data
