"""Read and write the sessions of a run in run.json: start step, changed keys, environment.

``resumed`` has an entry for each session but the first: the step it went on from, the keys that
were changed with their values before and after, and what was otherwise before (versions, device,
threads). So a run can be replayed as it really was, and a difference be explained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from genai_cli.config import schema
from genai_cli.store import run_folder

Changes = Mapping[str, tuple[Any, Any]]  # key → value before and after

ENVIRONMENT = ("device", "devices", "precision", "threads", "step_kind", "git")
OF_THIS_SESSION = (
    "device",
    "devices",
    "precision",
    "versions",
    "git",
)  # read again from the machine of each session


class SessionEntry(NamedTuple):
    """Holds one session of a run after the first."""

    step: int  # optimizer steps done when it began
    changes: dict[str, tuple[Any, Any]]
    was: dict[str, Any]  # fact → its value before, where it is another one since


def environment(run_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what numbers can depend on besides the config, by name."""
    versions = run_info.get("versions")
    values = dict(versions) if isinstance(versions, dict) else {}
    return values | {name: run_info.get(name) for name in ENVIRONMENT}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the environment values that two run.json both have and that differ."""
    a, b = environment(one), environment(other)
    known = [k for k in a if a[k] is not None and b.get(k) is not None]
    return {k: (a[k], b[k]) for k in known if a[k] != b[k]}


def resumed_run_info(
    run_info: Mapping[str, Any], fresh: Mapping[str, Any], changes: Changes
) -> dict[str, Any]:
    """Return run.json of a run that is about to resume. What earlier sessions wrote stays, but for
    what this one changes.

    Args:
        run_info: run.json as it is.
        fresh: what it would be of a new run with this config on this machine.
        changes: of the config.
    """
    now = {**fresh, **run_info, **{k: fresh[k] for k in OF_THIS_SESSION}}
    now |= {"status": "running", "finished": None}
    if fresh["precision"] is None and "precision" not in changes:  # auto, which was measured
        now["precision"] = run_info.get("precision")
    unbegun = run_info.get("device") is None and run_info.get("threads") is None
    if unbegun or "trainer.threads" in changes or "trainer.devices" in changes:
        now["threads"] = fresh["threads"]
    if "trainer.step" in changes:
        now["step_kind"] = None
    was = {k: before for k, (before, _) in differences(run_info, now).items()}
    if now["precision"] is None and run_info.get("precision") is not None:
        was["precision"] = run_info["precision"]  # it is to be measured
    entry = _entry(changes, was)
    if now.pop("reason", None):  # asked to stop, or pruned by its sweep: whoever resumes it knows
        entry["was"]["reason"] = run_info["reason"]
        now["prune"] = False
    return now | {"resumed": [*_list(run_info), entry]}


def drop_unwritten_changes(
    run_info: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return run.json without changes that never reached config.yaml. A session that was killed
    before it wrote config.yaml has announced them in vain.
    """
    known, entries, back = schema.flatten(config), [], {}
    for entry in _list(run_info):
        changes = entry.get("changes") if isinstance(entry, dict) else None
        if isinstance(changes, dict) and changes and entry.get("step") is None:
            kept = {k: v for k, v in changes.items() if isinstance(v, list) and len(v) == 2}
            kept = {k: v for k, v in kept.items() if k in known and known[k] == v[1]}
            if len(kept) < len(changes):
                was = entry.get("was") if isinstance(entry.get("was"), dict) else {}
                back |= {k: was[k] for k in ("threads", "step_kind", "precision") if k in was}
                entry = {**entry, "changes": kept}
        entries.append(entry)
    return {**run_info, **back, **({"resumed": entries} if entries else {})}


def machine_note(other: Changes) -> str:
    """Return a note for a run that resumes on another machine, from `differences`; or ""."""
    named = ("device", "processor", "kernels", "cuda", "cudnn")
    texts = [f"{key} {other[key][0]} → {other[key][1]}" for key in named if key in other]
    return f"note: another machine than before, not bit-equal: {', '.join(texts)}" if texts else ""


def add_environment_change(run_info: Mapping[str, Any], was: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key ``resumed`` for a session with other versions and no changed key."""
    return {"resumed": [*_list(run_info), _entry({}, was)]}


def set_start_step(run_info: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Return the key ``resumed`` with the step a session starts from; {} for a first one."""
    entries = [dict(e) if isinstance(e, dict) else e for e in _list(run_info)]
    waiting = [e for e in entries if isinstance(e, dict) and e.get("step") is None]
    if not waiting and step:  # not announced, as where a sweep's worker resumes
        waiting = [_entry({}, {})]
        entries += waiting
    for entry in waiting:
        entry["step"] = step
    return {"resumed": entries} if entries else {}


def read_entries(run_info: Mapping[str, Any]) -> Iterator[SessionEntry]:
    """Yield the readable entries in order; a run folder may be a stranger's."""
    for entry in _list(run_info):
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            continue
        changes, was = entry.get("changes"), entry.get("was")
        pairs = changes.items() if isinstance(changes, dict) else ()
        parsed = {k: (v[0], v[1]) for k, v in pairs if isinstance(v, list) and len(v) == 2}
        yield SessionEntry(max(entry["step"], 0), parsed, was if isinstance(was, dict) else {})


def precision_from(run_info: Mapping[str, Any], step: int) -> str | None:
    """Return the precision of the steps that follow ``step``; None where it is not known."""
    precision = run_info.get("precision")
    for entry in reversed(list(read_entries(run_info))):
        if entry.step > step:
            precision = entry.was.get("precision", precision)
    return precision


def config_segments(
    config: Mapping[str, Any], run_info: Mapping[str, Any], keys: tuple[str, ...]
) -> list[tuple[int, dict[str, Any]]]:
    """Return the config from each step on: [(0, as it began), …, (step, as it is now)].

    A session that was killed and whose steps were taken again leaves nothing.

    Args:
        config: as it stands in config.yaml.
        run_info: run.json.
        keys: those that change what the steps compute; others are as they are now throughout.
    """
    known = schema.flatten(config)
    entries = []
    for entry in read_entries(run_info):
        changes = {k: v for k, v in entry.changes.items() if k in keys and k in known}
        entries.append((entry.step, changes))
    segments: list[tuple[int, dict[str, Any]]] = [(0, dict(config))]
    for step, changes in reversed(entries):
        if not changes:
            continue
        before = _put(segments[0][1], {k: old for k, (old, _) in changes.items()})
        segments[0] = (step, segments[0][1])
        segments.insert(0, (0, before))
    kept: list[tuple[int, dict[str, Any]]] = []
    for step, part in segments:
        while kept and kept[-1][0] >= step:
            kept.pop()
        if not kept or part != kept[-1][1]:  # a change that was announced may not be in force
            kept.append((step, part))
    return kept


def _put(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested mappings with dotted keys set."""
    import copy

    out = copy.deepcopy(dict(config))
    for key, value in values.items():
        *path, last = key.split(".")
        node = out
        for part in path:
            node = node[part]
        node[last] = value
    return out


def _entry(changes: Changes, was: Mapping[str, Any]) -> dict[str, Any]:
    pairs = {key: list(pair) for key, pair in changes.items()}
    return {"at": run_folder.now(), "step": None, "changes": pairs, "was": dict(was)}


def _list(run_info: Mapping[str, Any]) -> list[Any]:
    entries = run_info.get("resumed")
    return entries if isinstance(entries, list) else []
