"""The run folder: how it is claimed, written, found and read. The layout is the contract's.

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
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from genai_cli import plain_yaml
from genai_cli.durable import write_json as write_json  # runs.write_json, for all who write one
from genai_cli.durable import write_text
from genai_cli.errors import UserError, nearest
from genai_cli.locks import busy
from genai_cli.places import folders

SCHEMA = 1
CONFIG, RUN, METRICS = "config.yaml", "run.json", "metrics.csv"
SUMMARY, LOG = "summary.json", "train.log"
CHECKPOINTS = "checkpoints"
SWEEP, SWEEP_TABLE = "sweep.yaml", "sweep.csv"
UNMEASURED = "not measured yet"  # of a run that is trained, see `unmeasured`
STATUSES = ("running", "finished", "stopped", "interrupted", "failed")

_ALPHABET = string.ascii_lowercase + string.digits


def outputs_root(outputs: str | None = None) -> Path:
    """``outputs=DIR``, else $GENAI_OUTPUTS, else ./outputs."""
    return Path(outputs or os.environ.get("GENAI_OUTPUTS") or "outputs")


def slug(text: str, limit: int = 60) -> str:
    """A folder-safe form: letters, digits, dot, minus and underscore; no ``=`` or ``,``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:limit] or "run"


def claim(root: Path, label: str, now: datetime | None = None) -> Path:
    """Make ``root/DATE/TIME-label-xxxx`` for ourselves alone.

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
    write_text(folder / CONFIG, plain_yaml.dump(config), durable)


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run as plain data.

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
        config = plain_yaml.load(text)
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
    """A JSON object of a run folder, or {} where there is none or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # a hundred thousand brackets
        return {}
    return value if isinstance(value, dict) else {}


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv as numbers; an empty cell is left out.

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


def held(folder: Path) -> bool:
    """Whether a living process trains in this folder."""
    try:
        with open(folder / LOG, encoding="utf-8") as file:
            return busy(file)
    except OSError:
        return False


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested mappings: {"model": {"beta": 1}} is {"model.beta": 1}."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def is_run(path: Path) -> bool:
    return _there(path / CONFIG) and (path / CONFIG).is_file()


def is_sweep(path: Path) -> bool:
    return _there(path / SWEEP) and (path / SWEEP).is_file()


def _there(path: Path) -> bool:
    """Whether something is there; a word too long for a name, or with NUL in it, is nothing."""
    try:
        return path.exists()
    except (OSError, ValueError, RuntimeError):
        return False


def all_runs(root: Path) -> Iterator[Path]:
    """Every run below an outputs folder, cells of sweeps and a lecture's included, oldest first."""
    for path in folders(root):
        if is_sweep(path):
            yield from cells(path)
        elif is_run(path):
            yield path


def status(folder: Path, described: Mapping[str, Any]) -> str:
    """How a run stands, from its run.json: one that runs no more without saying so has died, and
    one that has said nothing yet is waiting (a cell of a sweep)."""
    told = str(described.get("status", "damaged"))
    if told != "running":
        return told
    if not (folder / LOG).exists():
        return "waiting"
    return told if held(folder) else "died"


def unmeasured(summary: Mapping[str, Any]) -> bool:
    """Whether a run's training is over and its test split not measured yet, from summary.json."""
    return summary.get("measured") is False


def cells(sweep: Path) -> list[Path]:
    """The runs of a sweep, in order."""
    return [path for path in sorted(sweep.iterdir()) if is_run(path)]


def find_all(reference: str, outputs: str | None = None) -> list[Path]:
    """The runs a user means, in order: as `find`, and of a sweep all its cells.

    ``latest`` is what was started last, be it a run or a sweep.

    Raises:
        UserError: nothing, or more than one run or sweep, answers to it.
    """
    if is_run(Path(reference)):
        return [Path(reference)]
    root = outputs_root(outputs)
    if is_sweep(Path(reference)):
        sweeps = [Path(reference)]
    elif reference == "latest":
        last = find(reference, outputs)
        sweeps = [last.parent] if is_sweep(last.parent) else []
        if not sweeps:
            return [last]
    else:
        sweeps = sweeps_named(root, reference)
    if not sweeps:
        return [find(reference, outputs)]
    if len(sweeps) > 1:
        raise UserError(f"'{reference}' means {len(sweeps)} sweeps; give more of the path")
    found = cells(sweeps[0])
    if not found:
        raise UserError(f"{sweeps[0]} is a sweep without a run")
    return found


def sweeps_named(root: Path, reference: str) -> list[Path]:
    """The sweeps of a name or suffix."""
    named = (p for p in folders(root) if reference in (p.name, p.name.rsplit("-", 1)[-1]))
    return sorted(filter(is_sweep, named))


def find(reference: str, outputs: str | None = None) -> Path:
    """The run a user means: a path, a folder's suffix (k3f9, k3f9/000), or ``latest``.

    Raises:
        UserError: nothing, or more than one run, answers to it.
    """
    root = outputs_root(outputs)
    if is_run(Path(reference)):
        return Path(reference)
    if is_sweep(Path(reference)):
        raise UserError(f"{reference} is a sweep of several runs; name one of its folders")
    runs = list(all_runs(root))
    if reference == "latest":
        started = [(str(read_json(run / RUN).get("started") or ""), run) for run in runs]
        if not started:
            raise UserError(f"no run in {root.absolute()} yet; start one with: genai train")
        return max(started)[1]
    sweep, _, cell = reference.partition("/")
    matches = [run for run in runs if run.name == reference or run.name.endswith(f"-{reference}")]
    if cell:
        matches += [
            run
            for run in runs
            if (run.parent.name.endswith(f"-{sweep}") or run.parent.name == sweep)
            and (run.name == cell or run.name.startswith(f"{cell}-"))
        ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(str(m.relative_to(root)) for m in matches[:4])
        raise UserError(
            f"'{reference}' means {len(matches)} runs ({names} …); give more of the path"
        )
    sweeps = [p for p in folders(root) if p.name.endswith(f"-{reference}") and is_sweep(p)]
    if sweeps:
        raise UserError(
            f"'{reference}' is a sweep of several runs; name one of its cells, like {reference}/000"
        )
    for torso in (p for p in root.glob(f"*/*-{slug(reference)}") if p.is_dir() and not is_run(p)):
        command = read_json(torso / RUN).get("command") or "genai train …"
        raise UserError(
            f"{torso} was killed before its folder was whole; start it again: {command} "
            f"(and remove the rest: rm -r {torso})"
        )
    if reference and _there(Path(reference)):
        raise UserError(f"{reference} is no run: it has no readable {CONFIG}; see: genai runs")
    suffixes = [run.name.rsplit("-", 1)[-1] for run in runs]
    raise UserError(
        f"no run '{reference}' in {root.absolute()}{nearest(reference, suffixes)}; see: genai runs"
    )


def now() -> str:
    """The time, UTC, as it stands in run.json."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
