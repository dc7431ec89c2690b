"""Retry a cell that ran out of memory with smaller micro-batches.

``trainer.accumulate`` cuts a batch into micro-batches without changing its gradient, so the run is
the one that was asked for, but for rounding. What the log of the failed run says last decides:
the same rule for a run in this process, in another one, or on another node.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from genai_cli.config import schema
from genai_cli.errors import UserError
from genai_cli.models import build
from genai_cli.runner import load
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.training import checkpoint

RAN_OUT = re.compile(
    r"(\w+\.)*OutOfMemoryError\b"  # of torch
    r"|.*CUDA out of memory|.*CUBLAS_STATUS_ALLOC_FAILED|.*MPS backend out of memory"
    r"|.*DefaultCPUAllocator: (can't|not enough)"
    r"|(\w+\.)*MemoryError\b"
)


def retry_smaller(cell: Path, train: Callable[[], int]) -> int:
    """Call ``train()``, again with half the micro-batch as long as it runs out of memory.

    Args:
        cell: a run folder.
        train: trains in it, or goes on; the exit code.

    Returns:
        The exit code of the last try: at a micro-batch of one example there is no other.
    """
    code = train()
    while code == 1 and ran_out_of_memory(cell) and halve_micro_batch(cell):
        gc.collect()  # what the failed run held
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        code = train()
    return code


def split_stack(stack: Sequence[Path]) -> list[Path]:
    """Return the cells of a stack that ran out of memory; each is then trained by itself."""
    cells = [cell for cell in stack if ran_out_of_memory(cell)]
    for cell in cells:
        message = f"out of memory in a stack of {len(stack)} runs: going on alone"
        _record_retry(cell, {"step": _checkpoint_step(cell), "stack": len(stack)}, message)
    return cells


def ran_out_of_memory(cell: Path) -> bool:
    """Return whether a cell failed because memory ran out."""
    if run_folder.read_json(cell / run_folder.RUN).get("status") != "failed":
        return False
    try:
        lines = (cell / run_folder.LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    end = "\n".join(lines[-40:])
    last = end.rpartition("\n  File ")[2]  # what stands below the last frame of a traceback
    # an indented line is a line of code, not of the message
    message_lines = [line for line in last.splitlines() if line[:1] != " "]
    return any(map(RAN_OUT.match, message_lines))


def halve_micro_batch(cell: Path) -> bool:
    """Halve the micro-batch in a cell's config and note it in its log and run.json.

    Returns:
        False where that cannot be: one example is the least, and a loss that looks at the whole
        batch cannot be cut.
    """
    config = run_folder.read_config(cell)
    before, most = config["trainer"]["accumulate"], config["batch_size"]
    after = min(2 * before, most)
    cfg = schema.from_dict(config, cell / run_folder.CONFIG)
    if after == before or _needs_whole_batch(cfg):
        return False
    config["trainer"]["accumulate"] = after
    run_folder.write_config(cell, config)
    step = _checkpoint_step(cell)
    start = f"going on after step {step}" if step else "starting again"
    message = (
        f"out of memory: {start} in micro-batches of {-(-most // after)} "
        f"(trainer.accumulate={after}); batch_size stays {most}"
    )
    _record_retry(cell, {"step": step, "accumulate": after}, message)
    return True


def _record_retry(cell: Path, what: dict[str, int], message: str) -> None:
    """Note a new try in run.json, in the log and on the screen."""
    described = run_folder.read_json(cell / run_folder.RUN)
    tries = [*described.get("out_of_memory", []), what]
    again = {"status": "running", "finished": None, "out_of_memory": tries}
    atomic_write.write_json(cell / run_folder.RUN, described | again)
    with open(cell / run_folder.LOG, "a", encoding="utf-8") as log:
        log.write(f"{message}\n")
    print(f"genai: {cell.name}: {message}", file=sys.stderr)


def _needs_whole_batch(cfg: Any) -> bool:
    """Whether a loss needs its whole batch at once."""
    try:
        data = load.load_data(cfg)
        with torch.device("meta"):
            return build.build_model(cfg, data.spec).batch_dependent
    except UserError:
        return True  # it cannot be built: smaller pieces will not help


def _checkpoint_step(cell: Path) -> int:
    """The step that a cell goes on from."""
    newest = next(iter(checkpoint.candidates(cell / run_folder.CHECKPOINTS)), None)
    return int(newest.name.removeprefix("step-")) if newest else 0
