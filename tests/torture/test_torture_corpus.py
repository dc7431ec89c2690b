"""Bad input: a line is refused in one line, and nothing on the disk has moved."""

from __future__ import annotations

from pathlib import Path

import corpus_data
import corpus_lines
import corpus_runs
import pytest
from corpus import Accepted, one_line, refused, tell, tree

from genai_cli import runs
from genai_cli.cli import main

LINES = corpus_lines.read(corpus_lines.TRAIN, "train") + corpus_lines.read(corpus_lines.VERBS)
TINY = ("dataset.limit=48", "epochs=1", "trainer.max_steps=2", "trainer.figures_every=0")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of a VAE below outputs/, and an empty one."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "NONE").mkdir()
    words = ["model.widths=[8]", "bottleneck=2", *TINY, f"outputs={root / 'outputs'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genai_cli.figures.of_run.draw", lambda *a, **k: [])
        assert main(["train", *words]) == 0
    return root


@pytest.fixture
def run(place: Path) -> Path:
    return next((place / "outputs").glob("*/*"))


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Typed in that folder; what would begin to train ends as `Accepted`."""

    def claim(*args: object) -> None:
        raise Accepted

    monkeypatch.chdir(place)
    monkeypatch.setattr(runs, "claim", claim)
    return place


@pytest.mark.parametrize(("words", "says"), LINES, ids=[" ".join(w)[:60] for w, _ in LINES])
def test_a_wrong_line_is_refused(words, says, run: Path, here: Path, capfd):
    named = {"RUN": str(run), "HERE": str(here)}
    swapped = []
    for word in words:
        key, equals, value = word.rpartition("=")
        swapped.append(f"{key}{equals}{named.get(value, value)}")
    refused(swapped, [named.get(part, part) for part in says], here, capfd)


def test_there_are_enough_of_them():
    assert len({tuple(words) for words, _ in LINES}) >= 340


@pytest.mark.parametrize("name", corpus_data.CASES)
def test_broken_data_is_refused(name: str, tmp_path: Path, here: Path, capfd):
    make, says = corpus_data.CASES[name]
    folder = tmp_path / "data"
    folder.mkdir()
    words = make(folder)
    before = tree(here)
    refused(["train", *words], says, tmp_path, capfd)
    assert tree(here) == before


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


@pytest.mark.parametrize("name", corpus_runs.EDITS)
def test_an_edited_run_is_not_resumed(name: str, run: Path, tmp_path: Path, here: Path, capfd):
    change, says = corpus_runs.EDITS[name]
    folder = corpus_runs.copied(run, tmp_path / "o" / "2026-01-01" / "edited", change)
    word = "trainer.keep=3" if "epochs" in name else "epochs=2"
    refused(["resume", str(folder), word], says, tmp_path, capfd)


def use(words: tuple[str, ...], folder: Path, tmp_path: Path, capfd) -> None:
    """A verb on a folder that was tampered with: it works, or it refuses in one line."""
    before = tree(tmp_path)
    verb, *more = words
    named = [f"outputs={tmp_path / 'o'}"] if more == ["outputs"] else [str(folder), *more]
    told = tell([verb, *named], capfd)
    assert told.code in (0, 2), told
    assert "Traceback" not in told.err, told
    assert told.noise == [], told
    if told.code == 2:
        one_line(told)
        assert tree(tmp_path) == before
    else:
        kept = {k: v for k, v in tree(tmp_path).items() if k.endswith(KEPT)}
        assert kept == {k: v for k, v in before.items() if k.endswith(KEPT)}


KEPT = ("config.yaml", "metrics.csv", ".safetensors", "state.json", "best", "last")
SPOILED = {name: change for name, (change, _) in corpus_runs.EDITS.items()} | corpus_runs.TORN
ROTATED = [(name, USES[k % len(USES)]) for k, name in enumerate(SPOILED)]


@pytest.mark.parametrize(("name", "words"), ROTATED)
def test_a_verb_survives_a_spoiled_run(name, words, run: Path, tmp_path: Path, here: Path, capfd):
    folder = corpus_runs.copied(run, tmp_path / "o" / "2026-01-01" / "spoiled", SPOILED[name])
    use(words, folder, tmp_path, capfd)


@pytest.mark.torture
@pytest.mark.parametrize("words", USES, ids=[words[0] for words in USES])
@pytest.mark.parametrize("name", SPOILED)
def test_every_verb_survives_it(name, words, run: Path, tmp_path: Path, here: Path, capfd):
    folder = corpus_runs.copied(run, tmp_path / "o" / "2026-01-01" / "spoiled", SPOILED[name])
    use(words, folder, tmp_path, capfd)
