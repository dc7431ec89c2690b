"""Checkpoints: one folder a step, written beside and renamed, without pickle.

``weights.safetensors`` holds the model as a user wants it (plain names), ``state.safetensors`` the
optimizers, averaged weights and running sums, ``state.json`` the numbers and the SHA-256 of both.
``last`` and ``best`` are one-line text files. Equal training states give equal bytes, but for
the seconds.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genai_cli.errors import UserError
from genai_cli.runs import write_text
from genai_cli.training.loop import Training

SCHEMA = 1
WEIGHTS, STATE, META = "weights.safetensors", "state.safetensors", "state.json"


class Snapshot(NamedTuple):
    """A training state as it was: copies in memory of the CPU, which training no longer moves."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Tensor]  # of optimizers, averaged weights and running sums
    numbers: dict[str, Any]


def snapshot(run: Training) -> Snapshot:
    """What `write` puts on disk, copied."""
    tensors, numbers = _state(run)
    weights = _copied(run.model.state_dict())
    return Snapshot(run.step, weights, _copied(tensors), copy.deepcopy(numbers))


def save(folder: Path, run: Training, *, keep: int, mark_best: bool) -> Path:
    """`write` a run as it stands."""
    return write(folder, snapshot(run), keep=keep, mark_best=mark_best)


def write(folder: Path, state: Snapshot, *, keep: int, mark_best: bool) -> Path:
    """Write ``folder/step-NNNNNN`` whole, point ``last`` (and ``best``) at it, prune the rest.

    The state before step 1 gets no pointer: both name weights that were trained.

    Args:
        folder: the run's ``checkpoints``.
        state: what to keep.
        keep: newest checkpoints kept; the best one is kept besides.
        mark_best: this state is the best so far by the monitor.
    """
    name = f"step-{state.step:06d}"
    final, beside = folder / name, folder / f".{name}.tmp"
    if not is_whole(final):  # a whole one of the same step holds the same state
        shutil.rmtree(final, ignore_errors=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        _write_tensors(beside / WEIGHTS, state.weights)
        _write_tensors(beside / STATE, state.state)
        sums = {f: _sha256(beside / f) for f in (WEIGHTS, STATE)}
        numbers = state.numbers | {"sha256": sums}
        write_text(beside / META, json.dumps(numbers, indent=1, allow_nan=False) + "\n")
        _sync_folder(beside)
        os.rename(beside, final)
        _sync_folder(folder)
    if state.step:
        write_text(folder / "last", name + "\n")
    if mark_best:
        write_text(folder / "best", name + "\n")
    _prune(folder, keep)
    return final


def load(folder: Path, run: Training) -> str | None:
    """Put the newest whole checkpoint's state into ``run``; a note if a torn one was passed over.

    Raises:
        UserError: no checkpoint is whole, or the weights do not fit the model.
    """
    note = None
    for path in candidates(folder):
        if not is_whole(path):
            note = f"{path.name} is damaged; going on from the checkpoint before it"
            continue
        meta = json.loads((path / META).read_text())
        load_weights(path, run.model)
        _restore(run, load_file(path / STATE), meta)
        if run.monitor != meta["monitor"]:
            (folder / "best").unlink(missing_ok=True)
        return note
    raise UserError(f"{folder} holds no whole checkpoint; start the run again")


def candidates(folder: Path) -> Iterator[Path]:
    """Checkpoint folders, newest first."""
    steps = [p for p in folder.glob("step-*") if p.name[5:].isdigit()]
    yield from sorted(steps, key=lambda p: int(p.name[5:]), reverse=True)


def is_whole(path: Path) -> bool:
    """Both tensor files are there and have the checksums written beside them."""
    try:
        sums = json.loads((path / META).read_text())["sha256"]
        return all(_sha256(path / f) == sums[f] for f in (WEIGHTS, STATE))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def named(folder: Path, which: str) -> Path:
    """The checkpoint folder that ``last``, ``best`` or a name like step-000600 means.

    Where nothing was monitored there is no best one, and ``best`` means the newest.
    """
    if which == "best" and not (folder / "best").is_file():
        which = "last"
    pointer = folder / which
    name = pointer.read_text().strip() if pointer.is_file() else which
    path = folder / name
    if not path.is_dir() or path.parent != folder:
        have = ", ".join(p.name for p in candidates(folder)) or "none"
        raise UserError(f"no checkpoint '{which}' in {folder} (there: {have})")
    return path


def load_weights(path: Path, model: nn.Module, ema: bool = False) -> None:
    """Load a checkpoint's weights, or its averaged ones, into a model of the same shape."""
    try:
        tensors = load_file(path / WEIGHTS)
        if ema:
            with safe_open(path / STATE, framework="pt") as file:
                averaged = [k for k in file.keys() if k.startswith("ema/")]  # noqa: SIM118
                tensors |= {k.removeprefix("ema/"): file.get_tensor(k) for k in averaged}
    except (SafetensorError, OSError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({said}); name another checkpoint") from None
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} does not fit this model: {first}") from None


def _state(run: Training) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything but the weights, as named tensors and plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, optimizer in run.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                where = f"optimizer/{name}/{index}/{key}"
                if isinstance(value, Tensor):
                    tensors[where] = value
                elif value is not None:
                    numbers[where] = value
    if run.ema is not None:
        tensors |= {f"ema/{k}": v for k, v in run.ema.shadow.items()}
    tensors |= {f"sum/{k}": v for k, v in run.means.sums.items()}
    scalars = {
        "schema": SCHEMA,
        "step": run.step,
        "epoch": run.epoch,
        "images": run.images,
        "seconds": round(run.elapsed(), 3),
        "counts": run.means.counts,
        "optimizer": numbers,
        "schedule": run.schedule.state(),
        "ema_steps": run.ema.steps if run.ema is not None else 0,
        "monitor": run.monitor,
        "best": None if math.isinf(run.best) else run.best,
        "best_epoch": run.best_epoch,
        "best_step": run.best_step,
    }
    return tensors, scalars


def _restore(run: Training, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    device = next(run.model.parameters()).device
    for name, optimizer in run.optimizers.items():
        state: dict[int, dict[str, Any]] = {}
        for where, value in (meta["optimizer"] | tensors).items():
            kind, _, rest = where.partition("/")
            if kind == "optimizer" and rest.startswith(f"{name}/"):
                index, _, key = rest[len(name) + 1 :].partition("/")
                state.setdefault(int(index), {})[key] = value
        # the groups (rates, betas) come from the config, the buffers from the checkpoint
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    if run.ema is not None:
        for key, value in run.ema.shadow.items():
            value.copy_(tensors.get(f"ema/{key}", value))
        run.ema.steps = meta["ema_steps"]
    run.means.sums = {
        k.removeprefix("sum/"): v.to(device) for k, v in tensors.items() if k.startswith("sum/")
    }
    # the order of the terms is that of the counts: safetensors sorts its names
    run.means.counts = dict(meta["counts"])
    run.means.sums = {k: run.means.sums[k] for k in run.means.counts}
    run.step, run.images, run.seconds = meta["step"], meta["images"], meta["seconds"]
    if run.monitor == meta["monitor"]:  # values of another column cannot be compared: start anew
        run.schedule.load(meta["schedule"])
        run.best = math.inf if meta["best"] is None else meta["best"]
        run.best_epoch, run.best_step = meta["best_epoch"], meta["best_step"]


def _prune(folder: Path, keep: int) -> None:
    best = (folder / "best").read_text().strip() if (folder / "best").is_file() else None
    for path in list(candidates(folder))[max(keep, 1) :]:
        if path.name != best:
            shutil.rmtree(path, ignore_errors=True)
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory and keeps no strides
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync_folder(path: Path) -> None:
    """Make a rename or a new name durable; a file system that cannot is left alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        pass
