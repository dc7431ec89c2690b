"""sweep.csv where several processes write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_cli import runs
from genai_cli.sweeps import asked, folder


def test_jobs_that_end_together_leave_a_true_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("000-a", "001-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / runs.LOG).touch()
        runs.write_json(tmp_path / name / runs.RUN, {"status": "running"})
    cells = [{"folder": f"00{i}-{'ab'[i]}", "overrides": [f"seed={i}"]} for i in range(2)]
    asked.write(tmp_path, {"varied": ["seed"], "cells": cells})
    write, others = runs.write_text, []

    def between(path: Path, text: str, durable: bool = True) -> None:
        """The other job ends and writes, after this one has looked and before it writes."""
        if path.name == runs.SWEEP_TABLE and not others:
            others.append(text)
            runs.write_json(tmp_path / "001-b" / runs.RUN, {"status": "finished"})
            write(path, folder._text(folder.rows(tmp_path)))
        write(path, text, durable)

    monkeypatch.setattr(runs, "write_text", between)
    runs.write_json(tmp_path / "000-a" / runs.RUN, {"status": "finished"})
    folder.write_table(tmp_path)
    assert others[0].count("finished") == 1
    assert (tmp_path / runs.SWEEP_TABLE).read_text().count("finished") == 2
