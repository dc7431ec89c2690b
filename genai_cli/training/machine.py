"""The device, CPU threads, library versions and commit that a run uses."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

from genai_cli.config.schema import TrainConfig
from genai_cli.errors import UserError
from genai_cli.system.cpu import cores
from genai_cli.system.library_messages import take_over_logging
from genai_cli.version import __version__

take_over_logging()  # torch has made its handlers
SMALL_STEP = 30_000_000  # multiply-adds of a step below which one CPU thread is used
LARGE_STEP = 3_000_000_000  # and above which all are; between the two they are measured


def pick_device(name: str, gpus: int | None = None) -> torch.device:
    """The device a config names; ``auto`` is CUDA, then Apple's MPS, then the CPU.

    Args:
        name: ``device``.
        gpus: that a node of a cluster is asked for, where the run is to be on one; None: here.

    Raises:
        UserError: the device is not there.
    """
    if gpus is not None:
        return _granted(name, gpus)
    available, why = _cuda()
    if name == "auto":
        name = "cuda" if available else "cpu"
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    device = torch.device(name)
    if device.type == "cuda" and not available:
        reason = f" ({why})" if why else ""
        raise UserError(f"device={name}: torch finds no CUDA device here{reason}; use device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        most = torch.cuda.device_count() - 1
        raise UserError(f"device={name}: there is cuda:0 to cuda:{most} here")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device=mps: torch finds no Apple GPU here; use device=cpu")
    return device


def unused_gpu(name: str, device: torch.device) -> str | None:
    """A word to the user where ``device=auto`` is not the GPU that torch sees and cannot use."""
    why = _cuda()[1]
    if name != "auto" or device.type == "cuda" or not why:
        return None
    return f"note: device=auto is {device}: torch cannot use CUDA here ({why})"


_cuda_warnings: list[str] = []  # torch says it once, at the first question


def _cuda() -> tuple[bool, str]:
    """(whether there is a CUDA device; what torch says of one that it cannot use, or "")."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if heard:
        warning = " ".join(str(heard[0].message).split()).removeprefix("CUDA initialization: ")
        _cuda_warnings[:] = [warning.split(". ")[0][:150]]
    return available, "" if available or not _cuda_warnings else _cuda_warnings[0]


def _granted(name: str, gpus: int) -> torch.device:
    """`pick_device` of a node: what it has is not known here, but what it is asked for."""
    device = torch.device(("cuda" if gpus else "cpu") if name == "auto" else name)
    if device.type == "mps":
        raise UserError("device=mps: a node of a cluster has no Apple GPU; use device=auto")
    if device.type == "cuda" and not gpus:
        raise UserError(
            f"device={name}, and hydra.launcher.gpus=0 asks for none; set hydra.launcher.gpus=1"
        )
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(
            f"device={name}: hydra.launcher.gpus={gpus} gives a run cuda:0 to cuda:{gpus - 1}"
        )
    return device


@contextlib.contextmanager
def numerics(cfg: TrainConfig, threads: int | None = None) -> Iterator[None]:
    """Threads, default dtype and determinism of one run, put back afterwards.

    ``threads`` is what run.json recorded: sums in another order would differ in the last bit.
    """
    before, dtype = torch.get_num_threads(), torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        torch.set_num_threads(threads or cfg.trainer.threads or default_threads())
        torch.set_default_dtype(torch.float64 if cfg.precision == "fp64" else torch.float32)
        if cfg.trainer.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_default_dtype(dtype)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)  # it imports the compiler: a second


def default_threads() -> int:
    """Return torch's thread count, limited to the cores of the container or Slurm job."""
    return min(torch.get_num_threads(), cores())


def threads_for(work: int, device: torch.device, share: int = 1) -> int | None:
    """CPU threads for steps of ``work`` multiply-adds: one where sharing costs more than it gains.

    ``share`` processes divide the cores.

    Two threads of a small step wait for each other many times a millisecond. Beside another
    process on two cores, an epoch of 21 steps (digits, VAE) took up to 5 s with two threads and
    0.1 s with one. ``benchmarks/threads.py`` measures both on a machine of yours. None where
    that is to be measured at the start of the run (choose.py).
    """
    most = max(1, default_threads() // share)
    if device.type != "cpu" or most == 1 or work > LARGE_STEP:
        return most
    return 1 if work < SMALL_STEP else None


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device} {platform.processor() or platform.machine()}".strip()


def versions(device: torch.device) -> dict[str, str | None]:
    """Return the versions of libraries, system and processor that a result can depend on."""
    cuda = device.type == "cuda"
    return {
        "genai_cli": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": metadata.version("numpy"),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": str(torch.backends.cudnn.version()) if cuda else None,
        "system": platform.platform(),
        "processor": processor(),
        "kernels": torch.backends.cpu.get_cpu_capability(),  # which of torch's are taken: AVX2 …
    }


def processor() -> str:
    """The processor by name, as far as the system tells it."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


@functools.cache  # the code that runs is what was imported, whatever becomes of the files
def git_commit() -> str | None:
    """The commit of the code that ran, marked where files were changed; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # an installed package inside somebody else's repository
        return None
    try:
        git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        out = subprocess.run(git, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout.strip() or None if out.returncode == 0 else None
