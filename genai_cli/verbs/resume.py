"""`genai resume RUN [key=value …]`: go on in the same folder, with its own config.

A change is safe (it does not touch what was computed so far), allowed with a note (the rest of
the run differs from what was planned) or refused (the run would be another one).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli import ranks, runs
from genai_cli.collector import resting
from genai_cli.errors import UserError, listing, nearest
from genai_cli.values import read_value
from genai_cli.work import one_run

if TYPE_CHECKING:
    from genai_cli.data.dataset import Dataset
    from genai_cli.schema import TrainConfig

SAFE = (
    "epochs",
    "tags",
    "trainer.max_steps",
    "trainer.save_every",
    "trainer.keep",
    "trainer.figures_every",
    "trainer.loggers",
    "dataset.path",  # the content's hash says whether it is still the same data
    "dataset.root",
    "dataset.workers",
    "dataset.memory_mb",
)
NOTED = (
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.betas",
    "optimizer.eps",
    "optimizer.rho",
    "optimizer.alpha",
    "schedule.horizon",
    "schedule.final",
    "schedule.every",
    "schedule.gamma",
    "schedule.factor",
    "schedule.patience",
    "schedule.min_delta",
    "schedule.floor",
    "device",
    "precision",
    "monitor",
    "trainer.devices",
    "trainer.accumulate",
    "trainer.clip",
    "trainer.patience",
    "trainer.min_delta",
    "trainer.step",
    "trainer.threads",
    "trainer.deterministic",
)
WHY_NOT = {
    "dataset": "the data is what the run is about",
    "model": "the weights would not fit",
    "bottleneck": "the weights would not fit",
    "optimizer": "its buffers would not fit",
    "schedule": "it is a function of all steps so far",
    "loss": "the losses so far would not be comparable",
    "force_loss": "the losses so far would not be comparable",
    "batch_size": "it numbers the steps",
    "seed": "it made the weights",
    "split_seed": "test examples would become training examples",
    "init_from": "it made the weights",
    "outputs": "the run stays in its folder",
    "name": "the run stays in its folder",
    "trainer.ema": "the average began with the run",
    "trainer.init": "it made the weights",
}


def main(args: list[str]) -> int:
    """Resume one run; 0 also where there is nothing left to do."""
    if ranks.rank():  # of torchrun: rank 0 finds the run, checks and writes
        from genai_cli.verbs.train import run

        return run(Path())
    name, changes = one_run(args, "resume")
    if ranks.world() > 1 and not any(c.startswith("trainer.devices=") for c in changes):
        changes.append(f"trainer.devices={ranks.world()}")
    outputs = next((c.partition("=")[2] for c in changes if c.startswith("outputs=")), None)
    changes = [c for c in changes if not c.startswith("outputs=")]

    from genai_cli import rules

    folder = runs.find(name, outputs)
    old = runs.read_config(folder)
    new = changed(old, changes)
    described = runs.read_json(folder / runs.RUN)
    if runs.held(folder):
        raise UserError(f"{folder} is being trained by another process")
    if not described:
        raise UserError(f"{folder} has no readable {runs.RUN}; it cannot be resumed")

    with resting():
        from genai_cli.training import checkpoint, machine, setup

    cfg = setup.typed(new, folder / runs.CONFIG)
    rules.check(cfg)
    data = setup.load_data(cfg)
    setup.same_data(folder, data)
    setup.check_built(cfg, data, resume=True)
    differences = difference(old, new)
    for key, before, after in differences:
        kind = "" if matches(key, SAFE) else "   note: the rest of the run is not as first planned"
        print(f"{key}: {before} → {after}{kind}")
    done = nothing_left(folder, described, cfg, data, differences)
    if done:
        idle = [key for key, _, _ in differences if key != "tags"]
        if idle:
            raise UserError(f"{folder} {done}; {', '.join(idle)} would change nothing")
        if differences:
            runs.write_config(folder, new)
        print(f"{folder} {done}")
        if ranks.world() > 1:
            from genai_cli.training import distributed

            distributed.join().told((None, False))
        return 0
    planned = cfg.schedule.get("horizon")
    if planned and cfg.epochs > planned and any(d[0] == "epochs" for d in differences):
        print(
            f"note: schedule={cfg.schedule['name']} was planned for {planned:g} epochs and keeps "
            f"its last rate after them; schedule.horizon={cfg.epochs} stretches it"
        )
    from genai_cli.verbs.train import run

    if differences:
        runs.write_config(folder, new)
    now = setup.description(cfg, data)
    for key in ("command", "started", "seed", "threads", "step_kind"):
        now[key] = described.get(key)
    if any(key == "trainer.threads" for key, _, _ in differences):
        now["threads"] = cfg.trainer.threads or machine.default_threads()
    if any(key == "trainer.step" for key, _, _ in differences):
        now["step_kind"] = None
    if any(key == "trainer.devices" for key, _, _ in differences):
        now["threads"] = setup.description(cfg, data)["threads"]
    if described.get("reason"):  # asked to stop, or pruned by its sweep: whoever resumes it knows
        print(f"note: it was {described['reason']}")
        now["prune"] = False
    if now["device"] != described.get("device"):
        print(f"note: on {now['device']}, before on {described.get('device')}: not bit-equal")
    runs.write_json(folder / runs.RUN, now)
    has_checkpoint = any(checkpoint.candidates(folder / runs.CHECKPOINTS))
    code = run(folder, data, resume=has_checkpoint)
    if runs.is_sweep(folder.parent):
        from genai_cli.sweeps.folder import write_table

        write_table(folder.parent)
    return code


def changed(old: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """A copy of a config with ``key=value`` words put in.

    Raises:
        UserError: an unknown key, one that must not change, or a value that is not YAML.
    """
    import copy

    new = copy.deepcopy(old)
    given: set[str] = set()
    for change in changes:
        key, _, text = change.partition("=")
        *path, last = key.split(".")
        place: Any = new
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = list(runs.flat(old))
            raise UserError(f"unknown key '{key}'{nearest(key, known)} (see the run's config.yaml)")
        if key in given:
            raise UserError(f"{key} is given twice; keep one")
        given.add(key)
        value = read_value(change, text)
        if isinstance(place[last], dict):
            raise UserError(f"{key} names a group; set one of its keys: {listing(place[last])}")
        same = value == place[last]
        if not same and not matches(key, SAFE + NOTED):
            reason = WHY_NOT.get(key) or WHY_NOT.get(key.split(".")[0]) or "it is fixed"
            raise UserError(
                f"{key} cannot change on resume ({reason}); start a new run: genai train {change} …"
            )
        place[last] = value
    return new


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, before, after) of every value that differs."""
    before, after = runs.flat(old), runs.flat(new)
    return [(k, before[k], after[k]) for k in before if before[k] != after[k]]


def matches(key: str, names: tuple[str, ...]) -> bool:
    """Whether a key is among names, where ``optimizer.`` stands for all below it."""
    return key in names or any(n.endswith(".") and key.startswith(n) for n in names)


def nothing_left(
    folder: Path,
    described: dict[str, Any],
    cfg: TrainConfig,
    data: Dataset,
    differences: list[tuple[str, Any, Any]],
) -> str:
    """Why there is nothing to do: all steps are taken, or it stopped early; "" if there is."""
    done = runs.read_json(folder / runs.SUMMARY)
    status = described.get("status")
    if status not in ("finished", "stopped") or (status == "stopped" and described.get("reason")):
        return ""
    judged = ("monitor", "trainer.patience", "trainer.min_delta")
    if status == "stopped" and not any(key in judged for key, _, _ in differences):
        return "stopped early: nothing left to do; raise trainer.patience to go on"
    steps = cfg.epochs * -(-len(data.train) // cfg.batch_size)
    if cfg.trainer.max_steps is not None:
        steps = min(steps, cfg.trainer.max_steps)
    if done.get("step", 0) >= steps:
        return f"is {status}: nothing left to do; raise epochs to go on"
    return ""
