"""What `genai audit` writes: audit.json with passports, audit.csv with a row for each class."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genai_cli.audit.measure import Audit
from genai_cli.audit.request import AuditRequest
from genai_cli.audit.say import COLUMNS, rows, verdict
from genai_cli.config.schema import TrainConfig
from genai_cli.evaluation import passport
from genai_cli.store import run_folder
from genai_cli.store.labels import reference
from genai_cli.system.text import csv_cell
from genai_cli.training import checkpoint
from genai_cli.version import __version__

VERSION = 1  # of what the numbers mean


def settings(folder: Path, cfg: TrainConfig, request: AuditRequest) -> dict[str, Any]:
    """What the numbers depend on besides the run."""
    averaged = cfg.trainer.ema is not None if request.ema is None else request.ema
    name = checkpoint.named(folder / run_folder.CHECKPOINTS, request.checkpoint).name
    return {
        "n": request.n,
        "seed": request.seed,
        "options": request.options,
        "checkpoint": name,
        "ema": averaged,
    }


def described(
    folder: Path, cfg: TrainConfig, found: Audit, how: Mapping[str, Any]
) -> dict[str, Any]:
    """audit.json: a row for each class, the confusions behind it, a passport for each part."""
    world, biased = found.world, found.biased
    out: dict[str, Any] = {
        "schema": run_folder.SCHEMA,
        "run": folder.name,
        "model": cfg.model["name"],
        "dataset": world.data.name,
        "version": __version__,
        "finished": run_folder.now(),
        "settings": dict(how),
        "rare": None,
        "balance": bool(cfg.dataset.get("balance")),
        "training": {"n": int(biased.split.sum()), "counts": biased.split.tolist()},
        "population": {"n": len(world.truth), "split_hash": world.data.split_hash},
        "readings": list(world.readings),
        "classes": rows(found),
        "verdict": verdict(found),
        "reasons": found.reasons,
    }
    if biased.rare is not None:
        share = cfg.dataset.get("rare_share")
        out["rare"] = {"class": world.classes[biased.rare], "share": share}
    if world.reader is not None and world.confusion is not None:
        out["reference"] = {"real": world.confusion.tolist()} | _reader(found)
    player = {"ema": how["ema"], "checkpoint": how["checkpoint"]}
    if found.samples is not None:
        s = found.samples
        more = {"seed": how["seed"], "labels": s.how or None} | dict(how["options"])
        out["samples"] = {
            "counts": s.counts.tolist(),
            "unclear": dict(zip(("value", "low", "high"), s.unclear, strict=True)),
            "unclear_expected": s.unclear_expected,
            "passport": _passport("class shares", found, cfg, how["n"], player | more),
        }
    if found.asked is not None:
        out["asked"] = {"counts": found.asked.tolist()}
    if found.fates is not None:
        what = "class predicted" if found.predicts else "class of a reconstruction"
        reads = found.fates.reads
        out["fates"] = {
            "what": what,
            "counts": None if reads is None else reads.tolist(),
            "passport": _passport(what, found, cfg, len(world.truth), player),
        }
    return out


def _reader(found: Audit) -> dict[str, Any]:
    reader = found.world.reader
    assert reader is not None
    return {
        "extractor_hash": reader.classifier.hash,
        "extractor_accuracy": reader.classifier.accuracy,
        "unclear_below": reader.least,
    }


def _passport(
    metric: str, found: Audit, cfg: TrainConfig, n: int, player: dict[str, Any]
) -> dict[str, Any]:
    reader = {} if found.world.reader is None else {"extractor": "reference"} | _reader(found)
    ruler = passport.ruler(metric, found.world.data, cfg, n, **reader) | {"version": VERSION}
    return {"ruler": ruler, "player": player}


def comma_separated(audits: Iterable[tuple[Path, Mapping[str, Any]]]) -> str:
    """A row for each run and class; an empty cell is a number that is not there."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "model", "rare", "rare_share", "balance", *COLUMNS])
    for folder, one in audits:
        rare = one["rare"] or {}
        head = [reference(folder), one["model"], rare.get("class"), rare.get("share")]
        for row in one["classes"]:
            cells = [*head, one["balance"], *(row[key] for key in COLUMNS)]
            writer.writerow(["" if c is None else csv_cell(str(c)) for c in cells])
    return text.getvalue()
