"""README.md and docs/: commands are such that genai takes them, links and paths lead somewhere.

A fence is ```sh, and a second word says what a test does with it besides composing or parsing each
of its commands:

    ```sh            no more: minutes of training, or a run of the reader's
    ```sh run        runs it, in the order of the page
    ```sh slow       runs it in `make test-slow`
    ```sh elsewhere  no more: it needs a cluster, a network or a shell of the reader's

```console is a command with all that it prints, and is always run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from genai_cli.cli.command_table import VERBS
from genai_cli.config import compose, validation
from genai_cli.launchers.settings import read_launcher, read_run_launcher
from genai_cli.lecture import chapters
from genai_cli.lecture.plan import plan
from genai_cli.sweeps import given
from genai_cli.sweeps.search import launch as searches

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(genai [^`…|]+)`")
LINK = re.compile(r"""(?:\]\(|src=")([^)"\s]+)""")
MODES = {"sh": (None, "run", "slow", "elsewhere"), "python": (None, "run"), "console": (None,)}
SHELL = {"source", "export", "git", "pip", "pip-audit", "uv", "echo", "python", "apt-get"}
PATHS = r"`((?:genai_cli|configs|tests|benchmarks|docs)/[\w./-]*)`"

pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


class Block(NamedTuple):
    """A fence of a page."""

    language: str
    mode: str | None
    text: str

    def commands(self) -> Iterator[list[str]]:
        """The words of each command, without comments and settings of the environment."""
        text = self.text
        if self.language == "console":
            text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                yield words


def blocks(page: Path) -> list[Block]:
    """The fences of a page; FENCE gives "" where there is no second word."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(language, mode or None, text) for language, mode, text in found]


@pytest.fixture(autouse=True)
def _no_user_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pages
def test_every_command_is_taken(page: Path, genai: Callable) -> None:
    for block in blocks(page):
        assert block.mode in MODES.get(block.language, (None,)), block
        if block.language == "sh":
            for words in block.commands():
                takes(words, genai)
        elif block.language == "python":
            compile(block.text, page.name, "exec")
    text = FENCE.sub("", page.read_text(encoding="utf-8")).replace("`<br>`", " ")
    for line in INLINE.findall(text):
        words = shlex.split(line)
        if len(words) > 2 or words[1] == "train":
            takes(words, genai)
        else:  # the name of a verb
            assert words[1] in VERBS, line


def takes(words: list[str], genai: Callable) -> None:
    """Of `genai`, `make` and `torchrun`; other programs are named in SHELL."""
    line = shlex.join(words)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        names = [word for word in words[1:] if "=" not in word]
        assert set(names) <= {*targets}, line
        for word in words[1:]:
            if word.startswith("ARGS=") and names == ["train"]:
                composed(["train", *shlex.split(word.partition("=")[2])])
    elif words[0] == "torchrun":
        taken_by_genai(words[words.index("genai_cli") + 1 :], genai)
    elif words[0] == "genai":
        taken_by_genai(words[1:], genai)
    else:
        assert words[0] in SHELL, line


def taken_by_genai(words: list[str], genai: Callable) -> None:
    verb, *rest = words
    if "--help" in words or words == ["--version"] or words[:2] in (["data", "list"], ["lecture"]):
        assert genai(*words).code == 0, words
    elif verb in ("train", "plan"):
        composed(words)
    elif verb == "lecture" and rest[0] != "resume":
        names = [word for word in rest if "=" not in word]
        assert plan(chapters.select_experiments(names), [word for word in rest if "=" in word])
    elif verb == "completion":
        assert genai("completion", "show", "bash").code == 0
        assert rest[0] in ("install", "show", "uninstall"), words
    elif words[:2] == ["data", "fetch"]:
        assert (ROOT / "configs/dataset" / f"{rest[1]}.yaml").is_file(), words
    else:  # what reads a run: its words are in order, and there is no run here
        done = genai(*words)
        nothing_here = r"no (run|sweep|lecture|file)|nor a folder"
        assert done.code == 0 or re.search(nothing_here, done.err), f"{words}: {done.err}"


def composed(words: list[str]) -> None:
    """Compose what `genai train` or `genai plan` would train, and check it without its data."""
    line = compose.parse_line([word for word in words[1:] if word != "--script"])
    if line.show:
        return
    if not line.multirun:
        validation.check(compose.compose_single("train", line).config)
        read_run_launcher(line)
        return
    sweep, launcher = given.read_sweep(line), read_launcher(line)
    if sweep.search == "grid":
        cells = compose.compose_cells("train", line, sweep.over, None, sweep.cells)
    else:
        cells = [cell for cell, _ in searches.plan_cells(line, sweep, launcher)[0]]
    for cell in cells:
        validation.check(cell.config)


@pytest.mark.usefixtures("undrawn")
@pages
def test_what_is_cheap_runs(page: Path, genai: Callable) -> None:
    run_blocks(page, genai, ("run",))


@pytest.mark.slow
@pages
def test_the_rest_runs(page: Path, genai: Callable) -> None:
    run_blocks(page, genai, ("run", "slow"))


def run_blocks(page: Path, genai: Callable, modes: tuple[str, ...]) -> None:
    """Run the blocks of a page in its order, in one folder."""
    for block in blocks(page):
        if block.language == "console":
            prints(block, genai)
        elif block.mode in modes and block.language == "python":
            exec(compile(block.text, page.name, "exec"), {})
        elif block.mode in modes:
            for words in block.commands():
                assert words[0] == "genai", f"{page.name}: only genai runs in a test: {words}"
                done = genai(*words[1:])
                assert done.code == 0, f"{words}: {done.err}"


def prints(block: Block, genai: Callable) -> None:
    """A console block shows every line that its commands print."""
    shown = re.split(r"^\$ .*\n", block.text, flags=re.MULTILINE)[1:]
    for words, text in zip(block.commands(), shown, strict=True):
        done = genai(*words[1:])
        assert (done.out + done.err) == text, words


def anchors(page: Path) -> set[str]:
    """The fragments by which a code host links to the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pages
def test_every_link_and_every_path_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        name, _, fragment = target.partition("#")
        if not name.startswith("https:"):
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), target
            assert not fragment or fragment in anchors(path), target
    for path in re.findall(PATHS, text):
        assert (ROOT / path).exists() or re.search("NAME|mine", path), path


def test_every_page_and_every_picture_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(page.read_text(encoding="utf-8"))
    }
    there = {p for p in (ROOT / "docs").rglob("*") if p.suffix in (".md", ".png")}
    assert there <= linked, there - linked


def test_the_readme_names_every_verb_and_every_family() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert rows[: len(VERBS)] == [*VERBS]
    families = sorted(path.stem for path in (ROOT / "configs/model").glob("*.yaml"))
    assert sorted(rows[len(VERBS) :]) == families


def test_the_tree_in_the_readme_is_the_package_s() -> None:
    """Each line of it begins with a file, or with folders."""
    (tree,) = (b.text for b in blocks(ROOT / "README.md") if b.text.startswith("genai_cli/"))
    named = {
        name for line in tree.splitlines()[1:] for name in re.findall(r"[\w/]+(?:/|\.py)", line)
    }
    assert not {name for name in named if not (ROOT / "genai_cli" / name).exists()}


def test_the_walks_name_functions_that_are_there() -> None:
    named = re.findall(
        r"`(genai_cli/[\w/]+\.py)`,?\s+`(\w+)`", (ROOT / "docs" / "architecture.md").read_text()
    )
    assert len(named) > 30
    for file, name in named:
        assert re.search(rf"(def |class |^){name}\b", (ROOT / file).read_text(), re.M), (file, name)
