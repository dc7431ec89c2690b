"""`genai doctor` at a shell, and at the end of `genai train`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from genai_cli.doctor.at_end import at_the_end
from genai_cli.doctor.finding import HEALTHY

pytestmark = pytest.mark.usefixtures("undrawn")

OVER = ("model=mlp", "dataset=diabetes", "optimizer.lr=3e-3", "epochs=40")
QUICK = ("model=autoencoder", "dataset.limit=64", "epochs=3")


def test_a_run_says_at_its_end_what_it_shows(genai: Callable) -> None:
    done = genai("train", *OVER)
    (folder,) = done.folders
    told = [line for line in done.out.splitlines() if line.startswith("doctor ")]
    assert 1 <= len(told) <= 3
    assert "overfitting from epoch" in told[0]
    assert "→ genai train model=mlp dataset=diabetes" in told[0]
    assert told[0] in (folder / "train.log").read_text()
    again = genai("doctor", "latest", "--json")
    (entry,) = json.loads(again.out)
    assert entry["findings"][0]["phrase"] == "overfitting"
    assert list(entry["findings"][0]) == [
        "phrase", "evidence", "confidence", "since", "command", "advice",
    ]  # fmt: skip


def test_the_evidence_of_a_summary_is_plain_numbers(genai: Callable) -> None:
    done = genai("train", *QUICK)
    summary = json.loads((done.folders[0] / "summary.json").read_text())
    assert set(summary["evidence"]) == {"own_mse", "mean_mse", "swapped_mse", "code_deviation"}
    assert all(isinstance(v, float) for v in summary["evidence"].values())


def test_a_sweep_is_a_table(genai: Callable) -> None:
    done = genai("train", "-m", *QUICK, "seed=0,1")
    said = genai("doctor", str(done.folders[0]))
    assert said.code == 0
    assert said.out.startswith("2 runs\n")
    assert sum(any(p in line for p in HEALTHY) for line in said.out.splitlines()) == 2


def test_a_run_that_failed_has_diverged(genai: Callable) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e6", "model.output_activation=linear")
    assert genai("train", *QUICK, *words).code == 1
    said = genai("doctor", "latest")
    assert said.code == 0
    assert "diverged" in said.out
    assert "became" in said.out


def test_metrics_csv_of_a_run_is_that_run(genai: Callable) -> None:
    (folder,) = genai("train", *QUICK).folders
    by_file, by_name = genai("doctor", str(folder / "metrics.csv")), genai("doctor", "latest")
    assert by_file.out == by_name.out


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json"])
def test_a_broken_file_costs_the_doctors_lines_alone(name: str, genai: Callable) -> None:
    (folder,) = genai("train", *QUICK).folders
    (folder / name).write_bytes(b"\xff\xfe{,,\n1,2\n")
    said: list[str] = []
    found = at_the_end(folder, {}, {}, said.append)
    if name == "metrics.csv":
        assert (found, len(said)) == ([], 1)
        assert "metrics.csv is not a CSV" in said[0]
    else:  # its own summary is not written yet: what lies there is nobody's
        assert found[0].phrase in HEALTHY
        assert said == []
    done = genai("doctor", "latest")
    assert (done.code, done.err.count("\n")) == ((2, 1) if name == "metrics.csv" else (0, 0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.csv"], "no file nothing.csv"),
        (["latest"], "outputs yet; start one with"),
    ],
)
def test_mistakes_are_told_in_a_line(genai: Callable, words: list[str], said: str) -> None:
    done = genai("doctor", *words)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert said in done.err
