"""Go on with a run in its own folder, with its own config or a changed one.

A change is safe (it does not touch what was computed so far), allowed with a note (the rest of
the run differs from what was planned) or refused (the run would be another one). Every key of a
config is in one of the three classes (`config.resumable`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.config import ranks, schema
from genai_cli.config.resumable import NOTE, NOTED, SAFE, matches, refusal_reason
from genai_cli.config.values import read_value
from genai_cli.errors import UserError, listing, nearest
from genai_cli.store import history, run_folder
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock
from genai_cli.system.gc_freeze import gc_paused

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset
    from genai_cli.models.base import Model


def resume_run(
    folder: Path,
    old: dict[str, Any],
    new: dict[str, Any],
    run_info: dict[str, Any],
    given: list[str],
    let_go: Callable[[], None],
) -> int:
    """Check, tell the differences, write them and go on."""
    from genai_cli.config import validation

    with gc_paused():
        from genai_cli.config import schema
        from genai_cli.models.build import build_model
        from genai_cli.runner import checks, description, load
        from genai_cli.store.run_folder import measured_part
        from genai_cli.training import checkpoint

    cfg = schema.from_dict(new, folder / run_folder.CONFIG)
    validation.check(cfg)
    data = load.load_data(cfg)
    load.same_data(folder, data)
    checks.check_built(cfg, data, resume=True)
    model = build_model(cfg, data.spec)
    checkpoint.check_fits(folder / run_folder.CHECKPOINTS, model)
    differences = difference(old, new)
    for line in format_changes(differences, given):
        print(line)
    if run_info.get("measure") == "all" and fully_measured(folder, model, data):
        run_info.pop("measure")
    done = nothing_left(folder, run_info, cfg, data, differences)
    drawn = [key for key, _, _ in differences if key.startswith("figures.")]
    if done and drawn and all(key in ("tags", *drawn) for key, _, _ in differences):
        # figures are drawn where a run is measured: the same numbers once more
        part = measured_part(run_folder.read_json(folder / run_folder.SUMMARY).get("metrics"))
        run_info["measure"] = part._asdict() if part else "all"
        done = ""
    if done:
        idle = [key for key, _, _ in differences if key != "tags"]
        if idle:
            raise UserError(f"{folder} {done}; {', '.join(idle)} would change nothing")
        if differences:
            run_folder.write_config(folder, new)
        print(f"{folder} {done}")
        if ranks.world_size() > 1:
            from genai_cli.training import distributed

            distributed.join().broadcast((None, False))
        return 0
    has_checkpoint = any(checkpoint.candidates(folder / run_folder.CHECKPOINTS))
    if has_checkpoint:
        path, _ = checkpoint.newest_whole(folder / run_folder.CHECKPOINTS)
        refuse_fewer(folder, int(path.name.removeprefix("step-")), cfg, data, differences)
    changes = {key: (before, after) for key, before, after in differences}
    run_info = history.drop_unwritten_changes(run_info, old)
    now = history.resumed_run_info(run_info, description.description(cfg, data), changes)
    waits = run_folder.unmeasured(
        run_folder.read_json(folder / run_folder.SUMMARY)
    ) or run_info.get("measure")
    if waits and run_info.get("reason") and not differences:
        now["reason"] = run_info["reason"]  # it stays at its end, and is measured
    notes = _notes(run_info, now, cfg, "epochs" in changes)
    for note in notes:
        print(f"note: {note}")
    # first told, then in force: killed in between, an entry is left that changed nothing
    atomic_write.write_json(folder / run_folder.RUN, now)
    if differences:
        run_folder.write_config(folder, new)
    from genai_cli.runner.run import run

    let_go()
    code = run(folder, data, resume=has_checkpoint)
    if run_folder.is_sweep(folder.parent):
        from genai_cli.store.sweep_table import write_table

        write_table(folder.parent)
    return code


def format_changes(differences: list[tuple[str, Any, Any]], given: list[str]) -> list[str]:
    """Format a line for each changed key: its class, its old and its new value."""
    lines = []
    for key, before, after in differences:
        safe = matches(key, SAFE)
        why = "" if safe else f"   ({NOTE})"
        lines.append(f"{'safe' if safe else 'note'}   {key}: {before} → {after}{why}")
    same = [key for key in given if key not in {k for k, _, _ in differences}]
    return lines + [f"same   {key}: as it was" for key in same]


def _notes(
    run_info: Mapping[str, Any], now: Mapping[str, Any], cfg: TrainConfig, longer: bool
) -> list[str]:
    """What is otherwise than when the run was last at work, beside the keys of the command."""
    notes = []
    planned = cfg.schedule.get("horizon")
    if planned and cfg.epochs > planned and longer:
        notes.append(
            f"schedule={cfg.schedule['name']} was planned for {planned:g} epochs and keeps "
            f"its last rate after them; schedule.horizon={cfg.epochs} stretches it"
        )
    if run_info.get("reason"):
        notes.append(f"it was {run_info['reason']}")
    if run_info.get("device") not in (None, now["device"]):
        notes.append(f"on {now['device']}, before on {run_info.get('device')}: not bit-equal")
    other = history.differences(run_info, now)
    surroundings = [name for name in other if name not in history.ENVIRONMENT or name == "git"]
    if surroundings:
        listed = ", ".join(f"{name} {other[name][0]} → {other[name][1]}" for name in surroundings)
        notes.append(f"not what it was before: {listed}; the rest may differ in the last digits")
    from genai_cli.training.machine import default_threads

    if (threads := now.get("threads") or 0) > (here := default_threads()):
        notes.append(f"{threads} threads as before, on {here} cores here: slower, but bit-equal")
    return notes


@contextmanager
def run_lock(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a run that has begun while its change is checked and written.

    Yields:
        What lets go of it: the run takes it itself.

    Raises:
        UserError: another process trains or resumes it.
    """
    with ExitStack() as held:
        try:  # "r+b": for writing, as a lock on NFS needs it, and never made here
            ours = lock(held.enter_context(open(folder / run_folder.LOG, "r+b")))
        except OSError:  # not begun, or without locks: the run itself will say so
            ours = True
        if not ours:
            raise UserError(f"{folder} is being trained by another process")
        yield held.close


def apply_changes(old: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Return a copy of a config with ``key=value`` changes applied.

    Raises:
        UserError: an unknown key, a value that is not YAML, or keys that must not change: all of
            them, with their reasons.
    """
    import copy

    new = copy.deepcopy(old)
    given: set[str] = set()
    refused: dict[str, list[str]] = {}  # reason → keys
    words: list[str] = []
    for change in changes:
        key, _, text = change.partition("=")
        *path, last = key.split(".")
        node: Any = new
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            known = list(schema.flatten(old))
            raise UserError(f"unknown key '{key}'{nearest(key, known)} (see the run's config.yaml)")
        if key in given:
            raise UserError(f"{key} is given twice; keep one")
        given.add(key)
        value = read_value(change, text)
        if isinstance(node[last], dict):
            raise UserError(f"{key} names a group; set one of its keys: {listing(node[last])}")
        if value != node[last] and not matches(key, SAFE + NOTED):
            refused.setdefault(refusal_reason(key), []).append(key)
            words.append(change)
        node[last] = value
    if refused:
        each = [
            f"{', '.join(keys)} cannot change on resume ({why})" for why, keys in refused.items()
        ]
        raise UserError(f"{'; '.join(each)}; start a new run: genai train {shlex.join(words)} …")
    return new


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, before, after) of every value that differs."""
    before, after = schema.flatten(old), schema.flatten(new)
    return [(k, before[k], after[k]) for k in before if before[k] != after[k]]


def fully_measured(folder: Path, model: Model, data: Dataset) -> bool:
    """Return whether summary.json covers all test examples and all draws of their noise."""
    from genai_cli.store.run_folder import MeasuredPart, measured_part

    metrics = run_folder.read_json(folder / run_folder.SUMMARY).get("metrics")
    return measured_part(metrics) == MeasuredPart(len(data.test), model.test_draws)


def nothing_left(
    folder: Path,
    run_info: dict[str, Any],
    cfg: TrainConfig,
    data: Dataset,
    differences: list[tuple[str, Any, Any]],
) -> str:
    """Return the reason why nothing is left to train or measure; "" where something is."""
    done = run_folder.read_json(folder / run_folder.SUMMARY)
    status = run_info.get("status")
    if status not in ("finished", "stopped") or (status == "stopped" and run_info.get("reason")):
        return ""
    if run_folder.unmeasured(done) or run_info.get("measure"):
        return ""
    judged = ("monitor", "trainer.patience", "trainer.min_delta")
    if status == "stopped" and not any(key in judged for key, _, _ in differences):
        return "stopped early: nothing left to do; raise trainer.patience to go on"
    steps = cfg.epochs * _steps_per_epoch(cfg, data)
    if cfg.trainer.max_steps is not None:
        steps = min(steps, cfg.trainer.max_steps)
    if done.get("step", 0) >= steps:
        return f"is {status}: nothing left to do; raise epochs to go on"
    return ""


def refuse_fewer(
    folder: Path,
    step: int,
    cfg: TrainConfig,
    data: Dataset,
    differences: list[tuple[str, Any, Any]],
) -> None:
    """Refuse to end before what is done: steps are not taken back.

    Raises:
        UserError: ``epochs`` or ``trainer.max_steps`` was made less than that.
    """
    per_epoch = _steps_per_epoch(cfg, data)
    for key, done in (("epochs", -(-step // per_epoch)), ("trainer.max_steps", step)):
        after = next((after for name, _, after in differences if name == key), None)
        if after is not None and after * (per_epoch if key == "epochs" else 1) < step:
            raise UserError(
                f"{key}={after} is less than is done: {folder} is at step {step}, which no resume "
                f"takes back; give {key}={done} or more"
            )


def _steps_per_epoch(cfg: TrainConfig, data: Dataset) -> int:
    return -(-len(data.train) // cfg.batch_size)
