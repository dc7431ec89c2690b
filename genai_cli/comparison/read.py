"""Read the text files of a run folder for a comparison, checked entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.config import schema
from genai_cli.errors import UserError
from genai_cli.evaluation.measures import BY_NAME
from genai_cli.models.families import family
from genai_cli.store import run_folder
from genai_cli.store.labels import reference
from genai_cli.store.metrics_csv import last_row

EVALUATIONS, EVALUATION = "evaluation", "evaluation.json"
HUGE = 1e300  # no number of ours; an integer of JSON has no end
DONE = ("finished", "stopped", "interrupted")  # statuses of runs whose numbers are those of a model
SUMMARY = {  # what the end of a run measures in the same way
    "test/mse": "reconstruction/mse",
    "test/bits_per_dim": "likelihood/bits_per_dim",
}
PREDICTED = {"test/accuracy": "prediction/accuracy", "test/r2": "prediction/r2"}


class Measurement(NamedTuple):
    """One number that a run could show for a measure."""

    entry: dict[str, Any]
    finished: str  # time; the newest of equals is shown
    evaluated: bool  # by `genai evaluate`, not at the end of the run


@dataclass
class Run:
    """One run folder as data; damage shows as blanks and notes."""

    path: Path
    reference: str
    model: str
    dataset: str
    split: str  # hash of the splits
    validation: str  # split, or test: validated on the test split
    config: dict[str, Any]  # dotted keys
    status: str
    finished: str  # when the training ended
    seed: int | None
    parameters: int | None
    seconds: float | None
    machine: dict[str, Any]  # device, threads, precision of the training
    evaluations: list[dict[str, Any]]
    summary: dict[str, dict[str, Any]]
    notes: list[str]
    label: str = ""  # set by the comparison
    predicts: bool = False  # classes or values, and makes no samples

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv, [] where it cannot be read."""
        try:
            return run_folder.read_metrics(self.path)
        except (OSError, UserError):
            return []

    @property
    def complete(self) -> bool:
        """Return True if an evaluation measured everything that applies to the family."""
        return any(not settings_of(e).get("only") for e in self.evaluations if not self.stale(e))

    def stale(self, evaluation: Mapping[str, Any]) -> bool:
        """Return True if the run was trained further after the evaluation."""
        return str(evaluation.get("finished") or "") < self.finished

    def matches(self, evaluation: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Return True if an evaluation has these settings, the family's options included."""
        settings = settings_of(evaluation)
        options = settings.get("options")
        have = settings | (options if isinstance(options, dict) else {})
        asked = dict(wanted)
        if asked.get("checkpoint") in ("best", "last"):
            asked["checkpoint"] = self._pointed(asked["checkpoint"])
        if asked.get("features") == "auto":
            del asked["features"]
        return all(str(have.get(k)) == str(v) for k, v in asked.items())

    def _pointed(self, word: str) -> str:
        """The checkpoint that best or last names."""
        try:
            return (self.path / run_folder.CHECKPOINTS / word).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return word

    def numbers(self, name: str) -> Iterator[Measurement]:
        """Yield all numbers that the folder holds for a measure, oldest first."""
        if name in self.summary:
            yield Measurement(self.summary[name], "", False)
        for evaluation in self.evaluations:
            if name in evaluation["metrics"]:
                when = str(evaluation.get("finished") or "")
                yield Measurement(evaluation["metrics"][name], when, True)


def read(folder: Path) -> Run:
    """Read a run folder; any of its files may be missing or damaged."""
    notes: list[str] = []
    label = reference(folder)
    try:
        config = schema.flatten(run_folder.read_config(folder))
    except UserError:
        config = {}
        notes.append(f"{label}: its {run_folder.CONFIG} cannot be read")
    described = run_folder.read_json(folder / run_folder.RUN)
    if config.get("precision") == "auto" and described.get("precision"):
        config["precision"] = described["precision"]  # what the numbers were trained in
    done = run_folder.read_json(folder / run_folder.SUMMARY)
    data = described.get("dataset")
    data = data if isinstance(data, dict) else {}
    metrics = done.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    evaluations = list(_evaluations(folder, label, notes))
    run = Run(
        path=folder,
        reference=label,
        model=str(config.get("model.name", "?")),
        dataset=str(config.get("dataset.name", "?")),
        split=str(data.get("split_hash", "")),
        validation=str(data.get("validation", "split")),
        config=config,
        status=run_folder.status(folder, described) if described else "damaged",
        finished=str(described.get("finished") or ""),
        seed=config.get("seed"),
        parameters=_count(described.get("parameters")),
        seconds=number(done.get("seconds")),
        machine={k: described.get(k) for k in ("device", "threads", "precision")},
        evaluations=evaluations,
        summary={},
        notes=notes,
    )
    if run_folder.unmeasured(done):
        notes.append(f"{label}: {run_folder.UNMEASURED}; genai resume {label}")
    measured = {name for e in evaluations for name in e["metrics"]}
    run.predicts = family(run.model).predicts or any(n.startswith("prediction/") for n in measured)
    run.predicts |= any(name in metrics for name in PREDICTED)
    names = PREDICTED if run.predicts else SUMMARY
    run.summary = {names[k]: v for k, v in metrics.items() if k in names and _sound(v)}
    run.summary |= _costs(run)
    fresh = [e for e in evaluations if not run.stale(e)]
    if fresh:  # the others measured what the run was before it was trained on
        run.evaluations = fresh
    elif evaluations:
        notes.append(f"{label}: trained on since it was evaluated; genai evaluate {label} again")
    return run


def _costs(run: Run) -> dict[str, dict[str, Any]]:
    """Return the cost of a training. Seconds compare on one machine, numbers learned anywhere."""
    out: dict[str, dict[str, Any]] = {}
    last = last_row(run.path)
    rulers = {"cost/seconds": run.machine, "cost/images": {}, "cost/parameters": {}}
    values = {
        # by the last epoch: the run's own seconds hold its figures and tests as well
        "seconds": number(last.get("seconds")) or run.seconds,
        "images": number(last.get("images")),
        "parameters": run.parameters,
    }
    for (name, more), value in zip(rulers.items(), values.values(), strict=True):
        if value is not None:
            papers = {"ruler": {"metric": name} | more, "player": {}}
            out[name] = {"value": value, "low": None, "high": None, "n": 1, "passport": papers}
    return out


def _evaluations(folder: Path, label: str, notes: list[str]) -> Iterator[dict[str, Any]]:
    """The sound entries of each evaluation, oldest first; the rest is told in a note."""
    evaluations = []
    for path in sorted((folder / EVALUATIONS).glob(f"*/{EVALUATION}")):
        try:
            text = path.read_text(encoding="utf-8")
            value = json.loads(text, parse_constant=lambda _: None)  # NaN is no JSON
        except (OSError, ValueError, RecursionError):
            value = None
        metrics = value.get("metrics") if isinstance(value, dict) else None
        if not isinstance(metrics, dict) or not isinstance(value.get("settings"), dict | None):
            notes.append(f"{label}: evaluation {path.parent.name} cannot be read; ignored")
            continue
        sound = {k: v for k, v in metrics.items() if k in BY_NAME and _sound(v)}
        bad = [k for k in metrics if k in BY_NAME and k not in sound]
        if bad:
            notes.append(f"{label}: evaluation {path.parent.name} has no sound {', '.join(bad)}")
        # what a training took is a fact of the run's own files, evaluated or not: `_costs`
        sound = {k: v for k, v in sound.items() if not k.startswith("cost/")}
        evaluations.append(value | {"metrics": sound})
    yield from sorted(evaluations, key=lambda e: str(e.get("finished") or ""))


def _sound(entry: Any) -> bool:
    """A finite number with a ruler, or no number with a reason."""
    if not isinstance(entry, dict) or "value" not in entry:
        return False
    if entry["value"] is None:
        return isinstance(entry.get("reason"), str)
    bounds = [entry.get("low"), entry.get("high")]
    if number(entry["value"]) is None or any(b is not None and number(b) is None for b in bounds):
        return False
    if None not in bounds and bounds[0] > bounds[1]:
        return False
    papers, floor = entry.get("passport"), entry.get("floor")
    if floor is not None and not (isinstance(floor, dict) and _sound_floor(floor)):
        return False
    return isinstance(papers, dict) and all(
        isinstance(papers.get(part, {}), dict) for part in ("ruler", "player")
    )


def _sound_floor(floor: Mapping[str, Any]) -> bool:
    bounds = [floor.get("low"), floor.get("high")]
    return number(floor.get("value")) is not None and all(
        bound is None or number(bound) is not None for bound in bounds
    )


def number(value: Any) -> float | None:
    """Return a finite number as it is, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < HUGE else None


def _count(value: Any) -> int | None:
    count = number(value)
    return None if count is None else int(count)


def newest_number(folder: Path) -> float:
    """Return the time (st_mtime) at which a number of a run was last written, 0 if none was.

    A figure of a comparison that is older shows another state of the run.
    """
    files = [folder / run_folder.RUN, folder / run_folder.SUMMARY]
    files += (folder / EVALUATIONS).glob(f"*/{EVALUATION}")
    return max((f.stat().st_mtime for f in files if f.exists()), default=0.0)


def settings_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return evaluation.get("settings") or {}
