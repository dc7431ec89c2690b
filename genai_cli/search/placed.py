"""Random and TPE searches: a round asks for the next trials and writes their folders."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genai_cli import compose, runs
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Joblib, Launcher, Slurm
from genai_cli.launchers.share import Needs, share, visible_gpus
from genai_cli.schema import TrainConfig
from genai_cli.search.space import space_of
from genai_cli.search.suggest import suggest
from genai_cli.search.trials import FAILED, RUNNING, Trial
from genai_cli.sweeps import folder as folders
from genai_cli.sweeps.asked import entry, write
from genai_cli.sweeps.settings import Sweep
from genai_cli.training import setup
from genai_cli.verbs.train import Prepared, prepare, start

SLURM = 4  # trials placed at once where neither the sweep nor the launcher says how many
MAY_DIFFER = ("outputs", "tags", "init_from", "trainer.accumulate", "trainer.loggers")


class Placed:
    """The rounds of such a search.

    Args:
        line: of `genai train -m`.
        sweep: its settings.
        how: the launcher, which says how many trials are placed at once.
    """

    def __init__(self, line: compose.Line, sweep: Sweep, how: Launcher) -> None:
        self.line, self.sweep = line, sweep
        self.space = space_of(line, sweep.over)
        self.varied = [d.key for d in self.space.dimensions]
        self.trials = int(min(sweep.trials, self.space.size))
        self.how, self.parallel = how, 1
        self.cells: list[compose.Cell] = []  # the corners, once they are checked
        self.notes: dict[str, None] = {}
        self.data: dict[str, Dataset] = {}

    @property
    def told(self) -> str:
        """What the search is going to do."""
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
            _alone(prepared)
            self.cells.append(cell)
            out.append(prepared)
        self.parallel = self.sweep.parallel or at_once(self.how, out[0].cfg)
        return out

    def begin(self, folder: Path, asked: dict[str, Any], prepared: Sequence[Prepared]) -> None:
        """Say what was chosen for the user; the cells are written by `next`."""
        for note in self.notes:
            print(note, file=sys.stderr)
        if self.trials < self.sweep.trials:
            few = f"there are {self.trials} combinations, not {self.sweep.trials}"
            print(f"{few}: every one is tried", file=sys.stderr)

    def resume(self, folder: Path, asked: dict[str, Any]) -> None:
        """See that the YAML files still give what the cells so far were made of.

        Raises:
            UserError: they do not.
        """
        first = self._prepared(self.space.corners()[0])[1].cfg
        self.parallel = self.sweep.parallel or at_once(self.how, first)
        for cell in asked["cells"]:
            given = dict(word.split("=", 1) for word in cell["overrides"])
            values = {key: given[key] for key in self.varied}
            try:
                old = setup.config_of(folder / cell["folder"])
            except UserError:
                continue  # deleted or damaged: another one will tell
            new = self._prepared(values)[1].cfg
            before, now = (runs.flat(setup.plain(c)) for c in (old, new))
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
        """The folders of the next trials, written; none when all are done."""
        left_out = [Trial("", o["values"], FAILED) for o in asked["left_out"]]
        known = [*trials, *left_out]
        jobs: list[Path] = []
        data: dict[Path, Dataset] = {}
        while len(jobs) < self.parallel and len(known) < self.trials:
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
            name = folders.cell_name(len(asked["cells"]), cell)
            (folder / name).mkdir(exist_ok=True)
            _write(prepared, asked["command"], folder / name)
            asked["cells"].append(entry(name, cell, setup.plain(prepared.cfg)))
            known.append(Trial(name, values, RUNNING))
            jobs.append(folder / name)
            data[folder / name] = prepared.data
        write(folder, asked)
        return jobs, data

    def _prepared(self, values: Mapping[str, str]) -> tuple[compose.Cell, Prepared]:
        words = self.space.words(values)
        line = self.line._replace(overrides=words, multirun=False)
        config = compose.cells("train", line)[0].config
        key = repr([config.dataset, config.split_seed])
        prepared = prepare(config, self.notes.setdefault, self.data.get(key))
        self.data[key] = prepared.data
        return compose.Cell(prepared.cfg, dict(values), words), prepared


def at_once(how: Launcher, cfg: TrainConfig) -> int:
    """How many cells like one of ``cfg`` the launcher runs at the same time."""
    if isinstance(how, Joblib):
        on_gpu = cfg.device in ("auto", "cuda")
        needs = Needs(cfg.trainer.threads or 0, on_gpu, cfg.trainer.devices)
        return share(sys.maxsize, how, needs, visible_gpus() if on_gpu else ()).workers
    if isinstance(how, Slurm):
        return how.parallel or SLURM
    return 1


def _alone(prepared: Prepared) -> None:
    pack = prepared.cfg.trainer.pack
    if pack != "none":
        raise UserError(f"trainer.pack={pack} is for search=grid: a search trains cells alone")


def _write(prepared: Prepared, command: str, folder: Path) -> None:
    """A run folder, in the place of one that a killed search may have left half written."""
    import shutil

    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    start(dataclasses.replace(prepared), command, folder)
