"""Run random and TPE searches: each round suggests the next trials and writes their folders."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli.config import compose, schema
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Launcher, Processes, Slurm, gpus_of
from genai_cli.launchers.share import divide_machine, needs_of, resolve_per_gpu, visible_gpus
from genai_cli.runner.prepare import Prepared, prepare, start
from genai_cli.store import run_config
from genai_cli.store.trials import FAILED, RUNNING, Trial
from genai_cli.sweeps import cells
from genai_cli.sweeps.asked import cell_entry, write_manifest
from genai_cli.sweeps.search.space import build_space
from genai_cli.sweeps.search.suggest import suggest
from genai_cli.sweeps.settings import Sweep

SLURM_PARALLEL = 4  # trials placed at once where neither the sweep nor the launcher says how many
MAY_DIFFER = ("outputs", "tags", "init_from", "trainer.accumulate", "trainer.loggers")
MAY_DIFFER += ("figures.name", "figures.scale")


class SequentialSearch:
    """Runs a random or TPE search in rounds.

    Args:
        line: of `genai train -m`.
        sweep: its settings.
        launcher: the launcher, which says how many trials are placed at once.
    """

    def __init__(self, line: compose.CommandLine, sweep: Sweep, launcher: Launcher) -> None:
        self.line, self.sweep = line, sweep
        self.space = build_space(line, sweep.over)
        self.varied = [d.key for d in self.space.dimensions]
        self.trials = int(min(sweep.trials, self.space.size))
        self.launcher, self.parallel = launcher, 1
        self.cells: list[compose.ComposedCell] = []  # the corners, once they are checked
        self.notes: dict[str, None] = {}
        self.data: dict[str, Dataset] = {}

    @property
    def summary(self) -> str:
        """Return a line like ``20 trials, 4 at once``."""
        return f"{self.trials} trials, {self.parallel} at once"

    def prepare(self) -> list[Prepared]:
        """Check the corners of the space: every choice and both ends of every number.

        Raises:
            UserError: one cannot be trained; it is named.
        """
        out = []
        for values in self.space.corners():
            try:
                cell, prepared = self._prepared(values)
            except UserError as error:
                named = " ".join(f"{k}={v}" for k, v in values.items())
                raise UserError(f"cell {named}: {error}; nothing was launched") from None
            refuse_stack(prepared)
            self.cells.append(cell)
            out.append(prepared)
        self.parallel = self.sweep.parallel or count_parallel_trials(
            self.launcher, [p.cfg for p in out]
        )
        return out

    def begin(self, folder: Path, asked: dict[str, Any], prepared: Sequence[Prepared]) -> None:
        """Write sweep.yaml and print the notes; the cells are written by `next`."""
        write_manifest(folder, asked)
        for note in self.notes:
            print(note, file=sys.stderr)
        if self.trials < self.sweep.trials:
            few = f"there are {self.trials} combinations, not {self.sweep.trials}"
            print(f"{few}: every one is tried", file=sys.stderr)

    def resume(self, folder: Path, asked: dict[str, Any]) -> None:
        """Check that the YAML files still compose to the configs of the cells so far.

        Raises:
            UserError: they do not.
        """
        first = self._prepared(self.space.corners()[0])[1].cfg
        self.parallel = self.sweep.parallel or count_parallel_trials(self.launcher, [first])
        for cell in asked["cells"]:
            given = dict(word.split("=", 1) for word in cell["overrides"])
            values = {key: given[key] for key in self.varied}
            try:
                old = run_config.load_config(folder / cell["folder"])
            except UserError:
                continue  # deleted or damaged: another one will tell
            new = self._prepared(values)[1].cfg
            before, now = (schema.flatten(schema.to_dict(c)) for c in (old, new))
            for key in before:
                if before[key] != now.get(key) and key not in MAY_DIFFER:
                    raise UserError(
                        f"{key} was {before[key]} when this search began and is now "
                        f"{now.get(key)}: a YAML file has changed; put it back"
                    )
            return

    def next(
        self, folder: Path, asked: dict[str, Any], trials: Sequence[Trial]
    ) -> tuple[list[Path], dict[Path, Dataset]]:
        """Write the folders of the next trials and return them; none when all are done."""
        left_out = [Trial("", o["values"], FAILED) for o in asked["left_out"]]
        known = [*trials, *left_out]
        ready: dict[Path, Prepared] = {}
        while len(ready) < self.parallel and len(known) < self.trials:
            values = suggest(self.space, self.sweep, known)
            if values is None:
                break
            try:
                cell, prepared = self._prepared(values)
            except UserError as error:
                named = " ".join(f"{k}={v}" for k, v in values.items())
                print(f"left out: cell {named}: {error}", file=sys.stderr)
                why = {"cell": named, "why": str(error), "values": values}
                asked["left_out"].append(why)
                known.append(Trial("", values, FAILED))
                continue
            name = cells.cell_name(len(asked["cells"]), cell)
            asked["cells"].append(cell_entry(name, cell, schema.to_dict(prepared.cfg)))
            known.append(Trial(name, values, RUNNING))
            ready[folder / name] = prepared
        write_manifest(folder, asked)  # before the folders: from then on they can be written again
        for path, prepared in ready.items():
            path.mkdir()
            start(prepared, asked["command"], path)
        return list(ready), {path: prepared.data for path, prepared in ready.items()}

    def first(self, cell: Path, cfg: TrainConfig) -> TrainConfig:
        """Return the config unchanged: a trial is trained as composed."""
        return cfg

    now = first

    def _prepared(self, values: Mapping[str, str]) -> tuple[compose.ComposedCell, Prepared]:
        words = self.space.words(values)
        line = self.line._replace(overrides=words, multirun=False)
        config = compose.compose_cells("train", line)[0].config
        key = repr([config.dataset, config.split_seed])
        known, gpus = self.data.get(key), gpus_of(self.launcher)
        prepared = prepare(config, self.notes.setdefault, known, gpus=gpus)
        self.data[key] = prepared.data
        return compose.ComposedCell(prepared.cfg, dict(values), words), prepared


def count_parallel_trials(launcher: Launcher, configs: Sequence[TrainConfig]) -> int:
    """Return the number of cells like these that the launcher runs at the same time."""
    if isinstance(launcher, Processes):
        asked = needs_of(map(schema.to_dict, configs))
        gpus = visible_gpus() if asked.gpu or asked.named else []
        launcher = resolve_per_gpu(launcher, lambda: configs) if gpus else launcher
        return divide_machine(sys.maxsize, launcher, asked, gpus).workers
    if isinstance(launcher, Slurm):
        return launcher.parallel or SLURM_PARALLEL
    return 1


def refuse_stack(prepared: Prepared) -> None:
    pack = prepared.cfg.trainer.pack
    if pack != "none":
        raise UserError(f"trainer.pack={pack} is for search=grid: a search trains cells alone")
