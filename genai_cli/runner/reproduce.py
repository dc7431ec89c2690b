"""Train a run again from its folder alone, and judge whether the two are one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.errors import listing
from genai_cli.store import history as run_history
from genai_cli.store import run_folder
from genai_cli.store.run_diff import DIFFERS, RESULT, RunDiff, compare, same_weights
from genai_cli.store.run_folder import MeasuredPart
from genai_cli.system import atomic_write
from genai_cli.system.gc_freeze import gc_paused
from genai_cli.system.text import format_table

if TYPE_CHECKING:
    from genai_cli.runner.prepare import Prepared
    from genai_cli.system.preemption import Signals


SCHEMA = 1  # of reproduction.json


def prepare_part(
    folder: Path,
    config: dict[str, Any],
    run_info: Mapping[str, Any],
    step: int,
    measured: MeasuredPart | None,
) -> Prepared:
    """Prepare the part of a run from ``step`` on, measured on as much test data; write nothing."""
    from genai_cli.config import validation
    from genai_cli.runner.prepare import Prepared

    with gc_paused():
        from genai_cli.config import schema
        from genai_cli.runner import checks, description, load

    cfg = schema.from_dict(config, folder / run_folder.CONFIG)
    validation.check(cfg)
    data = load.load_data(cfg)
    load.same_data(folder, data)
    checks.check_built(cfg, data)
    now = description.description(cfg, data)
    kind = run_info.get("step_kind")
    now |= {"threads": run_info.get("threads") or now["threads"]}
    now |= {"step_kind": "eager" if kind == "packed" else kind}
    if cfg.precision == "auto":
        now["precision"] = run_history.precision_from(run_info, step)
    if measured is not None:
        now["measure"] = measured._asdict()
    trainer = dataclasses.replace(cfg.trainer, loggers=[])
    return Prepared(dataclasses.replace(cfg, outputs=None, trainer=trainer), data, now)


def describe_end(run_info: Mapping[str, Any], last: Mapping[str, float]) -> str:
    """Explain why a run has no more epochs; "" where it came to its own end."""
    if run_info.get("reason"):
        return f"to epoch {int(last['epoch'])}, after which it was {run_info['reason']}"
    if run_info.get("status") in ("finished", "stopped"):
        return ""
    return f"to epoch {int(last['epoch'])}, the last one of a run that did not end"


def train_parts(
    twin: Path, parts: list[tuple[int, Prepared]], until: int | None, signals: Signals
) -> int:
    """Train each part up to the step where the next one begins, and the last to its end."""
    from genai_cli.config import schema
    from genai_cli.runner.run import run

    ends = [*(step for step, _ in parts[1:]), until]
    code = 0
    for i, ((step, part), end) in enumerate(zip(parts, ends, strict=True)):
        if i:
            before, after = (schema.flatten(schema.to_dict(p.cfg)) for p in (parts[i - 1][1], part))
            words = [f"{k}={after[k]}" for k in after if after[k] != before[k]]
            print(f"again  from step {step} with {', '.join(words)}")
            run_folder.write_config(twin, schema.to_dict(part.cfg))
            run_info = run_folder.read_json(twin / run_folder.RUN)
            again = {"status": "running", "finished": None}
            again |= {"precision": part.run_info["precision"]}
            atomic_write.write_json(twin / run_folder.RUN, run_info | again)
        code = run(twin, part.data, resume=i > 0, signals=signals, until=end)
        if signals.code or code not in (0, 143):
            return code
    return 0 if until is not None else code


def measure_stopped(twin: Path, reason: str, part: Prepared, signals: Signals) -> int:
    """Measure a run that its sweep or a user stopped, with the weights it has."""
    from genai_cli.runner.run import run

    run_info = run_folder.read_json(twin / run_folder.RUN)
    again = {"status": "running", "finished": None, "reason": reason}
    atomic_write.write_json(twin / run_folder.RUN, run_info | again)
    return run(twin, part.data, resume=True, signals=signals)


def judge(folder: Path, twin: Path, run_info: Mapping[str, Any], rtol: float, whole: bool) -> int:
    """Compare the two runs, print the verdict, write reproduction.json; return the exit code."""
    rows = run_folder.read_metrics(folder), run_folder.read_metrics(twin)
    summaries = (
        run_folder.read_json(folder / run_folder.SUMMARY),
        run_folder.read_json(twin / run_folder.SUMMARY),
    )
    diff = compare(*rows, summaries)
    step = int(rows[0][-1]["step"])
    diff.weights = same_weights(folder, twin, step)
    verdict = diff.verdict(rtol)
    now = run_folder.read_json(twin / run_folder.RUN)
    other = run_history.differences(run_info, now)
    print()
    print(f"{verdict}: {_describe(diff, verdict, rtol, step)}")
    if diff.gaps:
        print(f"first    {diff.first.describe()}")
        print(f"largest  {diff.largest.describe()}")
    history = _history(run_info)
    if diff.newer:
        history.append(f"not written by the first run, not compared: {listing(diff.newer)}")
    if diff.unlike:
        history.append(f"{run_folder.SUMMARY}: {diff.unlike}")
    if run_folder.unmeasured(summaries[0]):
        history.append(
            f"the first run is {run_folder.UNMEASURED}: no number of {run_folder.SUMMARY}"
        )
    if other or history:
        print()
    if other:
        table = [(name, *map(str, pair)) for name, pair in other.items()]
        print(format_table("not the same", ("", "then", "now"), table, left=(0, 1, 2)))
    elif verdict == DIFFERS:
        print("versions, machine, threads, step kind and commit are those that run.json recorded")
    for line in history:
        print(f"note   {line}")
    written = {
        "schema": SCHEMA,
        "of": folder.name,
        "verdict": verdict,
        "rtol": rtol,
        "epochs": diff.rows,
        "numbers": diff.numbers,
        "weights": diff.weights,
        "first": diff.first and diff.first.describe(),
        "largest": diff.largest and diff.largest.describe(),
        "not_the_same": {name: list(pair) for name, pair in other.items()},
        "history": history,
    }
    atomic_write.write_json(twin / RESULT, written)
    print(f"{twin}")
    return int(verdict == DIFFERS)


def _describe(diff: RunDiff, verdict: str, rtol: float, step: int) -> str:
    """Describe the rows, numbers and weights that were compared."""
    parts = [f"{diff.rows} epochs of {run_folder.METRICS}"]
    if diff.numbers:
        parts.append(f"{diff.numbers} numbers of {run_folder.SUMMARY}")
    if diff.weights is not None:
        equal = "the same" if diff.weights else "other"
        parts.append(f"{equal} weights at step {step}")
    tolerance = "" if verdict == "identical" else f" (rtol={rtol:g} of each column's range)"
    return ", ".join(parts) + tolerance


def _history(run_info: Mapping[str, Any]) -> list[str]:
    """List the events of a run that a second run cannot repeat."""
    lines = []
    for entry in run_history.read_entries(run_info):
        if entry.was:
            was = ", ".join(f"{name} {value}" for name, value in entry.was.items())
            lines.append(f"to step {entry.step} with {was}")
    tries = run_info.get("out_of_memory")
    for one in tries if isinstance(tries, list) else ():
        if isinstance(one, dict) and "accumulate" in one:
            lines.append(
                f"memory ran out at step {one.get('step')}: from there in "
                f"{one['accumulate']} micro-batches, here throughout"
            )
    pack = run_info.get("pack")
    if isinstance(pack, dict):
        lines.append(f"trained in a stack of {pack.get('cells')} runs, here alone: not bit-equal")
    return lines
