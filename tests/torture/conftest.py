"""Shared by the suites that break things: commands in forked processes, and what was tried."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from corpus import here, place, run  # noqa: F401 (fixtures of bad input)
from torture_runs import Whole, contents, folder_of

HERE = Path(__file__).parent
SEED = int(os.environ.get("GENAI_TORTURE_SEED") or 0)


class Done(NamedTuple):
    """What became of a command."""

    code: int  # negative: killed by that signal
    said: str  # stdout and stderr
    seconds: float


class Server:
    """Runs `genai` command lines, each in a process of its own that has all imports already."""

    def __init__(self) -> None:
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")],
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
        env |= more.pop("env", {})
        ask = {"words": words, "cwd": str(cwd), "out": str(said), "env": env} | more
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return Done(answer["code"], said.read_text(errors="replace"), answer["seconds"])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Whole]:
    """The undisturbed run of a command, made once."""
    made: dict[tuple[str, ...], Whole] = {}

    def of(*command: str) -> Whole:
        if command not in made:
            place = tmp_path_factory.mktemp("whole")
            fault = {"root": "outputs"}  # of which nothing comes: operations are only counted
            done = server.run(place, *command, fault=fault, seen=str(place / "seen"))
            assert done.code == 0, done.said
            folder, seen = folder_of(place), json.loads((place / "seen").read_text())
            made[command] = Whole(command, folder, contents(folder), seen, done.seconds)
        return made[command]

    return of


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Of this test alone, told when it fails: ``make torture SEED=n`` draws the same again."""
    request.node.user_properties.append(("seed", SEED))
    return random.Random(zlib.crc32(f"{request.node.name} {SEED}".encode()))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count what was tried, for the table at the end: ``tally("kill -9 in a write", 3)``."""

    def add(what: str, times: int = 1, lost: int = 0) -> None:
        request.node.user_properties.append(("tried", [what, times, lost]))

    return add


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was tried, how often, lost: as it can stand in the README."""
    tried: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    stats = terminalreporter.stats
    for report in [*stats.get("passed", []), *stats.get("failed", [])]:
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "tried":
                tried[value[0]] += value[1]
                lost[value[0]] += value[2]
        failed = report.failed and dict(report.user_properties).get("seed") is not None
        if failed:
            terminalreporter.write_line(f"{report.nodeid}: repeat with GENAI_TORTURE_SEED={SEED}")
    if not tried:
        return
    failures = len(stats.get("failed", []))
    terminalreporter.section("tried, how often, lost")
    terminalreporter.write_line("| tried | times | lost |\n|---|---:|---:|")
    for what, times in sorted(tried.items()):
        terminalreporter.write_line(f"| {what} | {times} | {lost[what]} |")
    terminalreporter.write_line(
        f"| in all | {sum(tried.values())} | {sum(lost.values())} |\n"
        + (f"{failures} tests failed: what they tried may be lost" if failures else "")
    )
