"""The host that an unmarked test sees: a few programs, no settings, no caches and no GPU, whatever
is installed. What a marked test needs besides is told at the end of a run that goes without it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

PROGRAMS = (
    *("sh", "bash", "env", "git", "cat", "cp", "mv", "rm", "ln", "ls", "mkdir", "mktemp", "touch"),
    *("chmod", "dirname", "basename", "readlink", "realpath", "echo", "printf", "head", "tail"),
    *("cut", "sort", "uniq", "tr", "wc", "tee", "sed", "grep", "awk", "test", "true", "false"),
    *("sleep", "kill", "date", "id", "uname", "hostname", "getconf", "find", "mount", "umount"),
    *("gcc", "g++", "cc", "c++", "clang", "clang++", "as", "ld", "ldconfig", "openssl"),  # compile
)
KEPT = (  # what a person tells the tests, and how this interpreter finds its libraries
    *("CI", "GENAI_CHROMIUM", "GENAI_FASHION_MNIST", "GENAI_LOCAL_SLURM", "GENAI_TORTURE_SEED"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "TMPDIR", "PYTEST_DEBUG_TEMPROOT"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"),  # make test-kernels
)
HOST_PATH = "GENAI_TESTS_PATH"  # the PATH that the tests were started with
NEEDS = {  # mark: what its tests need
    "slurm": "apt-get install munge slurmctld slurmd slurm-client; make test-slurm",
    "gpu": "an NVIDIA GPU; make test-gpu",
    "browser": "apt-get install chromium",
    "fashion": "apt-get install dataset-fashion-mnist",
    "shells": "apt-get install zsh fish",
}
REAL_PROGRAMS = {"slurm", "browser", "shells"}  # marks whose tests see the PATH of the host


def enter(gpu: bool) -> Path:
    """Make the bare host of this process and of all that it starts; its folder.

    Args:
        gpu: whether the GPUs of the machine are seen.
    """
    folder = Path(tempfile.mkdtemp(prefix="genai-tests-"))
    programs, home = folder / "bin", folder / "home"
    programs.mkdir()
    home.mkdir()
    path = os.environ.get("PATH", os.defpath)
    for name in PROGRAMS:
        if program := shutil.which(name, path=f"{path}:/usr/sbin:/sbin"):
            (programs / name).symlink_to(Path(program).absolute())
    bare = {name: os.environ[name] for name in KEPT if name in os.environ}
    bare |= {
        "PATH": str(programs),
        "HOME": str(home),  # caches of fonts are below it: one for all workers
        "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",  # workers of pytest-xdist share the cores
        "GENAI_CORES": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
        HOST_PATH: path,
    }
    if not gpu:
        bare["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.clear()
    os.environ.update(bare)
    time.tzset()
    os.umask(0o022)
    return folder


def seen_besides(marks: set[str]) -> dict[str, str]:
    """What the environment of a test with these marks has instead of the bare host's."""
    real = {"PATH": os.environ[HOST_PATH]} if marks & REAL_PROGRAMS else {}
    return real | ({"GENAI_CORES": ""} if "slurm" in marks else {})  # its jobs count their own


def not_run(skipped: Counter[str], deselected: Counter[str]) -> str:
    """One line: how many tests of each mark did not run, and what they need; "" if all ran."""
    counts = skipped + deselected
    parts = [f"{counts[mark]} {mark} ({need})" for mark, need in NEEDS.items() if counts[mark]]
    return f"not run: {', '.join(parts)}" if parts else ""
