"""sweep.yaml and sweep.csv: whole, current, cheap to keep; cells that cannot be built."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sweep_folders import QUICK, cells, table

from genai_cli.config.schema import TrainConfig
from genai_cli.store import run_folder, sweep_table
from genai_cli.sweeps import asked
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Four cells as their workers leave them: waiting, running, finished, failed."""
    names = ["000-a", "001-b", "002-c", "003-d"]
    for name, status in zip(names, ("running", "running", "finished", "failed"), strict=True):
        cell = tmp_path / name
        cell.mkdir()
        atomic_write.write_json(cell / "run.json", {"status": status, "parameters": 7})
        if name != "000-a":
            (cell / "train.log").write_text("run\nTraceback\nValueError: too bad\n")
    (tmp_path / "001-b" / "metrics.csv").write_text(
        "epoch,step,seconds,val/loss\n1,4,0.5,2.5\n2,8,1.0,2.25\n3,12"
    )
    numbers = {"test/mse": {"value": 0.25}}
    done = {"epoch": 9, "seconds": 3.5, "metrics": numbers}
    atomic_write.write_json(tmp_path / "002-c" / "summary.json", done)
    content = {
        "varied": ["seed"],
        "cells": [{"folder": n, "overrides": [f"seed={i}"]} for i, n in enumerate(names)],
    }
    asked.write_manifest(tmp_path, content)
    return tmp_path


def test_a_row_for_each_cell_as_it_stands(sweep: Path) -> None:
    sweep_table.write_table(sweep)
    rows = table(sweep)
    assert [row["status"] for row in rows] == ["", "running", "finished", "failed"]
    assert [row["seed"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["epoch"] for row in rows] == ["", "2", "9", ""]  # not the row that is being written
    assert [row["seconds"] for row in rows] == ["", "1.0", "3.5", ""]
    assert [row["test/mse"] for row in rows] == ["", "", "0.25", ""]
    assert [row["note"] for row in rows] == ["", "", "", "ValueError: too bad"]


def test_a_cell_that_has_not_begun_is_no_running_one(sweep: Path) -> None:
    statuses = [
        run_folder.status(c, run_folder.read_json(c / "run.json")) for c in sorted(sweep.glob("0*"))
    ]
    assert statuses == ["waiting", "died", "finished", "failed"]
    with open(sweep / "001-b" / "train.log") as log:
        assert lock(log)
        cell = sweep / "001-b"
        assert run_folder.status(cell, run_folder.read_json(cell / "run.json")) == "running"


def test_what_changes_is_seen_and_nothing_else_is_read(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_table.write_table(sweep)
    before = (sweep / "sweep.csv").stat()
    read: list[str] = []
    plain = sweep_table._cell_values
    monkeypatch.setattr(sweep_table, "_cell_values", lambda c: read.append(c.name) or plain(c))
    sweep_table.write_table(sweep)
    assert read == []
    assert (sweep / "sweep.csv").stat().st_ino == before.st_ino  # the same table is not written
    with open(sweep / "001-b" / "metrics.csv", "a") as file:
        file.write(",1.5,2.0\n")
    sweep_table.write_table(sweep)
    assert read == ["001-b"]
    assert table(sweep)[1]["epoch"] == "3"


def test_the_table_follows_a_cell_of_another_process(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_table, "EVERY", 0.01)
    monkeypatch.setattr(sweep_table, "SHARE", 0)
    with sweep_table.keep_current(sweep):
        for epoch in (3, 4):
            with open(sweep / "001-b" / "metrics.csv", "a") as file:
                file.write(f",{epoch},1\n" if epoch == 3 else f"{epoch},16,{epoch},1\n")
            for _ in range(1000):
                if (sweep / "sweep.csv").exists() and table(sweep)[1]["epoch"] == str(epoch):
                    break
                time.sleep(0.01)
            else:
                pytest.fail(f"epoch {epoch} never came into the table")


def test_a_long_table_is_cut_on_the_screen_but_not_its_failures(tmp_path: Path) -> None:
    names = [f"{i:03d}-x" for i in range(300)]
    for name in names:
        (tmp_path / name).mkdir()
        status = "failed" if name == "290-x" else "finished"
        atomic_write.write_json(tmp_path / name / "run.json", {"status": status})
    content = {"varied": [], "cells": [{"folder": n, "overrides": []} for n in names]}
    asked.write_manifest(tmp_path, content)
    text = sweep_table.summary(tmp_path)
    assert "290-x" in text
    assert "000-x" in text
    assert "200-x" not in text
    assert "250 more rows in" in text


def test_what_was_asked_is_written_whole(genai: Callable) -> None:
    done = genai("train", "-m", "model=autoencoder", "bottleneck=2,3", *QUICK)
    content = yaml.safe_load((done.folders[0] / "sweep.yaml").read_text())
    assert list(content) == ["schema", "command", "varied", "launcher", "sweep", "cells"]
    assert content["varied"] == ["bottleneck"]
    assert content["sweep"]["search"] == "grid"
    for cell, path in zip(content["cells"], cells(done.folders[0]), strict=True):
        assert cell["folder"] == path.name
        assert cell["config"] == asked.fingerprint(run_folder.read_config(path))
        assert cell["overrides"][0] == "model=autoencoder"


# ---- cells that cannot be built ----------------------------------------------------------------

BAD = ("-m", "model=autoencoder", "bottleneck=4,0,abc", *QUICK)


def test_one_bad_cell_is_named_and_nothing_is_launched(genai: Callable) -> None:
    done = genai("train", *BAD)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "cell bottleneck=abc: bottleneck=abc is not allowed" in done.err
    assert "nothing was launched" in done.err
    assert not done.outputs.exists()


def test_bad_cells_are_left_out_and_listed(genai: Callable) -> None:
    done = genai("train", *BAD, "sweep.skip_invalid=true")
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert lines[0].startswith("left out: cell bottleneck=abc: bottleneck=abc is not allowed")
    assert lines[1].startswith("left out: cell bottleneck=0: bottleneck=0 is not allowed")
    (sweep,) = done.folders
    assert [row["bottleneck"] for row in table(sweep)] == ["4"]
    left = yaml.safe_load((sweep / "sweep.yaml").read_text())["left_out"]
    assert [cell["cell"] for cell in left] == ["bottleneck=abc", "bottleneck=0"]


def test_no_good_cell_at_all_is_a_mistake(genai: Callable) -> None:
    done = genai("train", "-m", "bottleneck=0,-1", *QUICK, "sweep.skip_invalid=true")
    assert done.code == 2
    assert "no cell of this sweep can be trained" in done.err
    assert not done.outputs.exists()


def test_cells_of_a_family_without_the_knob_collapse(genai: Callable) -> None:
    words = ("epochs=1", "dataset.limit=64", "trainer.max_steps=1", "dataset=moons")
    done = genai("train", "-m", "model=flow,autoencoder", "bottleneck=1,2", *words)
    assert done.code == 0, done.err
    assert "flow has no bottleneck: 1 run, not 2" in done.err
    assert len(cells(done.folders[0])) == 3


def test_cells_that_differ_in_their_seed_are_built_once(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner import description

    built: list[int] = []
    plain = description.description

    def counted(cfg: TrainConfig, *more: object) -> dict:
        built.append(cfg.seed)
        return plain(cfg, *more)

    monkeypatch.setattr(description, "description", counted)
    words = ("epochs=1", "dataset.limit=64", "trainer.max_steps=1", "model.widths=[8]")
    done = genai("train", "-m", "bottleneck=2,3", "seed=5,6,7", *words)
    assert done.code == 0, done.err
    assert built == [5, 5]
    seeds = [run_folder.read_json(cell / "run.json")["seed"] for cell in cells(done.folders[0])]
    assert seeds == [5, 6, 7] * 2


def test_odd_values_survive_the_shell_and_the_folder(genai: Callable) -> None:
    words = ("epochs=1", "dataset.limit=64", "trainer.max_steps=1", "model=autoencoder")
    done = genai("train", "-m", "model.widths=[8],[9, 8]", "tags=['a,b',\"c d\"]", *words)
    assert done.code == 0, done.err
    first, second = cells(done.folders[0])
    assert (first.name, second.name) == ("000-model.widths--8", "001-model.widths--9-8")
    assert run_folder.read_config(second)["tags"] == ["a,b", "c d"]
    assert run_folder.read_config(second)["model"]["widths"] == [9, 8]
