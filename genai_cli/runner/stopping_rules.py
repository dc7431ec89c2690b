"""Rules that end a run early: a stop request, or pruning by its sweep.

A run looks after each epoch itself, from the folders beside its own. So pruning is the same under
every launcher, on every node that shares the disk, and for one run after the other: nobody has to
watch, and no service has to live.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from genai_cli.store import run_folder, safe_yaml
from genai_cli.store.trials import ENDED, FINISHED, PRUNED, Goal, Trial, read_trial
from genai_cli.system import atomic_write
from genai_cli.system.text import format_number

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.training.state import Training

STOP = "stop"  # a file with this name in a run folder ends the run; its first line says why


class Rule(NamedTuple):
    """The pruning settings of a sweep, read from its YAML."""

    kind: str  # median or asha
    after: int  # epochs
    startup: int  # finished runs that a median is taken of, at least
    keep: float


def read_rule(sweep: Path) -> Rule | None:
    """Read the pruning rule from the head of sweep.yaml, a small part of a large file."""
    try:
        head = (sweep / run_folder.SWEEP).read_text(encoding="utf-8").partition("\ncells:")[0]
        asked = safe_yaml.load(head)["sweep"]
        rule = Rule(asked["prune"], asked["prune_after"], asked["startup"], asked["keep"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    return rule if rule.kind in ("median", "asha") else None


def decides_at(rule: Rule, epoch: int) -> bool:
    """Return whether the rule decides after this epoch: asha does at epochs after × keep⁻ᵏ."""
    rung = float(rule.after)
    while rule.kind == "asha" and round(rung) < epoch:
        rung /= rule.keep
    return epoch >= rule.after if rule.kind == "median" else round(rung) == epoch


def pruning_bar(
    rule: Rule, epoch: int, cost: float, best: float, others: Sequence[Trial]
) -> tuple[str, float] | None:
    """Return (what the run is compared with, the threshold) if it should end here, else None.

    Args:
        rule: of the sweep.
        epoch: just done.
        cost: after it; less is better.
        best: the least so far.
        others: the other runs.
    """
    if not decides_at(rule, epoch):
        return None
    if rule.kind == "median":
        return _median(rule, epoch, best, others)
    return _asha(rule, epoch, cost, others)


def _median(
    rule: Rule, epoch: int, best: float, others: Sequence[Trial]
) -> tuple[str, float] | None:
    """Worse at its best than the median of the finished runs at this epoch (Golovin et al. 2017,
    "Google Vizier", 3.4.2, with Optuna's reading of it)."""
    finished = [t for t in others if t.state == FINISHED]
    values = [t.curve[epoch] for t in finished if epoch in t.curve]
    if len(finished) < rule.startup or not values:
        return None
    bar = statistics.median(values)
    return (f"median of {len(values)} finished runs", bar) if best > bar else None


def _asha(rule: Rule, epoch: int, cost: float, others: Sequence[Trial]) -> tuple[str, float] | None:
    """Asynchronous successive halving (Li et al. 2020, "A system for massively parallel
    hyperparameter tuning", the variant that stops instead of pausing): a run goes on if it is among
    the best ``keep`` of those that came so far."""
    values = sorted([cost, *(t.curve[epoch] for t in others if epoch in t.curve)])
    if len(values) * rule.keep < 1 - 1e-9:
        return None  # too few to tell
    bar = values[max(1, int(len(values) * rule.keep + 1e-9)) - 1]
    return (f"best {rule.keep:.0%} of {len(values)} runs", bar) if cost > bar else None


class StoppingRules:
    """Decides after each epoch whether a run should stop.

    Args:
        folder: of the run.
        cfg: its config.
        epoch: that it goes on after.
    """

    def __init__(self, folder: Path, cfg: TrainConfig, epoch: int = 0) -> None:
        run_info = run_folder.read_json(folder / run_folder.RUN)
        self.folder, self.monitor = folder, cfg.monitor
        # killed after that was decided and before it was concluded: what is decided stands, and
        # from an older checkpoint it comes there once more
        self.last = int(run_info.get("reason_epoch") or 0) if run_info.get("reason") else None
        self.stopped = self.last is not None and epoch >= self.last
        wanted = cfg.monitor is not None and run_info.get("prune", True)
        self.rule = read_rule(folder.parent) if wanted else None
        self.ended: dict[Path, Trial] = {}

    def should_stop(self, now: Training, row: Mapping[str, float]) -> bool:
        """Return whether the run should end after this epoch, and write the reason to run.json."""
        reason = ""
        if self.last is None:
            reason = self._asked() or self._pruned(now, row)
        if reason:
            run_info = run_folder.read_json(self.folder / run_folder.RUN)
            decided = {"reason": reason, "reason_epoch": now.epoch}
            atomic_write.write_json(self.folder / run_folder.RUN, run_info | decided)
            self.last = now.epoch
        self.stopped = self.last is not None and now.epoch >= self.last
        if self.stopped:
            (self.folder / STOP).unlink(missing_ok=True)
        return self.stopped

    def _asked(self) -> str:
        try:
            text = (self.folder / STOP).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
        return f"asked to stop: {text.splitlines()[0][:200]}" if text else "asked to stop"

    def _pruned(self, now: Training, row: Mapping[str, float]) -> str:
        # while the objective itself still changes (KL warm-up) nothing can be compared
        if self.rule is None or now.step < now.model.warmup_steps:
            return ""
        goal = Goal(
            str(self.monitor), str(self.monitor).rpartition("/")[2] in now.model.higher_is_better
        )
        cost = goal.cost(row[goal.column])
        if not decides_at(self.rule, now.epoch):
            return ""
        verdict = pruning_bar(self.rule, now.epoch, cost, now.best, self._read(goal))
        if verdict is None:
            return ""
        what, bar = verdict
        value = now.best if self.rule.kind == "median" else cost
        return (
            f"{PRUNED} at epoch {now.epoch}: {goal.column} {format_number(goal.cost(value))}, "
            f"{what} {format_number(goal.cost(bar))}"
        )

    def _read(self, goal: Goal) -> list[Trial]:
        """The runs beside this one; those that have ended are read once."""
        trials = []
        for folder in sorted(self.folder.parent.iterdir()):
            trial = self.ended.get(folder)
            if trial is None and folder != self.folder and (folder / run_folder.METRICS).exists():
                trial = read_trial(folder, {}, goal)
                if trial.state in ENDED:
                    self.ended[folder] = trial
            if trial is not None:
                trials.append(trial)
        return trials
