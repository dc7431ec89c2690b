"""Checkpoints: one folder a step, written beside and renamed, without pickle.

``weights.safetensors`` holds the model as a user wants it (plain names), ``state.safetensors`` the
optimizers, averaged weights and running sums, ``state.json`` the numbers and the SHA-256 of all
three: it is written last, and what does not agree with it is damaged. ``last`` and ``best`` are
one-line text files. Equal training states give equal bytes, but for
the seconds.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genai_cli.errors import UserError
from genai_cli.store.outputs import list_matching
from genai_cli.store.run_folder import META, STATE, WEIGHTS
from genai_cli.system.atomic_write import sync_folder, write_text
from genai_cli.training.intact import digest, find_damage, sha256
from genai_cli.training.snapshot import Snapshot, restore, snapshot
from genai_cli.training.state import Training


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
    folder.mkdir(exist_ok=True)  # in a run's folder, which is not made again if it has vanished
    if find_damage(final) is not None:  # a whole one of the same step holds the same state
        for torn in (final, beside):
            _remove(torn)
        beside.mkdir()
        try:
            _write_whole(beside, state)
            os.rename(beside, final)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)  # a full disk has room for it
            raise
        sync_folder(folder)
    if state.step:
        write_text(folder / "last", name + "\n")
    if mark_best:
        write_text(folder / "best", name + "\n")
    sync_folder(folder)  # nothing older goes before this one and its names are safe
    _prune(folder, keep, state.step)
    return final


def load(folder: Path, run: Training) -> str | None:
    """Put the newest whole checkpoint's state into ``run``; a note if there was damage to tell.

    ``best`` then names what that state says: a run killed between two files may have left it
    behind, or ahead.

    Raises:
        UserError: no checkpoint is whole, or the weights do not fit the model.
    """
    path, damaged = newest_whole(folder)
    notes = [f"{name} is damaged ({what})" for name, what in damaged.items()]
    if notes:
        notes.append(f"going on from {path.name}, the checkpoint before it")
    meta = json.loads((path / META).read_text())
    _put(load_file(path / WEIGHTS), path, run.model)
    restore(run, load_file(path / STATE), meta)
    if run.monitor != meta["monitor"]:
        (folder / "best").unlink(missing_ok=True)
    elif run.best_step:
        notes += _point_at_best(folder, run)
    return "; ".join(notes) or None


def newest_whole(folder: Path) -> tuple[Path, dict[str, str]]:
    """The checkpoint to go on from, and of newer ones (names) what is wrong with them.

    Raises:
        UserError: none is whole.
    """
    damaged: dict[str, str] = {}
    for path in candidates(folder):
        wrong = find_damage(path)
        if wrong is None:
            return path, damaged
        damaged[path.name] = wrong
    details = "; ".join(f"{name}: {what}" for name, what in damaged.items())
    raise UserError(
        f"{folder} holds no whole checkpoint{details and f' ({details})'}; start the run again"
    )


def _point_at_best(folder: Path, run: Training) -> list[str]:
    """Let ``best`` name the best state so far; where it is lost, the best counts anew."""
    name = f"step-{run.best_step:06d}"
    if find_damage(folder / name) is None:
        if _pointed(folder, "best") != name:
            write_text(folder / "best", name + "\n")
        return []
    run.best, run.best_epoch, run.best_step = math.inf, run.epoch, 0
    (folder / "best").unlink(missing_ok=True)
    return [f"the best weights so far, {name}, are lost; the best counts anew from here"]


def check_fits(folder: Path, model: nn.Module) -> None:
    """Refuse what `load` would refuse, before anything of the run is written.

    Raises:
        UserError: there are checkpoints and none is whole, or their weights do not fit.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder of checkpoints; start the run again")
    if any(candidates(folder)):
        path, _ = newest_whole(folder)
        _put(load_file(path / WEIGHTS), path, model)


def candidates(folder: Path) -> Iterator[Path]:
    """Checkpoint folders, newest first."""
    steps = [p for p in list_matching(folder, "step-*") if re.fullmatch("[0-9]+", p.name[5:])]
    yield from sorted(steps, key=_step, reverse=True)


def named(folder: Path, which: str) -> Path:
    """The checkpoint folder that ``last``, ``best`` or a name like step-000600 means.

    Where nothing was monitored there is no best one, and ``best`` means the newest.

    Raises:
        UserError: there is no such checkpoint.
    """
    if which == "best" and not (folder / "best").is_file():
        which = "last"
    name = _pointed(folder, which) or which
    if folder / name not in candidates(folder):
        gone = f" ({which} names {' '.join(name.split())[:40]})" if name != which else ""
        have = ", ".join(p.name for p in candidates(folder)) or "none"
        raise UserError(f"no checkpoint '{which}'{gone} in {folder} (there: {have})")
    return folder / name


def load_weights(path: Path, model: nn.Module, ema: bool = False) -> None:
    """Load a checkpoint's weights, or its averaged ones, into a model of the same shape.

    Raises:
        UserError: it is damaged, or does not fit.
    """
    wrong = find_damage(path, (WEIGHTS, STATE) if ema else (WEIGHTS,))
    try:
        if wrong is None:
            tensors = load_file(path / WEIGHTS)
            if ema:
                with safe_open(path / STATE, framework="pt") as file:
                    averaged = [k for k in file.keys() if k.startswith("ema/")]  # noqa: SIM118
                    tensors |= {k.removeprefix("ema/"): file.get_tensor(k) for k in averaged}
    except (SafetensorError, OSError) as error:
        wrong = str(error).splitlines()[0]
    if wrong is not None:
        whole = [p.name for p in candidates(path.parent) if p != path and find_damage(p) is None]
        other = f"name another one: checkpoint={' or '.join(whole)}" if whole else "none is whole"
        raise UserError(f"{path} is damaged ({wrong}); {other}")
    _put(tensors, path, model)


def _put(tensors: dict[str, Tensor], path: Path, model: nn.Module) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} does not fit this model: {first}") from None


def _pointed(folder: Path, pointer: str) -> str | None:
    """What ``last`` or ``best`` says; None if it is no file."""
    path = folder / pointer
    return path.read_text(errors="replace").strip() if path.is_file() else None


def _step(path: Path) -> int:
    return int(path.name[5:])


def _prune(folder: Path, keep: int, step: int) -> None:
    """Keep the newest checkpoints and the best; newer ones than ``step`` were passed over by
    `load` as damaged, and this run comes to them again."""
    best = _pointed(folder, "best")
    kept = [p for p in candidates(folder) if _step(p) <= step][: max(keep, 1)]
    for path in candidates(folder):
        if path not in kept and path.name != best:
            _remove(path)
    for leftover in folder.glob(".*.tmp"):  # of a killed process: nobody else writes here
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    """Take a folder's name away before its files: killed in between, it is no torn checkpoint."""
    if path.name.startswith("."):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        aside = path.with_name(f".{path.name}.old.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(path, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _write_whole(folder: Path, state: Snapshot) -> None:
    _write_tensors(folder / WEIGHTS, state.weights)
    _write_tensors(folder / STATE, state.state)
    sums = {f: sha256(folder / f) for f in (WEIGHTS, STATE)}
    sums[META] = digest(state.numbers)
    numbers = state.numbers | {"sha256": sums}
    write_text(folder / META, json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    sync_folder(folder)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        save_file(tensors, path)
        with open(path, "r+b") as file:  # to write: Windows flushes no other
            os.fsync(file.fileno())
        with safe_open(path, framework="pt"):  # as long as its head says: a sum would not tell
            pass
    except SafetensorError as error:  # which has the system's number in its words alone
        number = re.search(r"\b(?:code: |os error )(\d+)", str(error))
        code, message = errno.EIO, str(error)
        if number is not None:
            code = int(number[1])
            message = os.strerror(code)
        raise OSError(code, message, str(path)) from error
