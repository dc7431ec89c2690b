"""Verify a checkpoint: compare its files with the SHA-256 sums in its state.json."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from genai_cli.store.run_folder import META, STATE, WEIGHTS

SETTLED = 10**9  # ns: a file that was written later may be written again within its clock's tick

_sums: dict[Path, tuple[tuple[int, ...], str]] = {}  # file → (its stamp, its sum)


def find_damage(path: Path, files: Sequence[str] = (WEIGHTS, STATE)) -> str | None:
    """Describe a missing or changed file of a checkpoint; None where it is intact."""
    if not path.is_dir():
        return "it is not there"
    at = META
    try:
        meta = json.loads((path / META).read_text())
        sums = meta["sha256"]
        if META in sums and sums[META] != digest(meta):
            return f"{META} is not what was written"
        for at in files:
            if sha256(path / at) != sums[at]:
                return f"{at} is not what was written, or not all of it"
            with safe_open(path / at, framework="pt"):  # a forged file has a sum that fits
                pass
    except SafetensorError:
        return f"{at} holds no tensors"
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return f"{at} is missing" if missing else f"{at}: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{META} is not what was written, or not all of it"
    return None


def digest(numbers: Mapping[str, Any]) -> str:
    """SHA-256 of the numbers of a state.json, however they are laid out."""
    normalised = json.loads(json.dumps({k: v for k, v in numbers.items() if k != "sha256"}))
    return hashlib.sha256(json.dumps(normalised, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file; it is not read again while its number, length and time are the same."""
    with open(path, "rb") as file:
        now = os.fstat(file.fileno())
        stamp = (now.st_ino, now.st_size, now.st_mtime_ns)
        known, checksum = _sums.get(path, ((), ""))
        if known == stamp:
            return checksum
        hasher = hashlib.sha256()
        while block := file.read(1 << 20):
            hasher.update(block)
    if time.time_ns() - now.st_mtime_ns > SETTLED:
        _sums[path] = stamp, hasher.hexdigest()
    return hasher.hexdigest()
