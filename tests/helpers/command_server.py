"""The test's side of fork_server.py: `genai` command lines in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Done(NamedTuple):
    """What became of a command."""

    code: int  # negative: killed by that signal
    said: str  # stdout and stderr
    seconds: float


class Started:
    """A command that goes on while the test does; as a `subprocess.Popen` of it."""

    def __init__(self, server: Server, pid: int, out: Path) -> None:
        self.server, self.pid, self.out = server, pid, out
        self.code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative if a signal killed it; None while it lives."""
        if self.code is None:
            self.code = self.server.request(poll=self.pid)["code"]
        return self.code

    @property
    def said(self) -> str:
        """Its stdout and stderr so far."""
        return self.out.read_text(errors="replace")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 120.0) -> int:
        """Its exit code.

        Raises:
            TimeoutError: it lived longer; it is killed.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
                raise TimeoutError(self.said)
            time.sleep(0.005)
        return self.code

    def kill(self) -> None:
        """End it, if it lives."""
        self.send_signal(signal.SIGKILL)
        self.wait()


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
        ask = self._ask(cwd, words, more)
        answer = self.request(**ask)
        said = Path(ask["out"]).read_text(errors="replace")
        return Done(answer["code"], said, answer["seconds"])

    def start(self, cwd: Path, *words: str, **more: Any) -> Started:
        """``genai WORDS`` in a directory, and go on.

        Args:
            cwd: the directory.
            words: of the command.
            more: ``env``: variables; ``out``: a file or a pipe for what it says; ``terminal``: one
                to speak on instead.
        """
        ask = self._ask(cwd, words, more)
        return Started(self, self.request(start=True, **ask)["pid"], Path(ask["out"]))

    def request(self, **ask: Any) -> dict[str, Any]:
        """What the server answers."""
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def _ask(self, cwd: Path, words: tuple[str, ...], more: dict[str, Any]) -> dict[str, Any]:
        env = {"GENAI_DATA": str(cwd / "data"), "GENAI_CACHE": str(cwd / "cache")}
        env["XDG_DATA_DIRS"] = str(cwd / "share")
        env |= more.pop("env", {})
        return {"words": words, "cwd": str(cwd), "out": str(cwd / "said.txt"), "env": env} | more

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
