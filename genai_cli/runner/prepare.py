"""Check everything about a run that can be wrong before it starts, then write its folder.

Nothing heavy is imported at import time: a typo is answered before torch is there.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.config import ranks, schema, validation
from genai_cli.errors import UserError
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write, disk_errors
from genai_cli.system.gc_freeze import gc_paused

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset
UNBUILT = ("seed", "outputs", "name", "tags")  # keys that no check of a build depends on
NOT_DESCRIBED = (*UNBUILT, "optimizer", "schedule", "epochs", "monitor", "init_from", "force_loss")


@dataclass
class Prepared:
    """A checked config with its data; nothing is on disk yet."""

    cfg: TrainConfig
    data: Dataset
    run_info: dict[str, Any]  # run.json, but for command and start


@gc_paused()
def prepare(
    cfg: TrainConfig,
    note: Callable[[str], None],
    data: Dataset | None = None,
    built: dict[str, dict[str, Any]] | None = None,
    gpus: int | None = None,
) -> Prepared:
    """Every check that can fail because of the user: ranges, data, pairs, a build on meta.

    Args:
        cfg: as composed.
        note: is told every choice that was made for the user (``loss=auto``).
        data: the config's data set, where the caller has loaded it already.
        built: what was said of the cells of a sweep so far, to be added to: cells that differ in
            their seed alone are checked once, those of one shape built once.
        gpus: where a launcher takes the run to another machine, what it asks for there
            (`launchers.settings.gpus_of`).

    Raises:
        genai_cli.errors.UserError: the first mistake.
    """
    validation.check(cfg)  # before torch is imported: a typo is answered at once
    cfg = ranks.with_world_size(cfg)
    from genai_cli.data.home import user_place
    from genai_cli.runner import checks, description, load
    from genai_cli.training import machine

    device = machine.pick_device(cfg.device, gpus)
    if ranks.rank():  # rank 0 says it
        note = [].append
    notes: list[str] = []  # told once nothing is wrong: a mistake is one line
    if gpus is None and (crowded := ranks.oversubscription_warning(cfg, device)):
        notes.append(crowded)
    if gpus is None and (unused := machine.unused_gpu(cfg.device, device)):
        notes.append(unused)
    if cfg.init_from is not None:  # "latest" now, not when the run reads its config again
        try:
            source = lookup.find(cfg.init_from, cfg.outputs)
        except UserError as error:
            raise UserError(f"init_from={cfg.init_from}: {error}") from None
        cfg = dataclasses.replace(cfg, init_from=str(source.resolve()))
    absolute = {
        k: str(user_place(v, f"dataset.{k}").absolute())
        for k, v in cfg.dataset.items()
        if k in ("path", "root") and v and isinstance(v, str)
    }
    if absolute:  # the run may be resumed from another directory
        cfg = dataclasses.replace(cfg, dataset=cfg.dataset | absolute)
    data = data or load.load_data(cfg, notes.append)
    cfg = checks.resolve_auto(cfg, data.spec, notes.append)
    built, config = {} if built is None else built, schema.to_dict(cfg)
    key, description_key = (
        repr({k: v for k, v in config.items() if k not in n}) for n in (UNBUILT, NOT_DESCRIBED)
    )
    if key not in built:
        checks.check_built(cfg, data, gpus=gpus)
        if description_key not in built:
            built[description_key] = description.description(cfg, data, gpus)
        built[key] = built[description_key]
    for line in notes:
        note(line)
    return Prepared(cfg, data, built[key] | {"seed": cfg.seed})


def start(
    prepared: Prepared, command: str, folder: Path | None = None, durable: bool = True
) -> Path:
    """Claim a folder (or take the cell's own) and write it whole; ``durable`` as `write_text`."""
    if ranks.rank():
        return Path()  # rank 0 claims and writes it, and `run` passes it on
    cfg = prepared.cfg
    if folder is not None:
        return _write(folder, prepared, command, durable)
    label = cfg.name or f"{cfg.model['name']}-{prepared.data.name}"
    folder = run_folder.claim(run_folder.outputs_root(cfg.outputs), label)
    try:
        return _write(folder, prepared, command, durable)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = disk_errors.explain_in_one_line(error) or str(error)
        raise UserError(f"cannot write {folder}: {reason}, or set outputs=DIR") from error


def _write(folder: Path, prepared: Prepared, command: str, durable: bool) -> Path:
    (folder / run_folder.CHECKPOINTS).mkdir()
    when = {"command": command, "started": run_folder.now()}
    atomic_write.write_json(folder / run_folder.RUN, prepared.run_info | when, durable)
    # last: with it the folder is a run, and it is one whole or not at all
    run_folder.write_config(folder, schema.to_dict(prepared.cfg), durable)
    return folder
