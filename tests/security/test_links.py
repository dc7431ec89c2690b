"""Nothing is written through a link in a run folder, and no name is a path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.errors import UserError
from genai_cli.store import run_folder
from genai_cli.store.links import refuse_links
from genai_cli.training import checkpoint

VERBS = ("resume {run} epochs=2", "sample {run}", "evaluate {run}", "encode {run}")
FILES = ("train.log", "metrics.csv", "run.json", "config.yaml", "samples.png", "checkpoints/last")


def tree(place: Path) -> dict[str, bytes]:
    """Every file below a folder and what is in it."""
    files = sorted(p for p in place.rglob("*") if p.is_file() and not p.is_symlink())
    return {str(p.relative_to(place)): p.read_bytes() for p in files}


@pytest.mark.parametrize("name", FILES)
def test_a_linked_file_is_refused_before_a_byte_is_written(
    name: str, genai: Callable, copy: Callable, tmp_path: Path
) -> None:
    run, outside = copy(), tmp_path / "home" / ".bashrc"
    outside.parent.mkdir()
    (run / name).touch()
    outside.write_bytes((run / name).read_bytes())
    (run / name).unlink()
    (run / name).symlink_to(outside)
    before = tree(tmp_path)
    for line in VERBS:
        done = genai(*line.format(run=run).split())
        assert (done.code, done.err.count("\n")) == (2, 1), (line, done.out, done.err)
        assert f"{run / name} is a link" in done.err
        assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["checkpoints", "samples", "evaluation"])
def test_a_linked_folder_loses_nothing(
    name: str, genai: Callable, copy: Callable, tmp_path: Path
) -> None:
    """The limit on checkpoints would remove every step-* folder behind the link."""
    run, outside = copy(), tmp_path / "elsewhere"
    (run / name).mkdir(exist_ok=True)
    (run / name).rename(outside)
    for step in range(100, 106):
        (outside / f"step-{step:06d}").mkdir()
    (run / name).symlink_to(outside)
    before = tree(tmp_path), sorted(outside.iterdir())
    for line in VERBS:
        assert genai(*line.format(run=run).split()).code == 2
    assert (tree(tmp_path), sorted(outside.iterdir())) == before


def test_a_pipe_is_refused_and_not_waited_for(copy: Callable) -> None:
    run = copy()
    os.mkfifo(run / "pipe")
    with pytest.raises(UserError, match="pipe is no file"):
        refuse_links(run)


def test_a_linked_cell_is_another_run(copy: Callable, tmp_path: Path) -> None:
    run, sweep = copy(), tmp_path / "sweep"
    sweep.mkdir()
    (sweep / run_folder.SWEEP).write_text("cells: []\nvaried: []\n")
    (sweep / "000-x").symlink_to(run)
    with pytest.raises(UserError, match="000-x is a link"):
        refuse_links(sweep / "000-x")
    refuse_links(run)
    (tmp_path / "short").symlink_to(run)  # the user's own name for a run: nothing is elsewhere
    refuse_links(tmp_path / "short")


def test_a_pointer_names_a_checkpoint_of_its_own_run(copy: Callable, tmp_path: Path) -> None:
    run, other = copy(), copy("other")
    step = next((other / run_folder.CHECKPOINTS).glob("step-*"))
    for word in (f"../../other/checkpoints/{step.name}", str(step), "..", ".", "", "a\x00b"):
        (run / run_folder.CHECKPOINTS / "best").write_text(word)
        with pytest.raises((UserError, ValueError)):
            checkpoint.named(run / run_folder.CHECKPOINTS, "best")


NAMES = ("../../evil", "/etc/passwd", "..", "a/../../b", "C:\\evil", "~root", "$(touch x)", "\x00")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    folder = run_folder.claim(tmp_path / "outputs", name)
    assert folder.parent.parent == tmp_path / "outputs"
    assert folder.resolve().is_relative_to((tmp_path / "outputs").resolve())
    assert folder.name.isascii()
    assert not set(folder.name) & set("/\\$~() \x00")


@pytest.mark.parametrize("cell", ["../other", "/etc", "..", ".", "", "a/b", "\x00", 3, None, ["a"]])
def test_a_cell_is_a_folder_of_its_sweep(cell: object, genai: Callable, tmp_path: Path) -> None:
    from genai_cli.store import safe_yaml

    sweep = tmp_path / "outputs" / "2026-01-01" / "00-00-00-sweep-abcd"
    sweep.mkdir(parents=True)
    content = {"varied": [], "cells": [{"folder": cell, "overrides": [], "config": "0"}]}
    (sweep / run_folder.SWEEP).write_text(safe_yaml.dump(content))
    before = sorted(tmp_path.rglob("*"))
    done = genai("sweep", "resume", str(sweep))
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert genai("report", str(sweep), "--no-figures").code in (0, 2)  # it tells of damage
    (sweep / "report.html").unlink(missing_ok=True)
    assert [p for p in sorted(tmp_path.rglob("*")) if "lock" not in p.name] == before
