"""The page of a lecture: chapter by chapter, question, command, picture, numbers, finding."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from genai_cli.errors import UserError
from genai_cli.lecture import folder as folders
from genai_cli.lecture import play
from genai_cli.lecture.chapters import Experiment, experiments
from genai_cli.lecture.finding import contradiction, in_a_word, seen, why
from genai_cli.lecture.folder import Part, State
from genai_cli.lecture.header import Header
from genai_cli.report import comparison, numbers, parts
from genai_cli.report.facts import read
from genai_cli.report.lecture_pictures import Album, losses
from genai_cli.report.markup import Html, details, el, join, table
from genai_cli.report.page import Section, duration, page, when
from genai_cli.report.private import without_paths

TITLE = "A lecture on generative models"
PRINTED = 60  # lines of what another verb printed
SILENT = ("train", "compare", "report", "evaluate", "doctor")  # verbs whose files say it
SIGNS = {"finished": "good", "failed": "bad"}


def lecture_page(place: Path) -> str:
    """The whole document about a lecture's folder, in any state it may be in.

    Raises:
        UserError: its lecture.json is damaged.
    """
    state = folders.read(place)
    known = {each.name: each for each in experiments()}
    album = Album()
    entries = [_Entry(place, part, known.get(part.name), album) for part in state.parts]
    sections = [Section("contents", "Contents", _contents(entries))]
    chapters = list(dict.fromkeys(e.chapter for e in entries))
    for key, title, introduction in chapters:
        own = [e.html(state) for e in entries if e.chapter[0] == key]
        sections.append(Section(key, title, el("p", introduction), *own))
    return page(TITLE, _lead(place, state), sections)


def _lead(place: Path, state: State) -> list[object]:
    """What was asked, how it stands, and how to read the page."""
    status = folders.standing(place, state)
    counts = [p.status for p in state.parts]
    tally = ", ".join(f"{counts.count(s)} {s}" for s in dict.fromkeys(counts))
    items = [
        el("span", status, class_=f"status {SIGNS.get(status, 'warn')}"),
        tally,
        when(state.started),
        duration(sum(part.seconds for part in state.parts)),
    ]
    said = "Each part asks a question, gives the command that answers it, and shows what the"
    said += " command made. Pictures, numbers and findings are of these runs; the lesson is the"
    said += " lecture's. Where an experiment is named for a finding that the doctor does not make,"
    said += " that is said beside it; of the others, hold the lesson against the numbers yourself."
    lead: list[object] = [
        el("ul", *(el("li", i) for i in items), class_="meta"),
        el("p", said),
        el("p", "To make it again:"),
        el("pre", parts.without_outputs(state.command)),
    ]
    if status not in ("finished", "running"):
        on = f"genai lecture resume {place.name.rsplit('-', 1)[-1]}"
        lead.append(_note("warn", "Not everything is here.", "What is missing: ", el("code", on)))
    return lead


def _note(kind: str, title: str, *said: object) -> Html:
    return el("div", el("p", el("strong", title), " ", *said), class_=f"note {kind}")


def _contents(entries: list[_Entry]) -> Html:
    """A table for each chapter: question, state, time, finding."""
    shown = []
    for title in dict.fromkeys(e.chapter[1] for e in entries):
        rows = [
            [
                el("a", e.question, href=f"#{e.anchor}"),
                el("span", e.part.status, class_=f"status {SIGNS.get(e.part.status, 'warn')}"),
                duration(e.part.seconds) if e.part.seconds else "",
                e.word,
            ]
            for e in entries
            if e.chapter[1] == title
        ]
        head: list[object] = ["question", "state", "time", "finding"]
        shown += [el("h3", title), table(title, head, rows, left=(0, 1, 3), hidden_caption=True)]
    return join(*shown)


class _Entry:
    """One experiment on the page."""

    def __init__(self, place: Path, part: Part, known: Experiment | None, album: Album) -> None:
        self.part, self.album, self.home = part, album, place / part.folder
        self.read: Header | None = None
        with suppress(UserError):  # the file was changed since
            self.read = known.header if known else None
        chapter = known.chapter if known else None
        self.chapter = (
            (chapter.key, chapter.title, chapter.introduction)
            if chapter
            else ("gone", "Experiments that are gone", "Their YAML is not on this machine.")
        )
        self.anchor = f"item-{part.folder}"
        self.what = seen(self.home)
        self.word = self.public(in_a_word(self.home, part))

    @property
    def question(self) -> str:
        return self.read.question if self.read else self.part.name

    def public(self, text: object) -> str:
        return without_paths(text, self.home, self.home.parent, Path.home())

    def html(self, state: State) -> Html:
        head = [el("h3", self.question, id=self.anchor), el("p", el("code", self.part.name))]
        if self.read is None:
            return join(*head)
        commands = el("pre", "\n".join(self.read.commands))
        taken = [c for c in state.changes if c not in self.part.left_out]
        if taken:
            told = el("p", "Trained here with ", el("code", " ".join(taken)), ".")
            commands = join(commands, told)
        body = [
            commands,
            self._warning(),
            *self._pictures(self.read),
            self._numbers(),
            self._printed(self.read),
            self._finding(),
            self._told("Lesson", self.read.lesson),
            self._next(self.read),
        ]
        return join(*head, *body)

    def _told(self, title: str, text: object) -> Html:
        return el("p", el("strong", f"{title}: "), text) if text else Html("")

    def _warning(self) -> Html:
        """What a reader must know before the pictures."""
        if self.part.status == "failed":
            return _note("bad", "This experiment failed.", self.public(why(self.home, self.part)))
        if self.part.status != "finished":
            return _note("warn", f"This experiment is {self.part.status}.")
        other = contradiction(self.part.name, self.what)
        return _note("warn", "This run contradicts the lesson.", other) if other else Html("")

    def _pictures(self, header: Header) -> list[object]:
        if not header.pictures:  # of a run that is to fail
            return [losses(self.home), self._told("Look at", header.look)]
        shown = [self.album.figures(self.home, *each) for each in header.pictures.items()]
        return [self._told("Look at", header.before_pictures), *shown]

    def _numbers(self) -> Html:
        """The main numbers of each run; of a sweep, the tables of `genai compare`."""
        shown: list[object] = []
        for facts in map(read, self.what.singles):
            if facts.summary.get("metrics"):
                several = len(self.what.singles) > 1
                shown += [el("p", facts.title) if several else "", numbers.tiles(facts)]
        for sweep in self.what.sweeps:
            told = comparison.told(sweep)
            tables = details("The runs side by side", told.tables, open=True)
            shown += [tables, told.verdict and el("h4", "Verdict"), told.verdict]
        return join(el("h4", "Numbers"), *shown) if any(shown) else Html("")

    def _finding(self) -> Html:
        """What the doctor says of each run, with its evidence."""
        rows = [
            [self._name(run), f.phrase if f.since is None else f"{f.phrase} from epoch {f.since}",
             self.public(f.evidence), f"{f.confidence:.0%}"]
            for run, found in self.what.found.items()
            for f in found
        ]  # fmt: skip
        if not rows:
            return Html("")
        head: list[object] = ["run", "finding", "evidence", "sure"]
        shown = table("What the doctor says", head, rows, left=(0, 1, 2), hidden_caption=True)
        many = len(self.what.found) > 3
        return (
            details("What the doctor says of each run", shown)
            if many
            else join(el("h4", "Finding"), shown)
        )

    def _name(self, run: Path) -> str:
        cell = run.parent in self.what.sweeps
        return run.name if cell else read(run).title

    def _printed(self, header: Header) -> Html:
        """What verbs printed that leave no file of their own; of a run that is to fail, why."""
        shown = []
        for command, lines in play.printed(self.home):
            verb = command.split()[0]
            if lines and verb not in SILENT:
                text = self.public("\n".join(lines[:PRINTED]))
                shown.append(details(f"What genai {verb} printed", el("pre", text)))
            elif lines and header.fails:
                shown.append(el("pre", self.public(lines[-1])))
        return join(*shown)

    def _next(self, header: Header) -> Html:
        command = header.next_command
        then = self._told("Then", el("code", command) if command else header.then)
        took = [
            f"{typed.split()[1]} {duration(command.seconds)}"
            for typed, command in zip(header.commands, self.part.commands, strict=False)
            if command.seconds
        ]
        return join(then, el("p", f"Took: {', '.join(took)}", class_="small soft") if took else "")
