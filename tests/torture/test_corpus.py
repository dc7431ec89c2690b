"""Bad input: a line is refused in one line, and nothing on the disk has moved."""

from __future__ import annotations

from pathlib import Path

import corpus_data
import corpus_lines
import corpus_runs
import pytest
from corpus import in_parts, one_line, one_of_a_rule, refused, tell, thinned, tree

LINES = corpus_lines.read(corpus_lines.TRAIN, "train") + corpus_lines.read(corpus_lines.VERBS)
RULES = [(words, says) for words, says, first in LINES if first]
OTHERS = [(words, says) for words, says, first in LINES if not first]


@pytest.mark.parametrize("lines", in_parts(RULES, OTHERS))
def test_a_wrong_line_is_refused(lines, run: Path, here: Path, capfd):
    named = {"RUN": str(run), "HERE": str(here)}
    for words, says in lines:
        swapped = []
        for word in words:
            key, equals, value = word.rpartition("=")
            swapped.append(f"{key}{equals}{named.get(value, value)}")
        refused(swapped, [named.get(part, part) for part in says], here, capfd)


def test_there_are_enough_of_them():
    assert len({tuple(words) for words, *_ in LINES}) >= 340
    assert len(RULES) >= 150


@pytest.mark.parametrize("names", in_parts(*one_of_a_rule(corpus_data.CASES)))
def test_broken_data_is_refused(names: list[str], tmp_path: Path, here: Path, capfd):
    for number, name in enumerate(names):
        make, says = corpus_data.CASES[name]
        folder = tmp_path / str(number) / "data"
        folder.mkdir(parents=True)
        words = make(folder)
        before = tree(here)
        refused(["train", *words], says, folder.parent, capfd)
        assert tree(here) == before, name


# ---- run folders -------------------------------------------------------------------------------

USES = (
    ("sample", "n=1"),
    ("evaluate",),
    ("encode",),
    ("report",),
    ("compare",),
    ("runs", "outputs"),
    ("replay",),
    ("reproduce",),
)


@pytest.mark.parametrize("names", in_parts(*one_of_a_rule(corpus_runs.EDITS)))
def test_an_edited_run_is_not_resumed(names: list[str], run: Path, tmp_path: Path, here, capfd):
    for number, name in enumerate(names):
        change, says = corpus_runs.EDITS[name]
        root = tmp_path / str(number)
        folder = corpus_runs.copied(run, root / "o" / "2026-01-01" / "edited", change)
        word = "trainer.keep=3" if "epochs" in name else "epochs=2"
        refused(["resume", str(folder), word], says, root, capfd)


def use(words: tuple[str, ...], folder: Path, tmp_path: Path, capfd) -> None:
    """A verb on a folder that was tampered with: it works, or it refuses in one line."""
    before = tree(tmp_path)
    verb, *more = words
    named = [f"outputs={tmp_path / 'o'}"] if more == ["outputs"] else [str(folder), *more]
    told = tell([verb, *named], capfd)
    assert told.code in (0, 2, "accepted"), told
    assert "Traceback" not in told.err, told
    assert told.noise == [], told
    if told.code == 2:
        one_line(told)
        assert tree(tmp_path) == before
    else:
        after = tree(tmp_path)
        kept = [name for name in before if name.startswith("o") and name.endswith(KEPT)]
        assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}


KEPT = ("config.yaml", "metrics.csv", ".safetensors", "state.json", "best", "last")
SPOILED = {name: change for name, (change, _) in corpus_runs.EDITS.items()} | corpus_runs.TORN
ROTATED = [(name, USES[k % len(USES)]) for k, name in enumerate(SPOILED)]


@pytest.mark.parametrize(("name", "words"), ROTATED[::8])
def test_a_verb_survives_a_spoiled_run(name, words, run: Path, tmp_path: Path, here: Path, capfd):
    folder = corpus_runs.copied(run, tmp_path / "o" / "2026-01-01" / "spoiled", SPOILED[name])
    use(words, folder, tmp_path, capfd)


@pytest.mark.torture
@pytest.mark.parametrize("words", USES, ids=[words[0] for words in USES])
@pytest.mark.parametrize("name", SPOILED)
def test_every_verb_survives_it(name, words, run: Path, tmp_path: Path, here: Path, capfd):
    folder = corpus_runs.copied(run, tmp_path / "o" / "2026-01-01" / "spoiled", SPOILED[name])
    use(words, folder, tmp_path, capfd)


SWEEPS = {
    "empty": b"",
    "binary": bytes(range(256)),
    "a list": b"- 1\n- 2\n",
    "a word": b"hello",
    "torn": b"command: [genai, tra",
    "no YAML": b"\t{]",
    "calls": b"over: !!python/object/apply:os.system [true]\n",
    "another tool's": b"program: train.py\nmethod: bayes\n",
    "of words": b"command: 5\ncells: none\n",
    "deep": b"[" * 5000 + b"]" * 5000,
}


def test_a_spoiled_sweep_is_not_resumed(tmp_path: Path, here: Path, capfd):
    folder = tmp_path / "o" / "2026-01-01" / "12-00-00-sweep-aaaa"
    folder.mkdir(parents=True)
    for content in SWEEPS.values():
        (folder / "sweep.yaml").write_bytes(content)
        refused(["sweep", "resume", str(folder)], ["sweep"], tmp_path, capfd)
        refused(["compare", str(folder)], ["sweep"], tmp_path, capfd)


NO_RUNS = ["**", "*", "[", "?", "x" * 5000, "a/b/c", "..", "~", "\0", "é"]


@pytest.mark.parametrize("reference", thinned(NO_RUNS, 4))
def test_a_word_that_is_no_run(reference: str, tmp_path: Path, here: Path, capfd):
    for verb in ("resume", "sample", "evaluate", "encode", "compare", "report"):
        refused([verb, reference], [], tmp_path, capfd)
