"""Read sweep.yaml and keep sweep.csv current: one row for each cell."""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from genai_cli.errors import UserError
from genai_cli.store import run_folder, safe_yaml
from genai_cli.store.metrics_csv import last_row
from genai_cli.system import atomic_write
from genai_cli.system.text import csv_cell, format_number, format_table

EVERY = 1.5  # seconds between two tables while cells train,
SHARE = 20  # or this many times what the last one took: a slow disk costs 5 % of a core at most
MAX_ROWS = 50  # rows of a table on the screen
MAX_NOTE = 160  # characters of an error in the table

_lock = threading.Lock()  # the cell that ends and the clock both write the table
_known: dict[Path, tuple[tuple[Any, ...], Any]] = {}  # what was read of a cell, until it changes


def rows(folder: Path) -> list[dict[str, str]]:
    """Return one row for each cell: varied keys, status, numbers so far.

    Raises:
        UserError: sweep.yaml is damaged.
    """
    content = _cached(folder, (folder / run_folder.SWEEP,), lambda: read(folder))
    varied = content["varied"]
    out = []
    for cell in content["cells"]:
        path = folder / cell["folder"]
        files = [
            path / n
            for n in (run_folder.RUN, run_folder.SUMMARY, run_folder.METRICS, run_folder.LOG)
        ]
        values = dict(o.partition("=")[::2] for o in cell["overrides"])
        row = {"cell": cell["folder"]} | {key: values.get(key, "") for key in varied}
        out.append(row | _cached(path, files, lambda path=path: _cell_values(path)))
    return out


def _cell_values(cell: Path) -> dict[str, str]:
    """Return the status and numbers of a cell, from its files."""
    run_info = run_folder.read_json(cell / run_folder.RUN)
    done = run_folder.read_json(cell / run_folder.SUMMARY)
    status = str(run_info.get("status", ""))
    if status == "running" and not (cell / run_folder.LOG).exists():
        status = ""  # not begun
    now = done if status in ("finished", "stopped") else last_row(cell)
    row = {"status": status, "parameters": str(run_info.get("parameters", ""))}
    for key in ("epoch", "seconds"):
        value = now.get(key, "")
        row[key] = str(int(value) if key == "epoch" and value != "" else value)
    metrics = done.get("metrics")
    if isinstance(metrics, dict):
        row |= {k: repr(e["value"]) for k, e in metrics.items() if isinstance(e, dict)}
    why = str(run_info.get("reason") or "")  # pruned by its sweep, or asked to stop
    error = last_log_line(cell) if status == "failed" else ""
    waits = (
        run_folder.UNMEASURED
        if status in ("finished", "stopped") and run_folder.unmeasured(done)
        else ""
    )
    notes = [_resume_note(run_info), _memory_note(run_info), why, waits, error]
    if any(notes):
        row["note"] = "; ".join(filter(None, notes))
    return row


def _resume_note(run_info: Mapping[str, Any]) -> str:
    """Note that `genai sweep resume` started a cell again, and its status before."""
    again = run_info.get("again")
    return f"resumed: {again.get('was')}, {again.get('why')}" if isinstance(again, dict) else ""


def _memory_note(run_info: Mapping[str, Any]) -> str:
    """Note that memory ran out before, and what helped."""
    again = run_info.get("out_of_memory")
    last = again[-1] if isinstance(again, list) and again else None
    if not isinstance(last, dict):
        return ""
    helped = f"accumulate={last['accumulate']}" if "accumulate" in last else "trained alone"
    return f"out of memory: {helped}"


def last_log_line(cell: Path) -> str:
    """Return the last line of a failed cell's log, which ends a traceback."""
    try:
        with open(cell / run_folder.LOG, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return re.sub(r"^genai_cli\.[\w.]*\.(?=\w+:)", "", last)[:MAX_NOTE]


def _cached(key: Path, files: Sequence[Path], read: Callable[[], Any]) -> Any:
    """Return ``read()``, or its earlier result if none of the files has changed since."""
    stamps = tuple(map(_stamp, files))
    known = _known.get(key)
    if known is None or known[0] != stamps:
        known = _known[key] = stamps, read()
    return known[1]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def write_table(folder: Path) -> None:
    """Write sweep.csv until it agrees with the cells' own files.

    Jobs on several nodes write it, and a lock is not to be had on every shared disk. So a writer
    looks again after it has written: whoever writes last has then seen every cell that ended
    before, and no table of an earlier look stays.
    """
    with _lock:
        while not _same(folder / run_folder.SWEEP_TABLE, text := _text(rows(folder))):
            atomic_write.write_text(folder / run_folder.SWEEP_TABLE, text, durable=False)


def _text(table: Sequence[Mapping[str, str]]) -> str:
    columns = list(dict.fromkeys(column for row in table for column in row))
    if "note" in columns:  # text goes behind the numbers
        columns.remove("note")
        columns.append("note")
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: csv_cell(v) for k, v in row.items()} for row in table)
    return text.getvalue()


def _same(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


@contextmanager
def keep_current(folder: Path) -> Iterator[None]:
    """Update sweep.csv from a thread within the block, whoever trains the cells and wherever.

    A thread looks at the folders: a launcher need not tell, and a cell in another process or on
    another node cannot.
    """
    over = threading.Event()

    def keep() -> None:
        pause = EVERY
        while not over.wait(pause):
            began = time.monotonic()
            with suppress(OSError, UserError):
                write_table(folder)
            pause = max(EVERY, SHARE * (time.monotonic() - began))

    thread = threading.Thread(target=keep, name="sweep.csv", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def summary(folder: Path) -> str:
    """Format the table of a sweep as text. A – stands where a family has no such number; the first
    rows are shown, and those that are not done.
    """
    table = rows(folder)
    every = list(dict.fromkeys(column for row in table for column in row))
    # a term of one family in a sweep of several says nothing beside the others
    half = {c for c in every if 2 * sum(bool(row.get(c)) for row in table) >= len(table)}
    columns = [c for c in every if c in half or not c.startswith("test/")]
    undone = [row for row in table if row["status"] not in ("finished", "stopped")]
    first = [row for row in table if row not in undone][
        : max(MAX_ROWS - len(undone), MAX_ROWS // 2)
    ]
    wanted = {row["cell"] for row in [*first, *undone[: MAX_ROWS - len(first)]]}
    body = []
    for row in table:
        if row["cell"] not in wanted:
            continue
        cells = [row.get(c) or "–" for c in columns]
        for i, column in enumerate(columns):
            if column.startswith("test/") and cells[i] != "–":
                cells[i] = format_number(float(cells[i]))
        body.append(cells)
    left = [f"{n} more {what}" for n, what in (
        (len(table) - len(body), "rows"), (len(every) - len(columns), "columns")) if n]  # fmt: skip
    more = f"\n  and {' and '.join(left)} in {folder / run_folder.SWEEP_TABLE}" if left else ""
    texts = tuple(i for i, column in enumerate(columns) if column in ("cell", "note"))
    return format_table("cells", columns, body, left=texts) + more


def read(folder: Path) -> dict[str, Any]:
    """Read sweep.yaml, and check ``cells`` and ``varied``.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / run_folder.SWEEP
    try:
        content = safe_yaml.load(path.read_text(encoding="utf-8"))
        names = [cell["folder"] for cell in content["cells"]]
        words = [word for cell in content["cells"] for word in cell["overrides"]]
        # a stranger's sweep.yaml is data: its cells are folders of the sweep and no others
        inside = (n == Path(n).name not in ("", "..") and n.isprintable() for n in names)
        if all(inside) and all(isinstance(word, str) for word in [*words, *content["varied"]]):
            return content
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        pass
    raise UserError(f"{path} is damaged")
