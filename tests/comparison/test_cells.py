"""Which figures a sweep gets, and what its files put into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_cli.comparison import cells
from genai_cli.comparison.read import Run, read

ACCURACY = "test/accuracy"


@pytest.fixture
def sweep(outputs: Any, made: Callable) -> Callable[..., list[Run]]:
    """A sweep of runs that predict, made of (words, accuracy, half an interval or None)."""

    def make(rows: Sequence[tuple[dict[str, str], float, float | None]], **more: Any) -> list[Run]:
        found, listed = [], []
        for words, value, half in rows:
            folder = outputs.run("mlp", sweep="abcd", summary={ACCURACY: made(value, half)},
                                 seed=int(words.get("seed", 0)), dataset=words.get("dataset", "d"),
                                 loss__name=words.get("loss", "mse"), **more)  # fmt: skip
            losses = ((2.0, 1.0), (1.0, 0.5), (0.5, 0.75))
            lines = [f"{i},{i},{i},{5 * i - 5},0.1,{a},{b}" for i, (a, b) in enumerate(losses, 1)]
            head = "epoch,step,images,seconds,lr,train/loss,val/loss"
            (folder / "metrics.csv").write_text("\n".join([head, *lines, ""]))
            found.append(folder)
            given = [f"{key}={value}" for key, value in words.items()]
            listed.append({"folder": folder.name, "overrides": given, "config": "0"})
        varied = list(dict.fromkeys(key for words, *_ in rows for key in words))
        content = {"varied": varied, "cells": listed}
        (found[0].parent / "sweep.yaml").write_text(yaml.safe_dump(content))
        return [read(folder) for folder in found]

    return make


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the drawing functions are given."""
    seen: dict[str, Any] = {}
    for room, name in ((cells, "cell_curves"), (cells.cross_table, "cross_table")):
        given = lambda *a, _n=name, **k: seen.update({_n: (a, k)})  # noqa: E731
        monkeypatch.setattr(room, name, given)
    return seen


def names(files: Sequence[Path]) -> list[str]:
    return [path.name for path in files]


def test_a_panel_for_each_cell_says_its_numbers(
    sweep: Callable, drawn: dict, tmp_path: Path
) -> None:
    runs = sweep([({"batch_size": "8"}, 0.5, None), ({"batch_size": "16"}, 0.25, None)])
    assert names(cells.draw_sweep(tmp_path, runs)) == ["curves.png"]
    (_, panels), heading = drawn["cell_curves"]
    assert [panel.title for panel in panels] == ["batch_size=8", "batch_size=16"]
    assert panels[0].note.split("\n") == [
        "test accuracy 0.500 · 10 s",
        "lowest 0.5 in epoch 2",
        "last 0.75, training 0.5",
    ]
    assert heading["title"] == "Loss curves by batch size"


def test_seeds_share_a_panel_and_losses_do_not_share_an_axis(
    sweep: Callable, drawn: dict, tmp_path: Path
) -> None:
    rows = [
        ({"loss": loss, "model.widths": widths, "seed": seed, "force_loss": "true"}, 0.5, None)
        for loss, widths in (("mse", "[8,8,8]"), ("mae", "[8,8,8]"), ("mae", "[4,2]"))
        for seed in ("0", "1")
    ]
    cells.draw_sweep(tmp_path, sweep(rows))
    (_, panels), heading = drawn["cell_curves"]
    assert [panel.title for panel in panels] == [
        "mse widths=3×8",
        "mae widths=3×8",
        "mae widths=[4,2]",
    ]
    assert panels[0].objective != panels[1].objective
    assert heading["detail"].endswith("of 2 seeds the first")


def test_a_panel_is_named_by_the_key_that_tells_all_apart(
    sweep: Callable, drawn: dict, tmp_path: Path
) -> None:
    rows = [({"loss": loss, "model.widths": "[8]"}, 0.5, None) for loss in ("mse", "mae")]
    cells.draw_sweep(tmp_path, sweep(rows))
    (_, panels), heading = drawn["cell_curves"]
    assert [panel.title for panel in panels] == ["mse", "mae"]
    assert heading["title"] == "Loss curves by loss"


def test_many_cells_become_lines_in_a_panel_for_each_value(
    sweep: Callable, drawn: dict, tmp_path: Path
) -> None:
    rows = [
        ({"optimizer": name, "optimizer.lr": str(rate)}, 0.5, None)
        for name in ("sgd", "adam")
        for rate in range(7)
    ]
    files = cells.draw_sweep(tmp_path, sweep(rows))
    assert names(files) == ["curves.png", "table.png"]
    (_, panels), _ = drawn["cell_curves"]
    assert [panel.title for panel in panels] == ["sgd", "adam"]
    assert [curve.label for curve in panels[0].curves] == [f"lr={rate}" for rate in range(7)]
    both = [[curve.colour for curve in panel.curves] for panel in panels]
    assert both[0] == both[1]
    assert len(set(both[0])) == 7


def test_a_table_of_tasks_and_losses(sweep: Callable, drawn: dict, tmp_path: Path) -> None:
    rows = [
        ({"dataset": "wine", "loss": "cce"}, 0.9, 0.01),
        ({"dataset": "wine", "loss": "kl"}, 0.5, 0.01),
        ({"dataset": "digits", "loss": "cce"}, 0.8, 0.02),
        ({"dataset": "digits", "loss": "kl"}, 0.83, 0.02),
        ({"dataset": "moons", "loss": "bce"}, 0.7, 0.02),
    ]
    files = cells.draw_sweep(tmp_path, sweep(rows))
    assert names(files) == ["curves.png", "table.png"]
    (_, columns, lines), heading = drawn["cross_table"]
    assert heading["title"] == "Dataset against loss"
    assert columns == ["cce", "kl", "bce"]
    assert [line.name for line in lines] == ["wine", "digits", "moons"]
    assert [line.metric for line in lines] == ["accuracy ↑"] * 3
    assert [e.best if e else None for e in lines[0].entries] == [True, False, None]
    assert [e.best if e else None for e in lines[1].entries] == [True, True, None]  # overlapping
    assert lines[1].entries[0].below == "0.780 – 0.820"


def test_seeds_are_a_mean_in_the_table(sweep: Callable, drawn: dict, tmp_path: Path) -> None:
    rows = [
        ({"loss": loss, "bottleneck": k, "seed": seed}, value, None)
        for loss, up in (("mse", 0.0), ("mae", 0.1))
        for k in ("2", "4")
        for seed, value in (("0", 0.4 + up), ("1", 0.6 + up))
    ]
    cells.draw_sweep(tmp_path, sweep(rows))
    (_, columns, lines), heading = drawn["cross_table"]
    assert columns == ["bottleneck=2", "bottleneck=4"]
    assert [line.entries[0].text for line in lines] == ["0.500", "0.600"]
    assert "over 2 seeds" in heading["detail"]


@pytest.mark.parametrize(
    "rows",
    [
        [{"bottleneck": "2"}, {"bottleneck": "4"}],  # one key
        [{"bottleneck": str(i), "epochs": str(k)} for i in (1, 2) for k in (3, 4)],  # no group
        [{"optimizer": name, "optimizer.lr": name} for name in "abc"],  # one a row
        [{"loss": a, "bottleneck": str(k)} for a in ("mse", "mae") for k in range(13)],  # too wide
    ],
)
def test_no_table_of_what_is_none(
    sweep: Callable, drawn: dict, tmp_path: Path, rows: list[dict[str, str]]
) -> None:
    cells.draw_sweep(tmp_path, sweep([(row, 0.5, None) for row in rows]))
    assert "cell_curves" in drawn
    assert "cross_table" not in drawn


def test_other_runs_get_neither(outputs: Any, drawn: dict, tmp_path: Path) -> None:
    alone = [read(outputs.run("vae")) for _ in range(2)]
    damaged = [read(outputs.run("vae", sweep="abcd")) for _ in range(2)]
    assert cells.draw_sweep(tmp_path, alone) == []
    assert cells.draw_sweep(tmp_path, damaged) == []  # its sweep.yaml says nothing
    assert drawn == {}
