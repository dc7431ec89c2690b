"""The record of the step at which a run diverged: its state, batch, noise, config and report.

``blackbox/step-NNNNNN`` is a checkpoint of the state before the step, ``batch.safetensors`` holds
x, y and the noise, ``config.yaml`` is the run's, ``report.json`` says what became infinite or nan,
where, and the range of every layer. No data set is needed to take the step again, and nothing in
there is executed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genai_cli.config import schema
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.models import build
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.training import checkpoint, finite, optimizers
from genai_cli.training.divergence.ranges import Inspector, NonFinite
from genai_cli.training.ema import Ema
from genai_cli.training.schedule import LRSchedule
from genai_cli.training.snapshot import Snapshot, restore
from genai_cli.training.state import Training
from genai_cli.training.step import eager_step
from genai_cli.version import __version__

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig

BOX, BATCH, REPORT = "blackbox", "batch.safetensors", "report.json"
SCHEMA = 1


@dataclass
class BlackBox:
    """A step before it is taken."""

    run: Training
    cfg: TrainConfig
    batch: Batch
    noise: dict[str, Tensor]
    report: dict[str, Any]


def take_step(box: BlackBox) -> tuple[NonFinite | None, Inspector]:
    """Take the step, in the precision of the config: what is not finite first, and all ranges."""
    run, cfg = box.run, box.cfg
    inspector = Inspector(run.model, run.players, cfg.precision)
    run.model.train()
    run.model.step.fill_(run.step)
    run.set_rates(cfg)
    try:
        eager_step(run, cfg)(box.batch, box.noise, run.step, gradient=inspector)
    except NonFinite as nonfinite:
        return nonfinite, inspector
    # here the rate, or the square of a gradient, overflowed
    name = finite.first_nonfinite(finite.state_of(run))
    return (None if name is None else NonFinite(inspector.player, "update", name)), inspector


def write(
    folder: Path,
    cfg: TrainConfig,
    spec: Spec,
    before: Snapshot,
    batch: Batch,
    noise: Mapping[str, Tensor],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``folder/blackbox`` in place of an older one; its report.

    Args:
        folder: the run.
        cfg: its config.
        spec: of its data.
        before: the state before the step.
        batch, noise: of the step, the whole batch.
        facts: what the report says besides: epoch, step, kind of step, cuts of the rate, rows.
    """
    beside, final = folder / f".{BOX}.tmp", folder / BOX
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    checkpoint.write(beside, before, keep=1, mark_best=False)
    (beside / "last").unlink(missing_ok=True)  # of one there is no last
    tensors = {"x": batch.x} | ({} if batch.y is None else {"y": batch.y})
    tensors |= {f"noise/{k}": v for k, v in noise.items()}
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, beside / BATCH)
    run_info = run_folder.read_json(folder / run_folder.RUN)
    report = {
        "schema": SCHEMA,
        **facts,
        "precision": cfg.precision,
        "device": run_info.get("device"),
        "threads": run_info.get("threads"),
        "versions": run_info.get("versions"),
        "spec": spec._asdict(),
        "sha256": {BATCH: _sha256(beside / BATCH)},
    }
    run_folder.write_config(beside, schema.to_dict(cfg))
    atomic_write.write_json(beside / REPORT, report)
    box = open_box(beside, cfg)
    nonfinite, inspector = take_step(box)
    rows = report.pop("batch_rows")
    report |= {
        "lr": box.run.lr(),
        "reproduced": nonfinite is not None,
        "player": nonfinite.player if nonfinite else None,
        "term": nonfinite.term if nonfinite else None,
        "layer": nonfinite.layer if nonfinite else None,
        "value": str(nonfinite.value) if nonfinite else None,
        "rows": [rows[i] for i in inspector.rows],
        "layers": [layer.to_dict() for layer in inspector.layers.values()],
        "batch_rows": rows,
    }
    atomic_write.write_json(beside / REPORT, report)
    shutil.rmtree(final, ignore_errors=True)
    beside.rename(final)
    return report


def open_box(box: Path, cfg: TrainConfig) -> BlackBox:
    """A black box, on the CPU.

    Args:
        box: its folder.
        cfg: the config in there, or with another precision, to which torch is set.

    Raises:
        UserError: there is none, it is damaged, or the model of this version is another one.
    """
    report = run_folder.read_json(box / REPORT)
    made_by = (report.get("versions") or {}).get("genai_cli", "another version")
    if report.get("schema") != SCHEMA:
        raise UserError(f"{box} was written by genai {made_by}, this is {__version__}")
    try:
        if _sha256(box / BATCH) != report["sha256"][BATCH]:
            raise ValueError(f"{BATCH} is not what was written")
        tensors = load_file(box / BATCH)
        spec = _spec(report["spec"])
        cuts = tuple(int(cut) for cut in report["cuts"])
        per_epoch = max(1, int(report["steps_per_epoch"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        message = " ".join(str(error).split())
        raise UserError(f"{box} is damaged ({type(error).__name__}: {message})") from None
    path, _ = checkpoint.newest_whole(box)
    try:
        run = _training(cfg, spec, per_epoch, cuts)
        checkpoint.load_weights(path, run.model)
        state = json.loads((path / checkpoint.META).read_text())
        restore(run, load_file(path / checkpoint.STATE), state)
    except UserError as error:
        if made_by == __version__:
            raise
        raise UserError(
            f"{box} was written by genai {made_by}, this is {__version__}: {error}"
        ) from None
    kind = torch.get_default_dtype()  # double, where that is asked for
    tensors = {k: v.to(kind) if v.is_floating_point() else v for k, v in tensors.items()}
    noise = {k.removeprefix("noise/"): v for k, v in tensors.items() if k.startswith("noise/")}
    return BlackBox(run, cfg, Batch(tensors["x"], tensors.get("y")), noise, report)


def _training(cfg: TrainConfig, spec: Spec, per_epoch: int, cuts: tuple[int, ...]) -> Training:
    model = build.build_model(cfg, spec)
    players = model.players()
    return Training(
        model=model,
        players=players,
        optimizers=optimizers.make(players, cfg.optimizer, torch.device("cpu")),
        schedule=LRSchedule(cfg.schedule),
        ema=None if cfg.trainer.ema is None else Ema(model, cfg.trainer.ema),
        steps_per_epoch=per_epoch,
        monitor=cfg.monitor,
        cuts=cuts,
    )


def _spec(entries: Mapping[str, Any]) -> Spec:
    """A `Spec` that was written as JSON."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()}
    return Spec(**given)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
