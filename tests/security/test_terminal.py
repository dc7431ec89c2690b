"""What a run folder says drives no terminal, no spreadsheet and no Markdown viewer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.terminal import EscapingStream, escape_control, escape_output, raw_stream

pytestmark = pytest.mark.usefixtures("undrawn")

# clears the screen, renames the window, writes to the clipboard, opens a link, C1, turns letters
ESCAPES = (
    "\x1b[2J",
    "\x1b]0;owned\x07",
    "\x1b]52;c;bHM=\x07",
    "\x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "\u202egnp.exe",
    "\x08\x08\x08",
    "line\rover",
)
ALL = "".join(ESCAPES)


def acts(text: str) -> set[str]:
    """The characters of a text that a terminal would obey."""
    return {c for c in text if not c.isprintable() and c not in "\n\t"}


def hostile(folder: Path) -> None:
    """Escapes in every place that is shown."""
    config = run_folder.read_config(folder)
    config["tags"], config["name"] = [ALL], ALL
    config["model"]["name"] = f"vae{ALL}[red]"
    config["dataset"]["name"] = f"digits{ALL}"
    config["optimizer"][f"key{ALL}"] = ALL
    run_folder.write_config(folder, config)
    described = run_folder.read_json(folder / run_folder.RUN)
    more = {"status": f"fin{ALL}", "command": ALL, "started": ALL, "device": ALL, "reason": ALL}
    atomic_write.write_json(folder / run_folder.RUN, described | more)
    done = run_folder.read_json(folder / run_folder.SUMMARY)
    metric = done["metrics"]["test/loss"]
    atomic_write.write_json(
        folder / run_folder.SUMMARY,
        done | {"metrics": {f"test/{ALL}": metric, "test/loss": metric}},
    )


@pytest.mark.parametrize(
    "words",
    [
        "runs",
        "runs --all",
        "runs --json",
        "runs prune status=died",
        "compare {a} {b}",
        "compare {a} {b} --csv",
        "compare {a} {b} --json",
        "compare {a} {b} --markdown",
        "report {a} --no-figures",
        "resume {a}",
        "sample {a}",
        "evaluate {a}",
        "encode {a}",
    ],
)
def test_no_verb_prints_an_escape(words: str, genai: Callable, copy: Callable) -> None:
    a, b = copy("12-00-00-vae-aaaa"), copy(f"12-00-00-{ALL.replace('/', '')}-bbbb")
    hostile(a)
    hostile(b)
    done = genai(*(w.format(a=a, b=b) for w in words.split()))
    assert done.code in (0, 1, 2), done.err
    assert done.out + done.err
    assert acts(done.out + done.err) == set()
    if "json" in words:
        assert json.loads(done.out)


def test_what_is_shown_says_what_it_was() -> None:
    assert escape_control("a\x1b[2J\tb\n\x9b\u202e\x7f") == "a\\u001b[2J\tb\n\\u009b\\u202e\\u007f"
    assert escape_control("Größe – 生成 ×") == "Größe – 生成 ×"
    assert json.loads(f'"{escape_control(chr(0x1B))}"') == "\x1b"


def test_a_bar_on_stderr_may_go_back_and_no_other() -> None:
    out = io.StringIO()
    assert EscapingStream(out, "\r").write("\r 50 %\x1b[A\r") == len("\\u001b[A") or out.getvalue()
    assert out.getvalue() == "\r 50 %\\u001b[A\r"
    out = io.StringIO()
    EscapingStream(out, "").writelines(["\rover", "\n"])
    assert out.getvalue() == "\\u000dover\n"


def test_the_streams_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    with escape_output():
        assert raw_stream(sys.stdout) is mine
        print("\x1b")
    assert sys.stdout is mine
    with escape_output():
        other = sys.stdout = io.StringIO()  # as console.show does when the reader has left
    assert sys.stdout is other
    monkeypatch.setattr(sys, "stdout", None)  # pythonw, a closed descriptor
    with escape_output():
        print("nowhere")
    assert mine.getvalue() == "\\u001b\n"


def test_the_log_of_a_run_holds_no_escape(tmp_path: Path) -> None:
    from genai_cli.runner.console import Reporter

    with Reporter(tmp_path / run_folder.LOG, quiet=True) as report:
        report.line(f"class {ALL}")
    assert acts((tmp_path / run_folder.LOG).read_text()) == set()


# ---- spreadsheets ------------------------------------------------------------------------------

FORMULAS = ("=cmd|'/C calc'!A0", "+1+cmd", "-2+3+cmd", "@SUM(1)", "\t=1", "\r=1", '=HYPERLINK("x")')


def test_no_name_is_a_formula(genai: Callable, copy: Callable) -> None:
    """compare --csv and sweep.csv open in a spreadsheet; numbers stay numbers, -0.5 too."""
    folders = [copy(f"12-00-00-vae-{i:04d}") for i in range(len(FORMULAS))]
    for i, (folder, text) in enumerate(zip(folders, FORMULAS, strict=True)):
        config = run_folder.read_config(folder)
        config["model"]["name"], config["dataset"]["name"] = text, text
        config["model"]["activation"] = f"{text}{i}"
        config["optimizer"]["lr"] = -0.5 + i
        run_folder.write_config(folder, config)
    done = genai("compare", *map(str, folders), "--csv", "--no-figures")
    assert done.code == 0, done.err
    cells = [cell for row in csv.reader(io.StringIO(done.out)) for cell in row]
    for text in FORMULAS:
        assert any(text.strip() in cell for cell in cells), text
    for cell in cells:
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or float(cell) == -0.5, cell


def test_sweep_csv_holds_no_formula(tmp_path: Path) -> None:
    from genai_cli.store import safe_yaml
    from genai_cli.store.sweep_table import write_table
    from genai_cli.system.text import csv_cell

    words = [f"tags=[a]{i}={text}" for i, text in enumerate(FORMULAS)]
    cells = [
        {"folder": f"00{i}-x", "overrides": [f"name={text}", "optimizer.lr=-1"], "config": "0"}
        for i, text in enumerate(FORMULAS)
    ]
    content = {"varied": ["name", "optimizer.lr"], "cells": cells, "command": words[0]}
    (tmp_path / run_folder.SWEEP).write_text(safe_yaml.dump(content))
    write_table(tmp_path)
    with open(tmp_path / run_folder.SWEEP_TABLE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [csv_cell(text) for text in FORMULAS]
    assert csv_cell("=1") == "'=1"
    assert csv_cell("\r=1") == "\\u000d=1"
    assert {row["optimizer.lr"] for row in rows} == {"-1"}
