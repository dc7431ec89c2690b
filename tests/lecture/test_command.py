"""`genai lecture`: listed, played, stopped, gone on with; where its runs are found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.lecture import folder
from genai_cli.lecture.chapters import list_experiments
from genai_cli.store import lookup, outputs, run_folder

Genai = Callable[..., object]
OUTPUTS = Path("outputs")  # in the working directory of the test


def state() -> dict:
    (place,) = outputs.lectures(OUTPUTS)
    return json.loads((place / outputs.LECTURE).read_text())


def test_the_list_has_every_question_and_command(genai: Genai, own: Callable[..., Path]) -> None:
    own("bad").write_text("# @package _global_\n# no question\n")
    done = genai("lecture")
    assert (done.code, done.err, done.folders) == (0, "", [])
    known = [each for each in list_experiments() if each.name != "bad"]
    for each in known:
        assert f"  {each.name}\n    {each.header.question}\n" in done.out
        assert all(f"      {command}\n" in done.out for command in each.header.commands)
    assert "does not open with a question" in done.out  # and the others are listed
    assert done.out.index("(genai lecture autoencoders)") < done.out.index("(genai lecture more)")


def test_every_command_runs_as_written_in_its_items_folder(
    genai: Genai, own: Callable[..., Path], said
) -> None:
    own("first", more="# genai doctor latest\n")
    own("second")
    done = genai("lecture", "first", "second", "seed=3")
    assert done.code == 0
    assert said.words == [
        ["train", "experiment=lecture/first", "seed=3"],
        ["doctor", "latest"],
        ["train", "experiment=lecture/second", "seed=3"],
    ]
    (place,) = outputs.lectures(OUTPUTS)
    assert said.outputs == [str(place / "01-first")] * 2 + [str(place / "02-second")]
    now = state()
    assert (now["status"], [p["status"] for p in now["parts"]]) == ("finished", ["finished"] * 2)
    made = now["parts"][0]["commands"][0]["made"]
    assert [run_folder.is_run(place / "01-first" / name) for name in made] == [True]
    assert "1/2  first" in done.out
    assert "1/2  first" in (place / folder.LOG).read_text()
    assert (place / "report.html").is_file()
    assert f"{place / 'report.html'}" in done.out
    again = genai("lecture", "resume", "latest")
    assert (again.code, len(said.words)) == (0, 3)
    assert "nothing left to do" in again.out


def test_one_that_fails_does_not_stop_the_others(
    genai: Genai, own: Callable[..., Path], said
) -> None:
    own("first", more="# genai doctor latest\n")
    own("second")
    said.codes = {"experiment=lecture/first": 1}
    done = genai("lecture", "first", "second")
    assert done.code == 1
    assert [words[0] for words in said.words] == ["train", "train"]  # first's doctor is not asked
    assert [p["status"] for p in state()["parts"]] == ["failed", "finished"]
    assert "failed" in done.out
    assert "genai lecture resume" in done.out
    said.codes = {}
    assert genai("lecture", "resume", "latest").code == 0
    assert [words[0] for words in said.words[2:]] == ["train", "doctor"]  # second is done


def test_a_run_that_is_to_fail_must(genai: Genai, said) -> None:
    said.codes = {"experiment=lecture/horrors/diverged": 1}
    assert genai("lecture", "diverged").code == 0
    said.codes = {}
    done = genai("lecture", "diverged")
    assert done.code == 1
    assert "it came to its end, and was to fail" in done.out


def test_a_lecture_that_was_stopped_goes_on_with_what_is_missing(
    genai: Genai, own: Callable[..., Path], said
) -> None:
    for name in ("first", "second", "third"):
        own(name)
    said.stop_at = 1
    done = genai("lecture", "first", "second", "third")
    assert done.code == 143
    now = state()
    assert now["status"] == "interrupted"
    assert [p["status"] for p in now["parts"]] == ["finished", "interrupted", "waiting"]
    (place,) = outputs.lectures(OUTPUTS)
    (begun,) = outputs.folders(place / "02-second")
    assert genai("lecture", "resume", place.name.rsplit("-", 1)[-1]).code == 0
    assert said.words[2:] == [["resume", str(begun)], ["train", "experiment=lecture/third"]]
    assert {p["status"] for p in state()["parts"]} == {"finished"}


def test_a_killed_lecture_goes_on_where_its_file_stands(
    genai: Genai, own: Callable[..., Path], said
) -> None:
    own("first")
    genai("lecture", "first")
    (place,) = outputs.lectures(OUTPUTS)
    killed = state()
    killed["status"] = killed["parts"][0]["status"] = "running"
    killed["parts"][0]["commands"][0] = {"code": None, "seconds": 0.0, "made": []}
    (place / outputs.LECTURE).write_text(json.dumps(killed))
    assert folder.read_status(place, folder.read(place)) == "died"
    (begun,) = outputs.folders(place / "01-first")
    assert genai("lecture", "resume", str(place)).code == 0
    assert said.words[1:] == [["resume", str(begun)]]


def test_its_runs_are_found_like_others(genai: Genai, own: Callable[..., Path], said) -> None:
    own("first")
    genai("lecture", "first")
    (place,) = outputs.lectures(OUTPUTS)
    (run,) = outputs.folders(place / "01-first")
    suffix = run.name.rsplit("-", 1)[-1]
    assert lookup.find(suffix) == lookup.find("latest") == run
    assert suffix in genai("runs").out
    assert genai("_complete", "fish", "evaluate", "").out.count(f"{suffix}\t") == 1
    lecture = place.name.rsplit("-", 1)[-1]
    assert f"{lecture}\t" in genai("_complete", "fish", "lecture", "resume", "").out
    assert f"{lecture}\t" not in genai("_complete", "fish", "evaluate", "").out
    assert genai("report", lecture).code == 0


def test_what_a_tab_offers(genai: Genai) -> None:
    out = genai("_complete", "fish", "lecture", "").out
    for word in ("all", "quick", "resume", "horrors", "horrors/jumps"):
        assert f"{word}\t" in out
    assert "epochs=\t" in genai("_complete", "fish", "lecture", "quick", "e").out
    assert "dataset=digits\t" in genai("_complete", "fish", "lecture", "quick", "dataset=d").out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--fast"], "unknown flag '--fast'"),
        (["epochs=1"], "name what to run"),
        (["resume"], "name one lecture"),
        (["resume", "zzzz"], "no lecture 'zzzz'"),
        (["resume", "latest", "epochs=2"], "for a lecture that has begun"),
        (["jumps", "seed=1", "seed=2"], "seed is given twice"),
    ],
)
def test_a_mistake_is_one_line(genai: Genai, words: list[str], why: str) -> None:
    done = genai("lecture", *words)
    assert (done.code, done.out, done.folders) == (2, "", [])
    assert done.err.count("\n") == 1
    assert why in done.err


DAMAGES = [
    {"schema": 1},
    {"schema": 2},
    {"schema": "x"},
    {"parts": [{"name": "a", "folder": "../up", "commands": []}]},
    {"parts": [{"name": "a", "folder": "01-a", "commands": [{"made": ["../.."]}]}]},
    {"changes": [1]},
    {"command": 1},
    {"status": ["running"]},
    {"parts": [{"name": "a", "folder": "01-a", "commands": [], "status": {}}]},
    {"parts": [{"name": "a", "folder": "01-a", "commands": [], "left_out": 1}]},
]


def test_a_damaged_lecture_is_told(genai: Genai, own: Callable[..., Path], said) -> None:
    own("first")
    genai("lecture", "first")
    (place,) = outputs.lectures(OUTPUTS)
    known = state()
    for damage in DAMAGES:
        whole = {} if damage == {"schema": 1} else known
        (place / outputs.LECTURE).write_text(json.dumps(whole | damage))
        for verb in (["lecture", "resume"], ["report"]):
            done = genai(*verb, str(place))
            assert (done.code, done.err.count("\n")) == (2, 1), (verb, damage)


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("outputs=elsewhere", "is no word of a lecture"),
        ("-cd=elsewhere", "is no word of a lecture"),
        ("name=${oc.env:HOME}", "looks something up; lecture.json holds plain values"),
    ],
)
def test_a_strangers_lecture_leads_nowhere(
    genai: Genai, own: Callable[..., Path], said, word: str, why: str
) -> None:
    own("first")
    said.codes["train"] = 1
    genai("lecture", "first")
    (place,) = outputs.lectures(OUTPUTS)
    (place / outputs.LECTURE).write_text(json.dumps(state() | {"changes": [word]}))
    began = len(said.words)
    done = genai("lecture", "resume", str(place))
    assert (done.code, done.err.count("\n"), len(said.words)) == (2, 1, began)
    assert why in done.err


@pytest.mark.parametrize("what", ["lecture.log", "01-first/commands.log", "01-first/2026-01-01"])
def test_a_link_in_a_lecture_is_not_written_through(
    genai: Genai, own: Callable[..., Path], said, tmp_path: Path, what: str
) -> None:
    own("first")
    said.codes["train"] = 1
    genai("lecture", "first")
    (place,) = outputs.lectures(OUTPUTS)
    (tmp_path / "mine").write_text("")
    (place / what).unlink(missing_ok=True)
    (place / what).symlink_to(tmp_path / "mine")
    done = genai("lecture", "resume", str(place))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is a link" in done.err
    assert (tmp_path / "mine").read_text() == ""
