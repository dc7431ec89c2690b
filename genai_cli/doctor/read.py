"""Read run folders, and CSV files of genai and other tools, as a `Reading`.

Of other tools' files are understood: Keras' CSVLogger (``epoch,loss,val_loss``), Lightning's (a row
per logged step, half of the cells empty, ``train_loss`` or ``train_loss_epoch``), any order of the
columns, commas, semicolons or tabs between them, and a decimal comma where they are semicolons;
several calls of ``fit`` in one file, each counting anew (`_together`).
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from genai_cli.config import schema
from genai_cli.doctor.reading import Reading
from genai_cli.errors import UserError, listing
from genai_cli.store import run_folder
from genai_cli.store.labels import reference

TRAIN = ("loss", "train_loss", "train/loss", "train_loss_epoch", "training_loss", "loss_epoch")
VALIDATION = ("val_loss", "val/loss", "val_loss_epoch", "validation_loss", "valid_loss")
RATE = ("lr", "learning_rate", "learning rate")
Points = dict[float, dict[str, list[float]]]  # epoch → column → its cells
_LOSSES = {"train/loss", "val/loss"}
LARGEST = 50_000_000  # bytes of a CSV: a loss for every epoch of years is smaller


def run(folder: Path) -> Reading:
    """Read a genai run in any state; damaged files show as missing evidence."""
    config = schema.flatten(run_folder.read_config(folder))
    rows = run_folder.read_metrics(folder)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    summary = run_folder.read_json(folder / run_folder.SUMMARY)
    described = run_folder.read_json(folder / run_folder.RUN)
    status = run_folder.status(folder, described)
    reason = failure(folder, status)
    words = command(described)
    about = reference(folder), columns, config, numbers(summary), status, reason, words
    return Reading(*about, unmeasured=run_folder.unmeasured(summary))


def command(described: dict[str, Any]) -> list[str]:
    """Return the words of the command that started a run; [] for a sweep, or where unknown."""
    try:
        words = shlex.split(str(described.get("command") or ""))
    except ValueError:
        return []
    single = words[:2] == ["genai", "train"] and not {"-m", "--multirun"} & set(words)
    return words if single else []


def numbers(summary: dict[str, Any]) -> dict[str, float]:
    """Return the values of a summary.json, both metrics and evidence."""
    values = {}
    for name, entry in (summary.get("metrics") or {}).items():
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float):
            values[name] = float(entry["value"])
    for name, value in (summary.get("evidence") or {}).items():
        if isinstance(value, int | float):
            values[name] = float(value)
    return values


def failure(folder: Path, status: str) -> str:
    """Return the message of a failed run about the loss that became nan or infinite."""
    if status != "failed":
        return ""
    try:
        log = (folder / run_folder.LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    matches = re.findall(r"Diverged: (\S+ became \S+ in epoch \d+)", log)
    return matches[-1] if matches else ""


def file(path: Path) -> Reading:
    """Read a CSV with epoch, training loss and validation loss.

    Raises:
        UserError: it cannot be read, or lacks one of the three.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is no loss curve: it has more than {LARGEST // 10**6} MB")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"cannot read {path}; give a run, or a CSV file") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    names = {str(n).strip().lower(): n for n in (rows[0] if rows else {}) if n}
    wanted = {"epoch": ("epoch",), "train/loss": TRAIN, "val/loss": VALIDATION}
    column_of = {
        k: next((names[a] for a in known if a in names), None) for k, known in wanted.items()
    }
    missing = [
        {"train/loss": "loss", "val/loss": "val_loss"}.get(k, k)
        for k in column_of
        if not column_of[k]
    ]
    if missing:
        have = f" (it has {listing(names)})" if names else ""
        raise UserError(
            f"{path} has no column {' or '.join(missing)}: a CSV needs epoch,loss,val_loss{have}"
        )
    rate = next((names[a] for a in names if a in RATE or a.startswith("lr-")), None)
    if rate is not None:
        column_of["lr"] = rate
    fits: list[Points] = [{}]
    for row in rows:
        epoch = _number(row[column_of["epoch"]], delimiter)
        if epoch is None:  # Lightning logs the rate without an epoch
            continue
        if fits[-1] and epoch < max(fits[-1]) and epoch == min(fits[0]):
            fits.append({})
        point = fits[-1].setdefault(epoch, {})
        for name in column_of:
            value = _number(row[column_of[name]], delimiter)
            if name != "epoch" and value is not None:
                point.setdefault(name, []).append(value)
    points = _together([{e: p for e, p in fit.items() if _LOSSES & set(p)} for fit in fits])
    if not points:
        raise UserError(f"{path} has no row with an epoch and a loss")
    epochs = sorted(points)
    columns = {
        name: np.array([float(np.mean(points[e].get(name, [np.nan]))) for e in epochs])
        for name in column_of
        if name != "epoch"
    }
    first = 1 - min(epochs[0], 1)  # Keras and Lightning count from 0
    return Reading(path.name, {"epoch": np.array(epochs) + first} | columns)


def _together(fits: list[Points]) -> Points:
    """Epochs of several calls of ``fit``, one after the other. A call whose training loss begins
    nearer to where the one before it began than to where that ended has trained another model:
    only what follows counts."""
    joined: Points = {}
    for fit in filter(None, fits):
        if joined:
            first, last = _loss(joined[min(joined)]), _loss(joined[max(joined)])
            begins = _loss(fit[min(fit)])
            if abs(begins - first) < abs(begins - last):
                joined = {}
        after = max(joined) + 1 - min(fit) if joined else 0
        joined |= {epoch + after: point for epoch, point in fit.items()}
    return joined


def _loss(point: dict[str, list[float]]) -> float:
    return float(np.mean(point.get("train/loss", [np.nan])))


def _number(cell: str | None, delimiter: str) -> float | None:
    """A cell; None where it is empty. A word is a mistake of the file, told as such."""
    if cell is None or not cell.strip():
        return None
    if delimiter == ";":
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        raise UserError(
            f"'{cell.strip()[:30]}' is no number; a CSV needs epoch,loss,val_loss"
        ) from None
