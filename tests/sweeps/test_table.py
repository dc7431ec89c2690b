"""sweep.csv where several processes write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_cli.store import run_folder, sweep_table
from genai_cli.sweeps import asked
from genai_cli.system import atomic_write


def test_jobs_that_end_together_leave_a_true_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("000-a", "001-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / run_folder.LOG).touch()
        atomic_write.write_json(tmp_path / name / run_folder.RUN, {"status": "running"})
    cells = [{"folder": f"00{i}-{'ab'[i]}", "overrides": [f"seed={i}"]} for i in range(2)]
    asked.write_manifest(tmp_path, {"varied": ["seed"], "cells": cells})
    write, others = atomic_write.write_text, []

    def between(path: Path, text: str, durable: bool = True) -> None:
        """The other job ends and writes, after this one has looked and before it writes."""
        if path.name == run_folder.SWEEP_TABLE and not others:
            others.append(text)
            atomic_write.write_json(tmp_path / "001-b" / run_folder.RUN, {"status": "finished"})
            write(path, sweep_table._text(sweep_table.rows(tmp_path)))
        write(path, text, durable)

    monkeypatch.setattr(atomic_write, "write_text", between)
    atomic_write.write_json(tmp_path / "000-a" / run_folder.RUN, {"status": "finished"})
    sweep_table.write_table(tmp_path)
    assert others[0].count("finished") == 1
    assert (tmp_path / run_folder.SWEEP_TABLE).read_text().count("finished") == 2
