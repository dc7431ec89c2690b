"""Seconds from Enter to the first optimizer step, to --help, to the answer of a TAB.

    python benchmarks/startup.py

Beside template.py: what lightning-hydra-template's train.py imports and does before its first
step, written anew for the same digits and the same layers (the template itself is no package).
An "image" is a start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from race import Entrant, main, parser, version
from turns import Turns

HERE = Path(__file__).parent
GENAI = [sys.executable, "-m", "genai_cli"]
TEMPLATE = [sys.executable, str(HERE / "template.py")]
LINE = "train model=va"  # and TAB


def rounds(name: str, once: Callable[[Turns, str], None]) -> Callable[..., None]:
    """An entrant that does ``once`` in each round, in a folder of its own."""

    def enter(args: argparse.Namespace, turns: Turns) -> None:
        turns.ready(version=version(name), images=1)
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(turns.rounds):
                turns.start()
                once(turns, folder)

    return enter


def command(
    name: str, words: list[str], environment: dict[str, str] | None = None
) -> Callable[..., None]:
    """Rounds from Enter to the exit."""

    def once(turns: Turns, folder: str) -> None:
        _run(words, folder, environment)
        turns.stop()

    return rounds(name, once)


def first_step(name: str, where: str, words: list[str]) -> Callable[..., None]:
    """Rounds from Enter to the end of the first step."""

    def once(turns: Turns, folder: str) -> None:
        line = [sys.executable, str(HERE / "first_step.py"), where, str(time.monotonic())]
        out = _run([*line, *words[1:]], folder)
        turns.stop(seconds=float(out.rpartition("first step")[2]))

    return rounds(name, once)


def _run(words: list[str], folder: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | (environment or {}),
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:] or f"exit code {done.returncode}")
    return done.stdout


NEEDS = ("lightning", "hydra", "torchmetrics")
OURS = ["train", "model=autoencoder", "model.widths=[128]", "trainer.threads=1", "device=cpu"]
CLAIMS = {
    "start-up, first step": {
        "genai train": Entrant(
            first_step("genai-cli", "genai_cli.runner.console:Reporter.step", [*GENAI, *OURS]),
            fail=True,
        ),
        "template.py": Entrant(
            first_step("lightning", "torch.optim.adam:Adam.step", TEMPLATE), needs=NEEDS
        ),
    },
    "start-up, --help": {
        "genai train --help": Entrant(command("genai-cli", [*GENAI, "train", "--help"]), fail=True),
        "template.py --help": Entrant(command("lightning", [*TEMPLATE, "--help"]), needs=NEEDS),
    },
    "start-up, completion": {
        "genai TAB": Entrant(
            command("genai-cli", [*GENAI, "_complete", "bash", f"genai {LINE}", ""]), fail=True
        ),
        "template.py TAB": Entrant(
            command(
                "lightning",
                [*TEMPLATE, "-sc", "query=bash"],
                {"COMP_LINE": "python template.py trainer.max", "COMP_CWORD": "2"},
            ),
            needs=NEEDS,
        ),
    },
}

if __name__ == "__main__":
    options = parser(__doc__, dataset="digits", batch=64).parse_args()
    if options.worker:
        everybody = {k: v for entrants in CLAIMS.values() for k, v in entrants.items()}
        sys.exit(main("", options, everybody))
    sys.exit(max(main(claim, options, entrants) for claim, entrants in CLAIMS.items()))
