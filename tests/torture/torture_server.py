"""The test's side of fork_server.py: `genai` command lines in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Done(NamedTuple):
    """What became of a command."""

    code: int  # negative: killed by that signal
    said: str  # stdout and stderr
    seconds: float


class Server:
    """Runs `genai` command lines, each in a process of its own that has all imports already.

    Args:
        how: ``curve``: runs draw their loss curve alone.
    """

    def __init__(self, *how: str) -> None:
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py"), *how],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert json.loads(self.process.stdout.readline()) == "ready"

    def run(self, cwd: Path, *words: str, **more: Any) -> Done:
        """``genai WORDS`` in a directory.

        Args:
            cwd: the directory.
            words: of the command.
            more: ``fault``: arguments of `fault.Fault`; ``seconds``: until it is killed; ``seen``:
                a file for the list of operations; ``env``: variables.
        """
        said = cwd / "said.txt"
        env = {"GENAI_DATA": str(cwd / "data"), "GENAI_CACHE": str(cwd / "cache")}
        env["XDG_DATA_DIRS"] = str(cwd / "share")
        env |= more.pop("env", {})
        ask = {"words": words, "cwd": str(cwd), "out": str(said), "env": env} | more
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return Done(answer["code"], said.read_text(errors="replace"), answer["seconds"])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
