"""Signals outside a run: the right code, at once before anything is written, in order after."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genai_cli.cli.arguments import exit_on_signal
from genai_cli.system import signals

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143, "SIGHUP": 143}
IMPORTS = """
import signal, sys
try:
    signal.raise_signal(signal.{name})
    for _ in range(100): pass
except BaseException:
    print("swallowed")  # as code of a module that is made in C may do
done = True
"""
VERB = """
import sys, types
from genai_cli.cli.front_door import main
def verb(args):
    {body}
sys.modules["genai_cli.cli.commands.{verb}"] = types.SimpleNamespace(main=verb)
sys.argv = ["genai", "{verb}"]
sys.exit(main())
"""


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=cwd
    )


@pytest.mark.parametrize("name", CODES)
def test_a_signal_in_an_import_leaves_at_once_with_what_was_printed(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(IMPORTS.format(name=name))
    body = "print('before'); sys.path.insert(0, '.'); import slow; print('after')"
    done = python(VERB.format(body=body, verb="runs"), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (CODES[name], "before\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_while_something_is_half_written_an_import_ends_first(name: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(IMPORTS.format(name=name))
    lines = (
        "import os, time; sys.path.insert(0, '.'); open('half', 'w').close()",
        "    try:",
        "        import slow",
        "        print('done', flush=True)",
        "        time.sleep(30)",
        "    finally: os.remove('half')",
    )
    done = python(VERB.format(body="\n".join(lines), verb="report"), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (CODES[name], "done\n", "")
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize("name", CODES)
def test_a_signal_while_the_interpreter_ends_is_no_news(name: str, tmp_path: Path) -> None:
    late = f"import atexit, signal; atexit.register(signal.raise_signal, signal.{name}); return 0"
    done = python(VERB.format(body=late, verb="runs"), tmp_path)
    quick = name in ("SIGINT", "SIGTERM")  # a shell shows 130 and 143
    assert done.returncode == (-getattr(signal, name) if quick else 0)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("name", CODES)
def test_within_a_verb_it_is_an_exception_and_handlers_are_put_back(name: str) -> None:
    number = getattr(signal, name)
    before = [signal.getsignal(n) for n in signals.NUMBERS]
    with pytest.raises((KeyboardInterrupt, SystemExit)) as left, exit_on_signal():
        signal.raise_signal(number)
    assert signals.exit_code(number) == CODES[name]
    assert getattr(left.value, "code", 130) == CODES[name]
    assert [signal.getsignal(n) for n in signals.NUMBERS] == before


def test_closed_streams_are_never_a_files_number(tmp_path: Path) -> None:
    body = "file = open('own', 'w'); number = file.fileno(); open('said', 'w').write(str(number))"
    code = "import os\nfor n in (0, 1, 2): os.close(n)\n" + VERB.format(body=body, verb="runs")
    assert python(code, tmp_path).returncode == 0
    assert int((tmp_path / "said").read_text()) > 2
