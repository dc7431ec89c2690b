"""Cells of a sweep that are gone or damaged are written again, as they were or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sweep_folders import AE, cells, contents, statuses, table

from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

LOST = {
    "gone": "its folder is gone",
    "empty": "it has no config.yaml",
    "config": "its config.yaml is damaged",
    "run": "it has no whole run.json",
}


@pytest.mark.parametrize("harm", LOST)
def test_a_lost_folder_is_written_again(harm: str, cut: Callable, genai: Callable) -> None:
    sweep = cut()
    cell = cells(sweep)[2]
    config = (cell / "config.yaml").read_bytes()
    if harm == "gone":
        shutil.rmtree(cell)
    elif harm == "empty":
        shutil.rmtree(cell)
        cell.mkdir()
    else:
        (cell / f"{harm}.{'yaml' if harm == 'config' else 'json'}").write_text("{torn")
    done = genai("sweep", "resume", "latest")
    assert done.code == 0, done.err
    assert f"{cell.name}  lost         {LOST[harm]}: written again" in done.out
    assert (cell / "config.yaml").read_bytes() == config
    assert run_folder.read_json(cell / "run.json")["parameters"] > 0
    assert statuses(sweep) == ["finished"] * 3
    assert table(sweep)[2]["note"] == f"resumed: lost, {LOST[harm]}: written again"


def test_a_lost_config_is_written_again_and_its_run_goes_on(cut: Callable, genai: Callable) -> None:
    sweep = cut()
    cell = cells(sweep)[1]
    (cell / "config.yaml").unlink()
    assert genai("sweep", "resume", "latest").code == 0
    assert "going on after step 3" in (cell / "train.log").read_text()


@pytest.fixture
def mine(genai: Callable, stop_in: Callable, tmp_path: Path) -> tuple[Path, Callable]:
    """A sweep of two cells, the second not begun, of a YAML of the user's; and how to edit that."""
    (tmp_path / "mine" / "experiment").mkdir(parents=True)

    def edit(rate: float) -> None:
        text = f"# @package _global_\n# Mine\noptimizer:\n  lr: {rate}\n"
        (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(text)

    edit(0.001)
    stop_in("000", 3)
    words = ("experiment=mine", "-cd", str(tmp_path / "mine"), "bottleneck=2,3")
    sweep = genai(*AE, *words).folders[0]
    stop_in("", 0)
    return sweep, edit


def test_a_cell_that_would_be_another_run_is_refused(
    mine: tuple[Path, Callable], genai: Callable
) -> None:
    sweep, edit = mine
    shutil.rmtree(cells(sweep)[1])
    before = contents(sweep)
    edit(0.002)
    done = genai("sweep", "resume", "latest")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "001-bottleneck-3 is damaged, and its words give another config today" in done.err
    assert contents(sweep) == before
    edit(0.001)
    assert genai("sweep", "resume", "latest").code == 0
    assert statuses(sweep) == ["finished", "finished"]


def test_an_edited_yaml_does_not_change_cells_that_are_there(
    mine: tuple[Path, Callable], genai: Callable
) -> None:
    sweep, edit = mine
    edit(0.002)
    assert genai("sweep", "resume", "latest").code == 0
    assert [run_folder.read_config(c)["optimizer"]["lr"] for c in cells(sweep)] == [0.001, 0.001]


def test_a_damaged_sweep_is_one_line(cut: Callable, genai: Callable) -> None:
    sweep = cut()
    whole = yaml.safe_load((sweep / "sweep.yaml").read_text())
    stray = whole | {"cells": [{"folder": "../../other", "overrides": []}]}
    for text in ("cells: [", "cells: 3\n", "- a\n", yaml.safe_dump(stray), "\x00"):
        (sweep / "sweep.yaml").write_text(text)
        done = genai("sweep", "resume", str(sweep))
        assert done.code == 2
        assert done.err == f"genai sweep: {sweep}/sweep.yaml is damaged\n"
