"""Claim, write and read run folders, in the layout of the contract.

A folder is written whole (config.yaml, run.json) before the work starts, and every worker and
every resumed session runs from that config. What is read back is data: it names no code.
"""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import string
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from genai_cli.errors import UserError
from genai_cli.store import safe_yaml
from genai_cli.system.atomic_write import write_text
from genai_cli.system.file_lock import is_locked

SCHEMA = 1
CONFIG, RUN, METRICS = "config.yaml", "run.json", "metrics.csv"
SUMMARY, LOG = "summary.json", "train.log"
CHECKPOINTS = "checkpoints"
SWEEP, SWEEP_TABLE = "sweep.yaml", "sweep.csv"
UNMEASURED = "not measured yet"  # of a run that is trained, see `unmeasured`
STATUSES = ("running", "finished", "stopped", "interrupted", "failed")

_ALPHABET = string.ascii_lowercase + string.digits


def outputs_root(outputs: str | None = None) -> Path:
    """Return ``outputs=DIR``, else $GENAI_OUTPUTS, else ./outputs."""
    return Path(outputs or os.environ.get("GENAI_OUTPUTS") or "outputs")


def slug(text: str, limit: int = 60) -> str:
    """Return a folder-safe form: letters, digits, dot, minus and underscore; no ``=`` or ``,``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:limit] or "run"


def claim(root: Path, label: str, now: datetime | None = None) -> Path:
    """Make the new folder ``root/DATE/TIME-label-xxxx``, which no other process can get.

    The mkdir is exclusive, and the four random characters both keep runs of the same second apart
    and name the run on later command lines.

    Raises:
        UserError: the folder cannot be made (read-only, a file in the way).
    """
    now = now or datetime.now()
    while True:
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(4))
        path = root / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{slug(label)}-{suffix}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not path.parent.is_dir():
                raise UserError(f"outputs={root} is not a folder; set outputs=DIR") from None
            continue
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"cannot make a run folder in {root}: {reason}; set outputs=DIR"
            ) from None
        return path


def write_config(folder: Path, config: Mapping[str, Any], durable: bool = True) -> None:
    """Write config.yaml of a run."""
    write_text(folder / CONFIG, safe_yaml.dump(config), durable)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of a run as plain data.

    Raises:
        UserError: no config, not YAML, a newer version's, or text with ``${``, which a written
            config never has and which could read the environment if it were resolved.
    """
    path = folder / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{folder} is not a run: it has no readable {CONFIG}") from None
    try:
        config = safe_yaml.load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict) or "${" in str(config):  # written as \x24 or not
        raise UserError(f"{path} is not the plain config of a run")
    schema = read_json(folder / RUN).get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(
            f"{folder} was made by a newer version of genai (schema {schema} in its {RUN}, here "
            f"{SCHEMA}); update genai-cli"
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder; {} where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # a hundred thousand brackets
        return {}
    return value if isinstance(value, dict) else {}


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the rows of metrics.csv as numbers, without empty cells.

    Raises:
        UserError: it is not a file of text.
    """
    try:
        text = (folder / METRICS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (IsADirectoryError, UnicodeDecodeError):
        raise UserError(f"{folder / METRICS} is not a CSV of text; put it right or away") from None
    whole = text.rpartition("\n")[0]  # a row that is being written has no end yet
    try:
        rows = [_numbers(row) for row in csv.DictReader(whole.splitlines())]
    except csv.Error:  # a cell of more than 131072 letters; NUL on Python 3.10
        return []
    return [row for row in rows if "step" in row]


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """The cells of a row, or nothing of a row that was torn."""
    try:
        return {k: float(v) for k, v in row.items() if v}
    except (TypeError, ValueError):
        return {}


def is_training(folder: Path) -> bool:
    """Tell whether a living process trains in this folder."""
    try:
        with open(folder / LOG, encoding="utf-8") as file:
            return is_locked(file)
    except OSError:
        return False


def is_run(path: Path) -> bool:
    """Tell whether a path is the folder of a run."""
    return path_exists(path / CONFIG) and (path / CONFIG).is_file()


def is_sweep(path: Path) -> bool:
    """Tell whether a path is the folder of a sweep."""
    return path_exists(path / SWEEP) and (path / SWEEP).is_file()


def path_exists(path: Path) -> bool:
    """Tell whether a path exists; a word too long for a name, or with NUL in it, does not."""
    try:
        return path.exists()
    except (OSError, ValueError, RuntimeError):
        return False


def status(folder: Path, run_info: Mapping[str, Any]) -> str:
    """Return the status of a run from its run.json. A run that ended without writing its status has
    died; one that has written nothing yet is waiting (a cell of a sweep).
    """
    recorded = str(run_info.get("status", "damaged"))
    if recorded != "running":
        return recorded
    if not (folder / LOG).exists():
        return "waiting"
    return recorded if is_training(folder) else "died"


def unmeasured(summary: Mapping[str, Any]) -> bool:
    """Tell from summary.json whether a run is trained and its test split not measured yet."""
    return summary.get("measured") is False


def cells(sweep: Path) -> list[Path]:
    """Return the runs of a sweep, in order."""
    return [path for path in sorted(sweep.iterdir()) if is_run(path)]


def now() -> str:
    """Return the time in UTC as run.json has it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class MeasuredPart(NamedTuple):
    """Holds the part of a test split that was measured."""

    n: int  # examples
    draws: int  # of the noise of each


def measured_part(metrics: Any) -> MeasuredPart | None:
    """Return the part that the metrics of a summary.json were measured on; None without any."""
    for entry in metrics.values() if isinstance(metrics, Mapping) else ():
        try:
            papers = entry["passport"]
            return MeasuredPart(int(papers["ruler"]["n"]), int(papers["player"].get("draws", 1)))
        except (KeyError, TypeError, AttributeError, ValueError):
            continue
    return None


WEIGHTS, STATE, META = "weights.safetensors", "state.safetensors", "state.json"
