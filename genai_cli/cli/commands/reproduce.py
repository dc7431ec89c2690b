"""`genai reproduce RUN [key=value …]` trains a run again from its folder and compares the two.

The second run has a folder of its own. It takes the threads and the step kind that run.json of
the first one recorded, and every change of a resume at the step where it was made. It is told to
no logger (trainer.loggers): a service must not take it for a run of its own.
"""

from __future__ import annotations

import re
import shlex

from genai_cli.cli.arguments import ReproduceRequest, parse_arguments
from genai_cli.config import ranks
from genai_cli.config.resumable import NOTED
from genai_cli.errors import UserError
from genai_cli.runner.reproduce import (
    describe_end,
    judge,
    measure_stopped,
    prepare_part,
    train_parts,
)
from genai_cli.store import history as run_history
from genai_cli.store import lookup, run_folder
from genai_cli.store.run_folder import measured_part


def main(args: list[str]) -> int:
    """Reproduce one run; 0 identical or within tolerance, 1 it differs, 2 a mistake (nothing is
    written), 130 or 143 stopped."""
    if ranks.world_size() > 1:
        raise UserError("genai reproduce starts the processes of a run itself; leave out torchrun")
    (name,), request, _ = parse_arguments(args, "reproduce", ReproduceRequest)
    folder = lookup.find(name, request.outputs)
    config, run_info = (
        run_folder.read_config(folder),
        run_folder.read_json(folder / run_folder.RUN),
    )
    rows = run_folder.read_metrics(folder)
    if not run_info:
        raise UserError(f"{folder} has no readable {run_folder.RUN}; it cannot be reproduced")
    if not rows:
        raise UserError(f"{folder} has no epoch to compare with; go on with: genai resume {name}")
    parts = run_history.config_segments(config, run_info, NOTED)
    if request.device is not None:
        parts = [(step, part | {"device": request.device}) for step, part in parts]
    measured = measured_part(run_folder.read_json(folder / run_folder.SUMMARY).get("metrics"))
    prepared = [
        (step, prepare_part(folder, part, run_info, step, measured)) for step, part in parts
    ]
    end_note = describe_end(run_info, rows[-1])
    until = int(rows[-1]["step"]) if end_note else None
    first = prepared[0][1]
    if first.cfg.trainer.devices > 1 and (until or len(prepared) > 1):
        raise UserError(
            f"{folder} was trained by {first.cfg.trainer.devices} processes and did not run in one"
            " piece; this cannot be taken again: start it anew with genai train"
        )
    from genai_cli.runner.prepare import start
    from genai_cli.system.preemption import Signals

    command = shlex.join(["genai", "reproduce", *args])
    with Signals() as signals:
        label = re.sub(r"^\d\d-\d\d-\d\d-|-\w{4}$", "", folder.name)
        twin = run_folder.claim(run_folder.outputs_root(request.outputs), f"{label}-reproduce")
        start(first, command, twin)
        print(f"again  {folder}{f': {end_note}' if end_note else ''}")
        code = train_parts(twin, prepared, until, signals)
        if not code and end_note and run_info.get("reason"):
            code = measure_stopped(twin, run_info["reason"], first, signals)
        if signals.code or code:
            return signals.code or code
    return judge(folder, twin, run_info, request.rtol, whole=until is None)
