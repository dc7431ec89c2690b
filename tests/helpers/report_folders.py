"""Parts of run folders written by hand, and what a hostile one may hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from genai_cli.store import run_folder

# Each sets the title if it runs; the quotes and the angle bracket must not end where they stand.
PAYLOADS = (
    "<script>document.title='fired'</script>",
    '"><img src=x onerror="document.title=\'fired\'">',
    "'onmouseover='document.title=1",
    "</style></title></textarea></pre><svg onload=document.title='fired'>",
    "${oc.env:HOME}{{7*7}}`id`",
    "javascript:document.title='fired'",
    "\u202egnp.exe\u202c\u0000\u0007\x1b[31m\u2028\ud800",
    "<!-- <b> ]]> &lt;script&gt; &#60;",
)
ALL = " ".join(PAYLOADS)
RULER = {
    "metric": "mse",
    "version": 1,
    "n": 360,
    "reference_split_hash": "0363799e1c2b4f92",
    "extractor_hash": None,
    "preprocessing": None,
    "data_space": "17 levels in [0, 1]",
}
PLAYER = {"ema": False, "checkpoint": "step-000063"}


def png(width: int = 60, height: int = 20) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x7f" * width for _ in range(height)))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def entry(value: float | None = 0.0096, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value * 0.9, value * 1.1)
    passport = {"ruler": RULER, "player": PLAYER}
    return {"value": value, "low": low, "high": high, "n": 360, "passport": passport} | more


def make_sweep(write: Callable[..., Path], figures: tuple[str, ...] = ("samples",)) -> Path:
    """Three cells: two done, one failed."""
    name = "2026-11-23/12-00-00-sweep-sw33"
    cells = []
    for i, bottleneck in enumerate((2, 8, 16)):
        said = {"status": "failed"} if i == 2 else {}
        cell = f"{i:03d}-bottleneck-{bottleneck}"
        folder = write(f"{name}/{cell}", changed={"bottleneck": bottleneck}, said=said,
                       pictures=figures, log="RuntimeError: no more memory\n")  # fmt: skip
        overrides = [f"bottleneck={bottleneck}", f"outputs={folder.parents[2]}"]
        cells.append({"folder": cell, "overrides": overrides})
    asked = {
        "schema": 1,
        "command": f"genai train -m bottleneck=2,8,16 outputs={folder.parents[2]}",
        "varied": ["bottleneck"],
        "cells": cells,
    }
    (folder.parent / run_folder.SWEEP).write_text(yaml.safe_dump(asked))
    return folder.parent
