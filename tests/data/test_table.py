"""Tables: what is read from csv and npz, and one line for each way a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genai_cli.data.sources import load
from genai_cli.data.table import table

rng = np.random.RandomState(0)
NUMBERS = rng.normal(size=(40, 3))


def write(folder: Path, header: str, rows: list[str], name: str = "t.csv") -> str:
    file = folder / name
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(file)


def lines(delimiter: str = ",", last: list[str] | None = None) -> list[str]:
    cells = [[f"{v!r}" for v in row.tolist()] for row in NUMBERS]
    if last is not None:
        cells = [[*row, word] for row, word in zip(cells, last, strict=True)]
    return [delimiter.join(row) for row in cells]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    raw = table(path=write(tmp_path, delimiter.join(["a", "b", '"c, d; e"']), lines(delimiter)))
    np.testing.assert_array_equal(raw.x, NUMBERS)
    assert raw.features == ("a", "b", "c, d; e")
    assert raw.y is None


def test_excel_marks_blank_lines_and_spaces_are_read(tmp_path: Path) -> None:
    rows = [line.replace(",", " , ") for line in lines()]
    path = write(tmp_path, "\ufeffa,b,c", [*rows[:5], "", *rows[5:], ""])
    Path(path).write_bytes(Path(path).read_bytes().replace(b"\n", b"\r\n"))
    raw = table(path=path)
    np.testing.assert_array_equal(raw.x, NUMBERS)
    assert raw.features == ("a", "b", "c")


def test_text_labels(tmp_path: Path) -> None:
    words = ["cat", "dog", "ape", "dog"] * 10
    path = write(tmp_path, "a,b,c,kind", lines(last=words))
    dataset = load({"name": "table", "path": path, "target": "kind"})
    assert dataset.spec.classes == ("ape", "cat", "dog")
    assert dataset.spec.features == ("a", "b", "c")
    assert dataset.train.y.dtype == torch.int64
    assert torch.bincount(dataset.test.y).tolist() == [2, 2, 4]  # stratified
    assert dataset.train.x.dtype == torch.float32


def test_auto_tells_labels_from_values(tmp_path: Path) -> None:
    few = write(tmp_path, "a,b,c,y", lines(last=["1", "2", "10", "2.0"] * 10), "few.csv")
    many = write(tmp_path, "a,b,c,y", lines(last=[str(k) for k in range(40)]), "many.csv")
    real = write(tmp_path, "a,b,c,y", lines(last=["1.5", "2"] * 20), "real.csv")
    assert table(path=few, target="y").classes == ("1", "2", "10")
    assert table(path=few, target="y", task="regression").classes == ()
    assert table(path=many, target="y").targets == ("y",)
    assert len(table(path=many, target="y", task="classification").classes) == 40
    assert table(path=real, target="y").y.tolist() == [[1.5], [2.0]] * 20


def test_several_targets(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c", lines())
    dataset = load({"name": "table", "path": path, "target": ["c", "a"]})
    assert dataset.spec.event_shape == (1,)
    assert dataset.spec.target_shape == (2,)
    assert dataset.spec.targets == ("c", "a")
    back = dataset.test.y * torch.tensor(dataset.spec.target_std)
    back += torch.tensor(dataset.spec.target_mean)
    plain = load({"name": "table", "path": path, "target": ["c", "a"], "target_scale": "none"})
    torch.testing.assert_close(back, plain.test.y)


def test_npz(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    np.savez(file, x=NUMBERS.astype(np.float32))
    assert load({"name": "table", "path": str(file)}).spec.target == "none"
    np.savez(file, x=NUMBERS, y=np.array(["u", "v"] * 20))
    assert table(path=str(file)).classes == ("u", "v")
    np.savez(file, x=NUMBERS, y=NUMBERS[:, :2])
    raw = table(path=str(file))
    assert raw.y.shape == (40, 2)
    assert raw.targets == ("y0", "y1")
    np.savez(file, x=NUMBERS, y=np.arange(40) % 3)
    assert table(path=str(file)).classes == ("0", "1", "2")


def test_csv_and_npz_of_the_same_numbers_have_one_hash(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=NUMBERS, y=np.arange(40) % 2)
    csv = write(tmp_path, "a,b,c,y", lines(last=["0", "1"] * 20))
    one = load({"name": "table", "path": csv, "target": "y"})
    other = load({"name": "table", "path": str(tmp_path / "t.npz")})
    assert one.hash == other.hash
    assert torch.equal(one.train.x, other.train.x)


def test_constant_target_stays_finite(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c,y", lines(last=["2.5"] * 40))
    dataset = load({"name": "table", "path": path, "target": "y"})
    assert (dataset.train.y == 0).all()
    assert dataset.spec.target_mean == (2.5,)
    assert np.isfinite(dataset.spec.target_std).all()


GOOD = ["1,2,3", "4,5,6", "7,8,9", "1,2,4"]
CSV = {
    "empty file": (b"", {}, "is empty"),
    "header only": (b"a,b,c\n", {}, "no rows"),
    "no header": (b"1,2,3\n4,5,6\n", {}, "no header"),
    "blank header": (b",,\n1,2,3\n", {}, "is empty"),
    "two names": (b"a,b,a\n1,2,3\n", {}, "'a' twice"),
    "word": (b"a,b,c\n1,2,3\n4,x,6\n", {}, "line 3, column b: 'x' is not a number"),
    "missing": (b"a,b,c\n1,2,3\n\n4,5,\n", {}, "line 4, column c: the value is missing"),
    "nan": (b"a,b,c\n1,nan,3\n", {}, "line 2, column b: 'nan'"),
    "infinite": (b"a,b,c\n1,2,1e999\n", {}, "line 2, column c"),
    "ragged short": (b"a,b,c\n1,2,3\n4,5\n", {}, "line 3 has 2 cells"),
    "ragged long": (b"a,b,c\n1,2,3,4\n", {}, "line 2 has 4 cells"),
    "decimal comma": (b"a;b\n1,5;2\n", {}, "line 2, column a: '1,5'"),
    "multi-line cell": (b'a,b\n1,"2\n3"\n', {}, "column b: '2?3'"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), {}, "UTF-8"),
    "latin-1": ("größe,b\n1,2\n".encode("latin-1"), {}, "UTF-8"),
    "binary": (bytes(range(256)), {}, "UTF-8"),
    "nul": (b"a,b\n1,\x002\n", {}, "line 2"),
    "one row": (b"a,b\n1,2\n", {}, "none to train on"),
    "no such target": (b"size,b\n1,2\n3,4\n", {"target": "sise"}, "did you mean 'size'"),
    "only the target": (b"y\n1\n2\n3\n", {"target": "y"}, "no column left"),
    "typo in target": (b"a,y\n1,2\n3,4\n5,6\n7,eight\n", {"target": "y"}, "line 5, column y"),
    "missing target": (b"a,y\n1,cat\n3,\n", {"target": "y"}, "line 3, column y: the value"),
    "text, regression": (b"a,y\n1,u\n2,v\n", {"target": "y", "task": "regression"}, "is text"),
    "real, classes": (b"a,y\n1,.5\n2,1\n", {"target": "y", "task": "classification"}, "0.5"),
    "two, classes": (
        b"a,y,z\n1,2,3\n",
        {"target": ["y", "z"], "task": "classification"},
        "one target column",
    ),
    "task, no target": (b"a,y\n1,2\n3,4\n", {"task": "regression"}, "dataset.target=COLUMN"),
    "wrong task": (b"a,y\n1,2\n", {"task": "clasification"}, "did you mean 'classification'"),
    "wrong target": (b"a,y\n1,2\n", {"target": 3}, "dataset.target=3"),
}


def test_bad_csv_is_one_line(tmp_path: Path, refused) -> None:
    for kind in CSV:
        data, extra, words = CSV[kind]
        file = tmp_path / "t.csv"
        file.write_bytes(data)
        refused({"name": "table", "path": str(file), **extra}, words)


def npz(**arrays) -> dict[str, np.ndarray]:
    return arrays


NPZ = {
    "no x": (npz(z=np.zeros(3)), "no array x"),
    "one axis": (npz(x=np.zeros(3)), "(n, D)"),
    "images": (npz(x=np.zeros((3, 2, 2))), "(n, D)"),
    "text": (npz(x=np.array([["a"]])), "(n, D)"),
    "objects": (npz(x=np.array([[{}]], dtype=object)), "without objects"),
    "complex": (npz(x=np.zeros((3, 1), complex)), "(n, D)"),
    "nan": (npz(x=np.array([[0.0], [np.nan]])), "x[1, 0] is nan"),
    "lengths": (npz(x=np.zeros((3, 1)), y=np.zeros(2)), "n = 3"),
    "y of 3 axes": (npz(x=np.zeros((3, 1)), y=np.zeros((3, 1, 1))), "(n, K)"),
    "y infinite": (npz(x=np.zeros((3, 1)), y=np.array([0, np.inf, 0])), "y[1, 0] is inf"),
    "no rows": (npz(x=np.zeros((0, 2))), "no rows"),
}


def test_bad_npz_is_one_line(tmp_path: Path, refused) -> None:
    for kind in NPZ:
        arrays, words = NPZ[kind]
        np.savez(tmp_path / "t.npz", **arrays)
        refused({"name": "table", "path": str(tmp_path / "t.npz")}, words)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\3\4 cut"])
def test_a_damaged_npz_is_one_line(tmp_path: Path, data: bytes, refused) -> None:
    (tmp_path / "t.npz").write_bytes(data)
    refused({"name": "table", "path": str(tmp_path / "t.npz")}, "cannot be read as npz")
    np.savez(tmp_path / "t.npz", x=NUMBERS)
    refused({"name": "table", "path": str(tmp_path / "t.npz"), "target": "y"}, "array y")


def test_no_file_is_one_line(tmp_path: Path, refused) -> None:
    refused({"name": "table"}, "dataset.path is missing")
    refused({"name": "table", "path": str(tmp_path / "gone.csv")}, "is not there")
    refused({"name": "table", "path": str(tmp_path)}, "is a folder")
