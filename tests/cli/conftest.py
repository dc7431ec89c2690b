"""The command as users start it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clean_env() -> dict[str, str]:
    """The environment without the variables that change what the command says."""
    drop = ("GENAI_PATH", "GENAI_OUTPUTS", "GENAI_TRACEBACK", "COLUMNS", "NO_COLOR", "SHELL")
    env = {k: v for k, v in os.environ.items() if k not in drop}
    path = [str(ROOT), *filter(None, [env.get("PYTHONPATH")])]
    return env | {"PYTHONPATH": os.pathsep.join(path)}


@pytest.fixture
def genai_process(clean_env, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``genai WORDS``, from a folder that is not the checkout."""

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "genai_cli", *words]
        return subprocess.run(
            command,
            env=clean_env | more,
            cwd=tmp_path,
            capture_output=True,
            encoding=more.get("PYTHONIOENCODING", "utf-8"),
            timeout=60,
        )

    return run


@pytest.fixture
def python(clean_env, tmp_path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a piece of Python in a fresh interpreter."""

    def run(code: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            env=clean_env | more,
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    return run
