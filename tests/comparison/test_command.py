"""`genai compare`: what it takes, prints, writes and calls."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genai_cli.errors import UserError
from genai_cli.store import lookup

F = "samples/frechet"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Any, bool]]:
    """Calls of pictures.draw, which loads models and is tested with them."""
    calls: list[tuple[Path, Any, bool]] = []

    def draw(folder: Path, comparison: Any, loads: bool, figures: dict) -> list[Path]:
        calls.append((folder, comparison, loads))
        return [folder / "losses.png"]

    module = types.ModuleType("genai_cli.comparison.pictures")
    module.draw = draw  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Calls of genai evaluate, which fails on a folder named bad."""
    calls: list[list[str]] = []

    def main(words: list[str]) -> int:
        calls.append(words)
        if any("bad" in word for word in words):
            raise UserError("no such weights")
        print("printed by evaluate")
        return 0

    module = types.ModuleType("genai_cli.cli.commands.evaluate")
    module.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.fixture
def sweep(outputs: Any, made: Any) -> Path:
    for i, model in enumerate(("vae", "gan", "flow")):
        outputs.run(model, {F: made(10 + i, 0.4)}, sweep="abcd")
    return outputs.root / "2026-11-23" / "12-00-00-sweep-abcd"


def test_a_sweep(sweep: Path, genai: Callable, drawn: list) -> None:
    done = genai("compare", "abcd")
    assert (done.code, done.err) == (0, "")
    assert "Best samples: vae" in done.out
    place = Path("outputs") / sweep.relative_to(sweep.parents[1]) / "compare"
    assert done.out.rstrip().endswith(str(place))
    assert sorted(p.name for p in place.iterdir()) == [
        "compare.csv",
        "compare.json",
        "compare.md",
    ]
    ((folder, comparison, loads),) = drawn
    assert (folder, loads) == (place, True)
    assert [run.label for run in comparison.runs] == ["vae", "gan", "flow"]
    (place / "old.png").touch()
    (place / "talk.txt").touch()
    genai("compare", "abcd", "--no-figures")
    assert (place / "old.png").exists()  # newer than all numbers
    os.utime(place / "old.png", (0, 0))
    genai("compare", "abcd", "--no-figures")
    assert not (place / "old.png").exists()
    (place / "old.png").touch()
    genai("compare", "abcd")
    assert not (place / "old.png").exists()  # replaced
    assert (place / "talk.txt").exists()  # the user's
    assert len(list(lookup.all_runs(Path("outputs")))) == 3


def test_some_cells_do_not_replace_the_comparison_of_the_sweep(
    sweep: Path, genai: Callable
) -> None:
    genai("compare", "abcd", "--no-figures")
    before = (sweep / "compare" / "compare.json").read_text()
    done = genai("compare", "abcd/000", "abcd/001", "--no-figures", "--json")
    assert (sweep / "compare" / "compare.json").read_text() == before
    assert "-compare-" in done.err
    done = genai("compare", "abcd/002", "abcd/000", "abcd/001", "--no-figures", "--json")
    assert done.err.strip().endswith("sweep-abcd/compare")


def test_a_folder_that_cannot_be_written_is_one_line(sweep: Path, genai: Callable) -> None:
    (sweep / "compare" / "compare.csv").mkdir(parents=True)  # in the way
    (sweep / "compare" / "compare.csv" / "x").touch()
    done = genai("compare", "abcd", "--no-figures")
    assert (done.code, done.out) == (2, "")
    assert "cannot write into" in done.err
    assert "set out=DIR" in done.err


def test_what_a_reference_means(sweep: Path, outputs: Any, made: Any, genai: Callable) -> None:
    quiet = ("--no-figures", "--json")

    def compared(*words: str) -> list[str]:
        done = genai("compare", *words, *quiet)
        assert done.code == 0, done.err
        (section,) = json.loads(done.out)["sections"]
        return [row["runs"][0] for row in section["rows"]]

    cells = ["abcd/000", "abcd/001", "abcd/002"]
    assert compared("latest") == cells
    assert compared(str(sweep)) == cells
    assert compared("12-00-00-sweep-abcd") == cells
    assert compared("abcd/001") == ["abcd/001"]
    outputs.run("ddpm", {F: made(9, 0.4)}, name="last")
    assert compared("latest") == ["last"]
    assert compared("abcd", "last", "abcd/000") == [*cells, "last"]  # none twice


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "no run 'nothing'"),
        (("abcd", "--json", "--csv"), "together"),
        (("abcd", "seeds=twice"), "choose from together, apart"),
        (("abcd", "featurs=x"), "did you mean 'features'"),
        (("abcd", "n=100"), "add --evaluate"),
        (("abcd", "out="), "out= is empty"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_mistakes(words: tuple, said: str, sweep: Path, genai: Callable) -> None:
    done = genai("compare", *words)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (sweep / "compare").exists()


def test_forms_are_pure(sweep: Path, genai: Callable, drawn: list, evaluated: list) -> None:
    done = genai("compare", "abcd", "--json")
    assert len(json.loads(done.out)["sections"][0]["rows"]) == 3
    assert "losses.png" in done.err
    done = genai("compare", "abcd", "--csv", "--no-figures", "--evaluate", "n=7")
    assert len(list(csv.DictReader(io.StringIO(done.out)))) == 0 or done.code == 2
    done = genai("compare", "abcd", "--csv", "--no-figures")
    assert len(list(csv.DictReader(io.StringIO(done.out)))) == 3
    assert genai("compare", "abcd", "--md", "--no-figures").out.startswith("# Comparison")
    assert len(drawn) == 1


def test_other_runs_get_a_folder_of_their_own(
    outputs: Any, made: Any, genai: Callable, tmp_path: Path
) -> None:
    for model in ("vae", "gan"):
        outputs.run(model, {F: made(10, 0.4)}, name=f"{model}x")
    done = genai("compare", "vaex", "ganx", "--no-figures")
    place = Path(done.out.splitlines()[-1])
    assert place.parent.parent == Path("outputs")
    assert "-compare-" in place.name
    assert (tmp_path / place / "compare.csv").is_file()
    done = genai("compare", "vaex", "ganx", "--no-figures", "out=here/there")
    assert Path("here/there/compare.md").is_file()
    Path("file").write_text("")
    done = genai("compare", "vaex", "ganx", "--no-figures", "out=file")
    assert done.code == 2
    assert "set out=DIR" in done.err


def test_evaluate_what_is_missing(
    sweep: Path, outputs: Any, made: Any, genai: Callable, evaluated: list[list[str]]
) -> None:
    outputs.run("ddpm", name="none")
    outputs.run("ddpm", name="dead", status="failed", model__beta=2)
    done = genai("compare", "abcd", "none", "dead", "--evaluate", "--no-figures", "--json")
    assert done.code == 0
    ((folder, flag),) = evaluated
    assert flag == "--brief"
    assert folder.endswith("none")
    assert "printed by evaluate" in done.err
    json.loads(done.out)
    assert "dead is failed and has no weights" in done.err


def test_evaluate_with_keys(sweep: Path, genai: Callable, evaluated: list[list[str]]) -> None:
    genai("compare", "abcd", "--evaluate", "--no-figures", "n=360", "batch_size=9")
    assert evaluated == []  # all have it; the batch is no setting
    done = genai("compare", "abcd", "--evaluate", "--no-figures", "n=50")
    ((*folders, _, key),) = evaluated
    assert (len(folders), key) == (3, "n=50")
    assert "no evaluation of these runs has n=50" in done.err  # the stand-in makes none


@pytest.mark.parametrize(
    ("typed", "stored"), [("speed", ["speed"]), ("[speed,cost]", ["speed", "cost"])]
)
def test_the_parts_that_were_measured_are_found_again(
    typed: str, stored: list, outputs: Any, made: Any, genai: Callable, evaluated: list
) -> None:
    outputs.run("vae", {F: made(10, 0.4)}, name="aaaa", settings={"only": stored})
    done = genai("compare", "aaaa", "--evaluate", "--no-figures", f"only={typed}")
    assert (done.code, evaluated) == (0, [])


def test_a_refused_run_does_not_stop_the_others(
    outputs: Any, genai: Callable, evaluated: list[list[str]]
) -> None:
    outputs.run("vae", name="good")
    outputs.run("gan", name="bad")
    done = genai("compare", "good", "bad", "--evaluate", "--no-figures")
    assert done.code == 1
    assert [len(words) for words in evaluated] == [3, 2, 2]
    assert "not evaluated: no such weights" in done.err
    assert "runs" in done.out
    assert genai("compare", "bad", "--evaluate", "--no-figures").code == 2


def test_starts_without_torch(sweep: Path, run_python: Callable[[str], str]) -> None:
    code = (
        "import sys; from genai_cli.cli.front_door import main\n"
        "code = main(['compare', 'abcd', '--no-figures'])\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'scipy', 'omegaconf', 'hydra'}\n"
        "print('heavy', code, sorted(heavy & set(sys.modules)))"
    )
    assert (
        run_python(f"import os; os.chdir({str(sweep.parents[2])!r})\n{code}")
        .rstrip()
        .endswith("heavy 0 []")
    )
