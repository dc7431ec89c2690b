"""Write the page of a lecture: question, command, picture, numbers, finding of each experiment."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from genai_cli.errors import UserError
from genai_cli.lecture import folder as folders
from genai_cli.lecture import play
from genai_cli.lecture.chapters import Experiment, list_experiments
from genai_cli.lecture.finding import examine_runs, failure_reason, find_contradiction, summarize
from genai_cli.lecture.folder import ItemState, State
from genai_cli.lecture.header import Header
from genai_cli.report import comparison, numbers, parts
from genai_cli.report.curves import Curves
from genai_cli.report.facts import read
from genai_cli.report.lecture_pictures import Album, Pictures, losses
from genai_cli.report.private import without_paths
from genai_cli.report.render import format_duration, render

TITLE = "A lecture on generative models"
GONE = ("gone", "Experiments that are gone", "Their YAML is not on this machine.")
PRINTED = 60  # lines of what another verb printed
SILENT = ("train", "compare", "report", "evaluate", "doctor")  # verbs whose files say it


def lecture_page(folder: Path) -> str:
    """Return the whole document about a lecture's folder, in any state it may be in.

    Raises:
        UserError: its lecture.json is damaged.
    """
    state = folders.read(folder)
    known = {each.name: each for each in list_experiments()}
    album = Album()
    entries = [_Entry(folder, part, known.get(part.name), state, album) for part in state.parts]
    statuses = [part.status for part in state.parts]
    return render(
        "lecture.html",
        title=TITLE,
        reference=folder.name.rsplit("-", 1)[-1],
        status=folders.read_status(folder, state),
        tally=", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses)),
        started=state.started,
        seconds=sum(part.seconds for part in state.parts),
        command=parts.without_outputs(state.command),
        chapters=[
            (chapter, [entry for entry in entries if entry.chapter[0] == chapter[0]])
            for chapter in dict.fromkeys(entry.chapter for entry in entries)
        ],
    )


class _Entry:
    """One experiment: what lecture.html shows of it, most of it read where the page comes to it."""

    def __init__(
        self, folder: Path, part: ItemState, known: Experiment | None, state: State, album: Album
    ) -> None:
        self.part, self._album, self._home = part, album, folder / part.folder
        self.header: Header | None = None
        with suppress(UserError):  # the file was changed since
            self.header = known.header if known else None
        chapter = known.chapter if known else None
        self.chapter = (chapter.key, chapter.title, chapter.introduction) if chapter else GONE
        self.anchor = f"item-{part.folder}"
        self.question = self.header.question if self.header else part.name
        self.changes = " ".join(c for c in state.changes if c not in part.left_out)
        self._runs = examine_runs(self._home)
        self.outcome = self._public(summarize(self._home, part))

    def _public(self, text: object) -> str:
        return without_paths(text, self._home, self._home.parent, Path.home())

    def error(self) -> str:
        """Return why the experiment failed."""
        return self._public(failure_reason(self._home, self.part))

    def contradiction(self) -> str:
        """Return that no run shows what the experiment is named for; "" if one does."""
        return find_contradiction(self.part.name, self._runs)

    def pictures(self) -> list[Pictures]:
        """Return the pictures that the header names, each name with its files."""
        assert self.header is not None
        return [self._album.pictures(self._home, *each) for each in self.header.pictures.items()]

    def losses(self) -> list[Curves]:
        """Return the loss curves of the runs."""
        return losses(self._home)

    def headlines(self) -> list[tuple[str, list[numbers.Number]]]:
        """Return the main numbers of each single run, with the run's title."""
        facts = [f for f in map(read, self._runs.singles) if f.summary.get("metrics")]
        return [(f.title, numbers.select_headlines(f)) for f in facts]

    def comparisons(self) -> list[dict[str, Any]]:
        """Return the comparison of each sweep's cells."""
        return [comparison.compare_cells(sweep) for sweep in self._runs.sweeps]

    def findings(self) -> list[list[str]]:
        """Return run, finding, evidence and confidence, as the doctor says."""
        return [
            [run.name if run.parent in self._runs.sweeps else read(run).title,
             f.phrase if f.since is None else f"{f.phrase} from epoch {f.since}",
             self._public(f.evidence), f"{f.confidence:.0%}"]
            for run, findings in self._runs.findings.items()
            for f in findings
        ]  # fmt: skip

    def many_runs(self) -> bool:
        """Return whether the table of findings is long enough to be folded."""
        return len(self._runs.findings) > 3

    def printed(self) -> list[tuple[str, str]]:
        """Return (verb, text) of what verbs printed that leave no file of their own; of a run that
        is to fail the last line, without a verb."""
        assert self.header is not None
        texts = []
        for command, lines in play.read_output(self._home):
            verb = command.split()[0]
            if lines and verb not in SILENT:
                texts.append((verb, self._public("\n".join(lines[:PRINTED]))))
            elif lines and self.header.fails:
                texts.append(("", self._public(lines[-1])))
        return texts

    def times(self) -> str:
        """Return how long each command took."""
        assert self.header is not None
        return ", ".join(
            f"{typed.split()[1]} {format_duration(command.seconds)}"
            for typed, command in zip(self.header.commands, self.part.commands, strict=False)
            if command.seconds
        )
