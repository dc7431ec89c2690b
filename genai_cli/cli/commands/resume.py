"""`genai resume RUN [key=value …]` continues a run in its folder, with its own config.

A change is safe (it does not touch what was computed so far), allowed with a note (the rest of
the run differs from what was planned) or refused (the run would be another one). Every key of a
config is in one of the three classes.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from genai_cli.cli.arguments import ResumeRequest, parse_arguments
from genai_cli.config import ranks
from genai_cli.config.overrides import canonical
from genai_cli.config.schema import FiguresConfig
from genai_cli.errors import UserError
from genai_cli.launchers.submit import refuse_queued
from genai_cli.runner.resume import apply_changes, resume_run, run_lock
from genai_cli.store import lookup, run_folder
from genai_cli.store.links import refuse_links


def main(args: list[str]) -> int:
    """Resume one run; 0 also where nothing is left to do."""
    if ranks.rank():  # of torchrun: rank 0 finds the run, checks and writes
        from genai_cli.runner.run import run

        return run(Path())
    (name,), request, changes = parse_arguments(args, "resume", ResumeRequest, others=True)
    if ranks.world_size() > 1 and not any(c.startswith("trainer.devices=") for c in changes):
        changes.append(f"trainer.devices={ranks.world_size()}")

    changes = [canonical(re.sub("^figures=", "figures.name=", change)) for change in changes]
    folder = lookup.find(name, request.outputs)
    old = run_folder.read_config(folder)
    old.setdefault("figures", asdict(FiguresConfig()))  # an older run has no such key
    new = apply_changes(old, changes)
    run_info = run_folder.read_json(folder / run_folder.RUN)
    if not run_info:
        raise UserError(f"{folder} has no readable {run_folder.RUN}; it cannot be resumed")

    if request.measure:
        run_info["measure"] = request.measure
    refuse_links(folder)
    refuse_queued(folder)
    given = [change.partition("=")[0] for change in changes]
    with run_lock(folder) as let_go:
        return resume_run(folder, old, new, run_info, given, let_go)
