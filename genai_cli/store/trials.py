"""Read the trials of a search from their run folders, which hold all of its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.store import run_folder

WAITING, RUNNING, FINISHED, PRUNED, FAILED, INTERRUPTED = (
    "waiting",
    "running",
    "finished",  # or stopped early by its own patience
    "pruned",
    "failed",
    "interrupted",
)
ENDED = (FINISHED, PRUNED, FAILED)


class Goal(NamedTuple):
    """Holds the column of metrics.csv that a search optimises."""

    column: str
    rising: bool = False  # more is better

    def cost(self, value: float) -> float:
        """Convert a value to a cost, which is minimised."""
        return -value if self.rising else value


class Trial(NamedTuple):
    """Holds one cell of a search. Costs are the monitored values, less being better."""

    name: str  # of its folder, "" for one that could not be built
    values: Mapping[str, str]  # key → text
    state: str
    curve: Mapping[int, float] = {}  # epoch → cost
    cost: float | None = None  # of the weights that are kept, once it has ended
    epoch: int = 0  # of those weights
    steps: int = 0  # optimizer steps taken
    stopped: bool = False  # before its last epoch


def read_trial(folder: Path, values: Mapping[str, str], goal: Goal) -> Trial:
    """Read a trial from its run folder."""
    run_info = run_folder.read_json(folder / run_folder.RUN)
    status, reason = run_info.get("status"), str(run_info.get("reason") or "")
    if not (folder / run_folder.LOG).exists() and status in ("running", "interrupted"):
        return Trial(folder.name, values, WAITING)
    state = {"stopped": FINISHED}.get(str(status), str(status))
    if status == "stopped" and reason.startswith(PRUNED):
        state = PRUNED
    summary = run_folder.read_json(folder / run_folder.SUMMARY)
    if state in (FINISHED, PRUNED) and run_folder.unmeasured(summary):
        state = INTERRUPTED
    rows = run_folder.read_metrics(folder)
    curve = {int(row["epoch"]): goal.cost(row[goal.column]) for row in rows if goal.column in row}
    steps = int(rows[-1]["step"]) if rows else 0
    cost, epoch = None, 0
    if state in (FINISHED, PRUNED):
        monitored = summary.get("monitor") or {}
        if monitored.get("name") == goal.column:
            cost, epoch = goal.cost(float(monitored["value"])), int(monitored["epoch"])
    return Trial(folder.name, values, state, curve, cost, epoch, steps, status == "stopped")


class Trials:
    """Reads all trials of one sweep again at each call; those that have ended only once."""

    def __init__(self, folder: Path, goal: Goal) -> None:
        self.folder, self.goal = folder, goal
        self.ended: dict[str, Trial] = {}

    def read(self, cells: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> list[Trial]:
        """Read the trials in the order of ``cells``, sweep.yaml's; one without a folder failed to
        build.
        """
        trials = []
        for cell in cells:
            given = dict(o.split("=", 1) for o in cell["overrides"])
            values = {key: given[key] for key in varied if key in given}
            name = cell["folder"]
            if name in self.ended:
                trials.append(self.ended[name])
                continue
            trial = read_trial(self.folder / name, values, self.goal)
            if trial.state in ENDED:
                self.ended[name] = trial
            trials.append(trial)
        return trials


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial of least cost, the earlier of equals; pruned ones count, too."""
    known = [t for t in trials if t.cost is not None]
    return min(known, key=lambda t: t.cost) if known else None  # type: ignore[arg-type, return-value]
