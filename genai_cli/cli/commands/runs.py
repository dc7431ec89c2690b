"""`genai runs` lists runs with their differences and statuses; `prune` removes some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from genai_cli.cli.arguments import PruneRequest, RunsRequest, parse_arguments
from genai_cli.cli.usage import STATUSES
from genai_cli.config import schema
from genai_cli.errors import UserError, listing, nearest
from genai_cli.lecture.folder import is_running
from genai_cli.store import lookup, outputs, run_folder
from genai_cli.store.labels import differing_keys, format_value, reference
from genai_cli.system.text import format_number, format_table

NEWEST = 20  # rows shown without --all

SHOWN_METRICS = ("test/accuracy", "test/mse", "test/loss")  # the first two a run has


def main(args: list[str]) -> int:
    """List runs, newest last, or remove those a filter names."""
    prune = args[:1] == ["prune"]
    kind = PruneRequest if prune else RunsRequest
    names, request, changes = parse_arguments(
        args[1:] if prune else args, "runs", kind, others=True
    )
    for name in names:
        raise UserError(f"'{name}' is not key=value; a filter looks like model=vae")
    filters = dict(change.split("=", 1) for change in changes)
    root = run_folder.outputs_root(request.outputs)
    records = [_record(path) for path in lookup.all_runs(root)]
    if prune:
        _check_keys(filters, records)
        return _prune(root, [r for r in records if _matches(r, filters or {"status": "failed"})],
                      request.yes)  # fmt: skip
    _check_keys(filters, records)
    chosen = [r for r in records if _matches(r, filters)]
    if request.json:
        print(json.dumps([_public(r) for r in chosen], indent=2))
        return 0
    if not chosen:
        print(_none(root, filters, records))
        return 0
    listed = chosen if request.all else chosen[-NEWEST:]
    print(_table(root, listed))
    if len(listed) < len(chosen):
        print(f"  … and {len(chosen) - len(listed)} older ones: genai runs --all")
    return 0


def _none(root: Path, filters: dict[str, str], records: list[dict[str, Any]]) -> str:
    """Explain an empty table: the folder searched, and the nearest value that exists."""
    path = root.absolute()
    if not records:
        return f"no run in {path}; start one with: genai train"
    for key, wanted in filters.items():
        there = {str(_value(r, key)) for r in records if _value(r, key) is not None}
        near = [nearest(word, there) for word in wanted.split(",") if word not in there]
        if len(near) == len(wanted.split(",")):
            known = f" (there are: {listing(there)})" if 0 < len(there) < 20 else ""
            return f"no run with {key}={wanted} in {path}{next(filter(None, near), '')}{known}"
    return f"no run with {' '.join(f'{k}={v}' for k, v in filters.items())} in {path}"


def _record(path: Path) -> dict[str, Any]:
    """Collect the data of one run for the table, the filters and --json; damage gives blanks."""
    try:
        config = run_folder.read_config(path)
    except UserError:
        config = {}
    run_info = run_folder.read_json(path / run_folder.RUN)
    done = run_folder.read_json(path / run_folder.SUMMARY)
    return {
        "path": path,
        "config": schema.flatten(config),
        "status": run_folder.status(path, run_info),
        "started": str(run_info.get("started") or "")[:16].replace("T", " "),
        "parameters": run_info.get("parameters"),
        "epoch": done.get("epoch"),
        "seconds": _number(done.get("seconds")),
        "measured": not run_folder.unmeasured(done) if done else None,
        "metrics": _metrics(done.get("metrics")),
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _metrics(entries: Any) -> dict[str, float]:
    """The numbers of a summary; what a damaged file holds instead is left out."""
    if not isinstance(entries, dict):
        return {}
    numbers = {k: _number(v.get("value")) for k, v in entries.items() if isinstance(v, dict)}
    return {k: v for k, v in numbers.items() if v is not None}


def _value(record: dict[str, Any], key: str) -> Any:
    """A filter's key: status, a config key, or a group, which means its choice."""
    if key == "status":
        return record["status"]
    config = record["config"]
    return config.get(key, config.get(f"{key}.name"))


def _matches(record: dict[str, Any], filters: dict[str, str]) -> bool:
    for key, wanted in filters.items():
        value = _value(record, key)
        if isinstance(value, list):
            if wanted not in map(str, value):
                return False
        elif str(value) not in wanted.split(","):
            return False
    return True


def _check_keys(filters: dict[str, str], records: list[dict[str, Any]]) -> None:
    known = {"status"} | {k for r in records for k in r["config"]}
    known |= {k.removesuffix(".name") for k in known if k.endswith(".name")}
    for key in filters:
        if records and key not in known:
            raise UserError(f"no run has a key '{key}'{nearest(key, known)}")
    for word in filters.get("status", "").split(","):
        if word and word not in STATUSES:
            raise UserError(
                f"no run has status={word}{nearest(word, STATUSES)} "
                f"(choose from: {listing(STATUSES)})"
            )


def _public(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"path": str(record["path"])}


def _table(root: Path, records: list[dict[str, Any]]) -> str:
    varied = differing_keys([r["config"] for r in records])
    rows = []
    for r in records:
        what = " ".join(
            [str(_value(r, "model") or "?"), str(_value(r, "dataset") or "?")]
            + [f"{k}={format_value(r['config'][k])}" for k in varied if k in r["config"]]
        )
        numbers = [f"{n.removeprefix('test/')} {format_number(r['metrics'][n])}"
                   for n in SHOWN_METRICS if n in r["metrics"]]  # fmt: skip
        if r["measured"] is False and r["status"] in ("finished", "stopped"):
            numbers = [run_folder.UNMEASURED]
        seconds = "" if r["seconds"] is None else f"{r['seconds']:.1f} s"
        rows.append([reference(r["path"]), r["started"], r["status"], seconds,
                     "  ".join(numbers[:2]), what])  # fmt: skip
    head = ("run", "started (UTC)", "status", "time", "test", "what")
    return format_table(f"{len(records)} runs in {root}", head, rows, left=(0, 1, 2, 5))


def _prune(root: Path, records: list[dict[str, Any]], sure: bool) -> int:
    """Remove runs; a cell of a sweep only with all its sweep, so that its table stays true, and a
    run of a lecture only with all the lecture, whose page shows it."""
    whole: dict[Path, list[Path]] = {}
    for r in records:
        path = r["path"]
        if r["status"] == "running" and run_folder.is_training(path):
            raise UserError(f"{path} is running; stop it first")
        whole.setdefault(_unit(path), []).append(path)
    targets = [unit for unit, members in whole.items() if len(members) == _runs_in(unit)]
    for unit in targets:
        if outputs.is_lecture(unit) and is_running(unit):
            raise UserError(f"{unit} is running; stop it first")
    if not targets:
        print(f"nothing to remove in {root}")
        return 0
    for unit in targets:
        size = sum(f.stat().st_size for f in unit.rglob("*") if f.is_file())
        print(f"{'removed' if sure else 'would remove'} {unit} ({size / 1e6:.1f} MB)")
        if sure:
            shutil.rmtree(unit)
    if not sure:
        print(f"{len(targets)} in all; to remove them add --yes (statuses: "
              f"{listing(run_folder.STATUSES)})")  # fmt: skip
    return 0


def _unit(run: Path) -> Path:
    """Return the folder a run is removed with: its lecture, else its sweep, else itself."""
    lecture = next(filter(outputs.is_lecture, run.parents), None)
    return lecture or (run.parent if run_folder.is_sweep(run.parent) else run)


def _runs_in(unit: Path) -> int:
    """Count the runs in a lecture, a sweep or a run."""
    if outputs.is_lecture(unit):
        return sum(len(list(lookup.all_runs(item))) for item in unit.iterdir() if item.is_dir())
    return sum(map(run_folder.is_run, unit.iterdir())) if run_folder.is_sweep(unit) else 1
