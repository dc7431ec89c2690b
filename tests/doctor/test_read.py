"""CSV files of other tools, and what is said of those that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genai_cli.doctor import read
from genai_cli.errors import UserError

LOSSES = [(1.0, 1.1), (0.6, 0.7), (0.4, 0.5)]

KERAS = "epoch,loss,val_loss\n" + "".join(f"{i},{t},{v}\n" for i, (t, v) in enumerate(LOSSES))
ORDER = "val_loss,accuracy,epoch,loss\n" + "".join(
    f"{v},0.5,{i},{t}\n" for i, (t, v) in enumerate(LOSSES)
)
SEMICOLON = "Epoch;Loss;Val_Loss\n" + "".join(
    f"{i};{t};{v}\n".replace(".", ",") for i, (t, v) in enumerate(LOSSES, 1)
)
LIGHTNING = "epoch,step,lr-Adam,train_loss,val_loss\n" + "".join(
    f",{9 * i},0.001,,\n{i},{9 * i + 4},,{t + 0.1},\n{i},{9 * i + 8},,{t - 0.1},\n"
    f"{i},{9 * i + 8},,,{v}\n"
    for i, (t, v) in enumerate(LOSSES)
)


@pytest.mark.parametrize("text", [KERAS, ORDER, SEMICOLON, LIGHTNING, "\ufeff" + KERAS])
def test_each_tools_file_gives_the_same_curves(text: str, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text, encoding="utf-8")
    r = read.file(path)
    assert r.epochs.tolist() == [1, 2, 3]
    assert r.columns["train/loss"] == pytest.approx([t for t, _ in LOSSES])
    assert r.columns["val/loss"] == pytest.approx([v for _, v in LOSSES])


def appended(tmp_path: Path, *calls: list[float]) -> list[float]:
    """Training losses as read from a file to which each call of fit wrote its epochs from 0 on."""
    path = tmp_path / "history.csv"
    rows = [f"{i},{loss},{loss}\n" for call in calls for i, loss in enumerate(call)]
    path.write_text("epoch,loss,val_loss\n" + "".join(rows))
    r = read.file(path)
    assert r.epochs.tolist() == list(range(1, len(r.epochs) + 1))
    return r.columns["train/loss"].tolist()


def test_a_second_call_of_fit_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    assert appended(tmp_path, [9, 5, 3], [2.5, 2], [2, 1.5]) == [9, 5, 3, 2.5, 2, 2, 1.5]


def test_a_second_model_in_the_file_is_the_one_that_is_read(tmp_path: Path) -> None:
    assert appended(tmp_path, [9, 5, 3], [8, 6], [5.5]) == [8, 6, 5.5]


def test_a_loss_that_is_no_number_stays_none(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,val_loss\n0,1.0,1.0\n1,nan,inf\n")
    r = read.file(path)
    assert np.isnan(r.columns["train/loss"][1])
    assert np.isinf(r.columns["val/loss"][1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch,loss\n0,1\n", "no column val_loss"),
        ("loss,val_loss\n1,1\n", "no column epoch"),
        ("", "no column epoch or loss or val_loss"),
        ("epoch,loss,val_loss\n", "no column"),
        ("epoch,loss,val_loss\n0,high,1\n", "'high' is no number"),
        ("epoch,loss,val_loss\n0,,\n", "no row with an epoch and a loss"),
    ],
)
def test_a_file_that_is_no_loss_curve_is_told_so_in_a_line(
    text: str, said: str, tmp_path: Path, genai: Callable
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read.file(path)
    done = genai("doctor", str(path))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert said in done.err


def test_bytes_are_no_csv(tmp_path: Path) -> None:
    path = tmp_path / "picture.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="cannot read"):
        read.file(path)
