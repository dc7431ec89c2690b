"""Load a user's table: a csv with a header, or an npz with the arrays x and y."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from genai_cli.data.home import user_path
from genai_cli.data.raw import Raw, one_line
from genai_cli.data.scale import Scale, TargetScale
from genai_cli.errors import UserError, nearest

Task = Literal["auto", "regression", "classification"]

# Longest label set that `task=auto` reads whole numbers as; more are taken for quantities.
_MOST_CLASSES = 20
_LARGEST = float(np.finfo(np.float32).max)  # what a model computes with


def table(
    *,
    path: str | None = None,
    target: str | list[str] | None = None,
    task: Task = "auto",
    scale: Scale = "standard",
    target_scale: TargetScale = "standard",
) -> Raw:
    """Load columns of numbers, with or without a target.

    ``task=auto`` reads a target as labels where it is text or has at most 20 different whole
    numbers, and as values else. ``target_scale`` concerns values only.
    """
    file = user_path(path, "dataset.path", "FILE.csv")
    if not file.is_file():  # a pipe would be waited for, and a device never ends
        what = "a folder" if file.is_dir() else "no regular file"
        raise UserError(f"dataset.path={one_line(path)} is {what}; give a .csv or .npz file")
    columns = _npz(file, target) if file.suffix.lower() == ".npz" else _csv(file, target, task)
    if not len(columns.x):
        raise UserError(f"{one_line(file)} has no rows; at least 3 are needed")
    if not columns.x.shape[1]:
        raise UserError(f"{one_line(file)} has no column left for x beside dataset.target")
    raw = Raw(columns.x, features=columns.features, scale=scale)
    if columns.y is None:
        if task != "auto":
            raise UserError(
                f"dataset.task={task} needs a target; add dataset.target=COLUMN "
                f"(columns: {_some(columns.features)})"
            )
        return raw
    if _is_labels(columns, task, file):
        names, y = np.unique(columns.y[:, 0], return_inverse=True)
        return raw._replace(y=y.reshape(-1).astype(np.int64), classes=tuple(map(_label, names)))
    return raw._replace(
        y=columns.y.astype(np.float64), targets=columns.targets, target_scale=target_scale
    )


class Columns(NamedTuple):
    """Columns of a file, with the target separated."""

    x: np.ndarray  # (n, D) float64
    y: np.ndarray | None  # (n, K) float64 or text
    features: tuple[str, ...]
    targets: tuple[str, ...]


def _is_labels(columns: Columns, task: Task, file: Path) -> bool:
    y = columns.y
    assert y is not None
    text = y.dtype.kind not in "iufb"
    if task == "regression" and text:
        raise UserError(
            f"dataset.task=regression: the target in {one_line(file)} is text; use "
            "dataset.task=classification"
        )
    if task == "classification" and y.shape[1] != 1:
        raise UserError(
            f"dataset.task=classification takes one target column, not {y.shape[1]} "
            f"({_some(columns.targets)})"
        )
    if text or task == "regression":
        return text
    whole = bool((y == np.round(y)).all())
    if task == "classification":
        if not whole:
            odd = y[y != np.round(y)][0]
            raise UserError(
                f"dataset.task=classification: the target in {one_line(file)} holds {odd:g}; "
                "labels are text or whole numbers; use dataset.task=regression"
            )
        return True
    return whole and y.shape[1] == 1 and len(np.unique(y)) <= _MOST_CLASSES


def _label(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(one_line(n) for n in names[:most]) + (", …" if len(names) > most else "")


# ---- csv ---------------------------------------------------------------------------------------


def _csv(file: Path, target: str | list[str] | None, task: Task) -> Columns:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{one_line(file)} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{one_line(file)} is not text in UTF-8 (byte {error.start}); save it as UTF-8 csv"
        ) from None
    head = text.split("\n", 1)[0]
    # The commonest of the three in the header; quoted names may hold any of them.
    delimiter = max(",;\t", key=re.sub(r'"[^"]*"', "", head).count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(file, header)
        lines, rows = [], []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{one_line(file)} line {reader.line_num} has {len(row)} cells where the "
                    f"header has {len(header)}"
                )
            lines.append(reader.line_num)
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{one_line(file)} line {reader.line_num}: {one_line(error)}") from None
    wanted = _target_columns(file, header, target)
    others = [j for j in range(len(header)) if j not in wanted]
    cells = np.array(rows, dtype=object).reshape(len(rows), len(header))
    x = _floats(file, cells, others, header, lines)
    features = tuple(header[j] for j in others)
    if not wanted:
        return Columns(x, None, features, ())
    names = tuple(header[j] for j in wanted)
    if len(wanted) == 1:
        y = _labels_or_floats(file, cells[:, wanted[0]], names[0], lines, task)
    else:
        y = _floats(file, cells, wanted, header, lines)
    return Columns(x, y, features, names)


def _check_header(file: Path, header: list[str]) -> None:
    if not any(header):
        raise UserError(f"{one_line(file)} is empty; the first line must name the columns")
    if all(_is_number(name) for name in header):
        raise UserError(
            f"{one_line(file)} has no header: line 1 is all numbers; put the columns' names there"
        )
    twice = next((name for name, count in Counter(header).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{one_line(file)} line 1 names the column {one_line(twice)!r} twice")


def _target_columns(file: Path, header: list[str], target: str | list[str] | None) -> list[int]:
    wanted = [] if target is None else [target] if isinstance(target, str) else list(target)
    for name in wanted:
        if wanted.count(name) > 1:
            raise UserError(f"dataset.target names the column {one_line(name)!r} twice; keep one")
        if name not in header:
            raise UserError(
                f"dataset.target={one_line(name)} is no column of {one_line(file)}"
                f"{nearest(name, header)} (choose from: {_some(header)})"
            )
    return [header.index(name) for name in wanted]


def _floats(
    file: Path, cells: np.ndarray, columns: list[int], header: list[str], lines: list[int]
) -> np.ndarray:
    """Those columns as (n, D) float64; the first cell that is no number is named."""
    try:
        values = cells[:, columns].astype(np.float64)
        if (np.abs(values) <= _LARGEST).all():  # False for nan
            return values
    except ValueError:
        pass
    for i, row in enumerate(cells):
        for j in columns:
            if not _is_number(row[j]):
                _refuse_cell(file, lines[i], header[j], row[j])
    raise AssertionError("numpy and float() read a cell differently")


def _labels_or_floats(
    file: Path, column: np.ndarray, name: str, lines: list[int], task: Task
) -> np.ndarray:
    """One target column (n, 1): numbers if all are, else text.

    A few words among numbers are taken for mistakes, not for a table of labels, unless the user
    says that it is one.
    """
    numeric = [_is_number(cell) for cell in column]
    mistake = task != "classification" and 2 * sum(numeric) > len(column)
    for i, cell in enumerate(column):
        if not cell.strip() or (mistake and not numeric[i]):
            _refuse_cell(file, lines[i], name, cell)
    if all(numeric):
        return column.astype(np.float64)[:, None]
    return np.array([cell.strip() for cell in column])[:, None]


def _refuse_cell(file: Path, line: int, name: str, cell: str) -> None:
    what = f"{one_line(cell, 40)!r} is not a number" if cell.strip() else "the value is missing"
    if _is_finite(cell):
        what = f"{one_line(cell, 40)!r} is too large for a 32-bit number ({_LARGEST:.1e})"
    raise UserError(
        f"{one_line(file)} line {line}, column {one_line(name)}: {what}; mend or remove the row"
    )


def _is_number(cell: str) -> bool:
    return _is_finite(cell) and abs(float(cell)) <= _LARGEST


def _is_finite(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


# ---- npz ---------------------------------------------------------------------------------------


def _npz(file: Path, target: str | list[str] | None) -> Columns:
    if target is not None:
        raise UserError(
            f"dataset.target={target}: an npz file has its target in the array y; leave out "
            "dataset.target"
        )
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is one array, not an archive of several")
            names = archive.files
            arrays = {name: archive[name] for name in ("x", "y") if name in names}
        if any(not isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("what it holds by that name is no array")
    except Exception as error:  # of a forged header, numpy and zipfile raise nearly anything
        raise UserError(
            f"{one_line(file)} cannot be read as npz ({one_line(error)}); write it with "
            "numpy.savez(FILE, x=…, y=…), without objects"
        ) from None
    if "x" not in arrays:
        raise UserError(f"{one_line(file)} holds no array x (it has: {_some(sorted(names))})")
    x, y = arrays["x"], arrays.get("y")
    if x.ndim != 2 or x.dtype.kind not in "iufb":
        raise UserError(f"{one_line(file)}: x must be numbers (n, D), not {x.dtype} {x.shape}")
    _check_finite(file, "x", x)
    features = tuple(f"x{j}" for j in range(x.shape[1]))
    if y is None:
        return Columns(x.astype(np.float64), None, features, ())
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or len(y) != len(x) or y.dtype.kind not in "iufbU":
        raise UserError(
            f"{one_line(file)}: y must be numbers or text (n,) or (n, K) with n = {len(x)}, not "
            f"{y.dtype} {y.shape}"
        )
    if y.dtype.kind != "U":
        _check_finite(file, "y", y)
        y = y.astype(np.float64)
    return Columns(x.astype(np.float64), y, features, tuple(f"y{k}" for k in range(y.shape[1])))


def _check_finite(file: Path, name: str, array: np.ndarray) -> None:
    bad = np.argwhere(~(np.abs(array.astype(np.float64)) <= _LARGEST))
    if len(bad):
        row, column = bad[0]
        why = "too large for a 32-bit number" if np.isfinite(array[row, column]) else "not a number"
        raise UserError(
            f"{one_line(file)}: {name}[{row}, {column}] is {array[row, column]}, {why}; mend or "
            "remove the row"
        )
