"""Shared by the suites that break things: commands in forked processes, and what was tried."""

from __future__ import annotations

import json
import os
import random
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from command_server import Server
from corpus import here, place, run  # noqa: F401 (fixtures of bad input)
from torture_runs import Whole, contents, folder_of

SEED = int(os.environ.get("GENAI_TORTURE_SEED") or 0)


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
    """What was tried, how often, lost: as it can stand in docs/reliability.md."""
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
