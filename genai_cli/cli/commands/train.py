"""`genai train` composes and checks every cell, claims a folder and trains in it.

The life of the run itself is `runner.run.run`.
"""

from __future__ import annotations

import shlex
import sys

from genai_cli.config import ranks
from genai_cli.errors import UserError
from genai_cli.runner.prepare import prepare, start
from genai_cli.runner.run import run


def main(args: list[str]) -> int:
    """Train one run, or with -m a sweep, and return the exit code."""
    from genai_cli.config import compose

    line = compose.parse_line(args)
    if line.show:
        return compose.print_config("train", line)
    command = shlex.join(["genai", "train", *args])
    if ranks.world_size() > 1 and (line.multirun or line.launcher):
        raise UserError(
            "torchrun trains one run, here; for a sweep or a launcher leave it out and type "
            f"trainer.devices={ranks.world_size()}"
        )
    if line.multirun:
        from genai_cli.sweeps.launch import launch

        return launch(line, command)
    from genai_cli.launchers.settings import gpus_of, read_run_launcher

    cell = compose.compose_single("train", line)
    launcher = read_run_launcher(line) if line.launcher else None
    from genai_cli.system.preemption import Signals

    note, gpus = lambda text: print(text, file=sys.stderr), gpus_of(launcher)
    prepared = prepare(cell.config, note, gpus=gpus)
    if prepared.cfg.trainer.pack != "none":
        message = f"trainer.pack={prepared.cfg.trainer.pack}: one run alone; it is for a sweep (-m)"
        print(message, file=sys.stderr)
    if launcher is not None:
        from genai_cli.launchers import start as launchers

        launchers.check(launcher, [prepared.cfg])
        with Signals() as signals:
            return launchers.submit_one(start(prepared, command), launcher, signals)
    with Signals() as signals:
        return run(start(prepared, command), prepared.data, signals=signals)
