"""Write the files of `genai audit`: audit.json with passports, audit.csv with a row a class."""

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
    """Return the settings that change the numbers besides the run."""
    averaged = cfg.trainer.ema is not None if request.ema is None else request.ema
    name = checkpoint.named(folder / run_folder.CHECKPOINTS, request.checkpoint).name
    return {
        "n": request.n,
        "seed": request.seed,
        "options": request.options,
        "checkpoint": name,
        "ema": averaged,
    }


def describe(
    folder: Path, cfg: TrainConfig, result: Audit, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of audit.json: rows by class, confusion matrices, passports."""
    population, training = result.population, result.training
    out: dict[str, Any] = {
        "schema": run_folder.SCHEMA,
        "run": folder.name,
        "model": cfg.model["name"],
        "dataset": population.data.name,
        "version": __version__,
        "finished": run_folder.now(),
        "settings": dict(settings),
        "rare": None,
        "balance": bool(cfg.dataset.get("balance")),
        "training": {"n": int(training.split.sum()), "counts": training.split.tolist()},
        "population": {"n": len(population.truth), "split_hash": population.data.split_hash},
        "readings": list(population.readings),
        "classes": rows(result),
        "verdict": verdict(result),
        "reasons": result.reasons,
    }
    if training.rare is not None:
        share = cfg.dataset.get("rare_share")
        out["rare"] = {"class": population.classes[training.rare], "share": share}
    if population.classifier is not None and population.confusion is not None:
        out["reference"] = {"real": population.confusion.tolist()} | _classifier(result)
    player = {"ema": settings["ema"], "checkpoint": settings["checkpoint"]}
    if result.samples is not None:
        s = result.samples
        more = {"seed": settings["seed"], "labels": s.labelling or None} | dict(settings["options"])
        out["samples"] = {
            "counts": s.counts.tolist(),
            "unclear": dict(zip(("value", "low", "high"), s.unclear, strict=True)),
            "unclear_expected": s.unclear_expected,
            "passport": _passport("class shares", result, cfg, settings["n"], player | more),
        }
    if result.asked is not None:
        out["asked"] = {"counts": result.asked.tolist()}
    if result.outcomes is not None:
        what = "class predicted" if result.predicts else "class of a reconstruction"
        reads = result.outcomes.reads
        out["fates"] = {
            "what": what,
            "counts": None if reads is None else reads.tolist(),
            "passport": _passport(what, result, cfg, len(population.truth), player),
        }
    return out


def _classifier(result: Audit) -> dict[str, Any]:
    classifier = result.population.classifier
    assert classifier is not None
    return {
        "extractor_hash": classifier.reference.hash,
        "extractor_accuracy": classifier.reference.accuracy,
        "unclear_below": classifier.least,
    }


def _passport(
    metric: str, result: Audit, cfg: TrainConfig, n: int, player: dict[str, Any]
) -> dict[str, Any]:
    population, more = result.population, {}
    if population.classifier is not None:
        more = {"extractor": "reference"} | _classifier(result)
    ruler = passport.ruler(metric, population.data, cfg, n, **more) | {"version": VERSION}
    return {"ruler": ruler, "player": player}


def comma_separated(audits: Iterable[tuple[Path, Mapping[str, Any]]]) -> str:
    """Format a CSV row for each run and class; an empty cell is a missing number."""
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
