"""The tables, notes and verdict of `genai compare`, as markup."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from genai_cli.comparison import verdict, words
from genai_cli.comparison.table import compare
from genai_cli.report.markup import Html, details, el, join, table
from genai_cli.report.private import without_paths
from genai_cli.store import run_folder
from genai_cli.store.labels import reference


class Told(NamedTuple):
    """What a comparison says."""

    tables: Html
    verdict: Html


def told(sweep: Path) -> Told:
    """The cells of a sweep compared; with several data sets each has its own tables."""

    def public(text: str) -> str:
        for name in (sweep.absolute(), sweep):
            text = text.replace(str(name), reference(sweep))
        return without_paths(text, sweep.parent, Path.home())

    found = compare(run_folder.cells(sweep))
    several = len(found.sections) > 1
    tables, sentences = [el("p", words.LEGEND, class_="soft")], []
    for section in found.sections:
        said = words.of_section(section, found)
        tables += [el("h3", said.title) if several else "", _section(said, several, public)]
        own = verdict.sentences(section)
        if own:
            sentences += [el("h3", said.title) if several else "", _list(map(public, own))]
    if found.notes:
        tables.append(details("Notes", _list(map(public, found.notes))))
    return Told(join(*tables), join(*sentences))


def _section(said: words.Words, several: bool, public: Callable[[str], str]) -> Html:
    """The tables of one data set and what stands below them."""
    parts = []
    for part in said.tables:
        title = part.title or "runs"
        parts.append(el("h4" if several else "h3", title.capitalize()))
        rows: list[list[object]] = [[_marked(public(c)) for c in row] for row in part.rows]
        head: list[object] = [name or el("span", "run", class_="away") for name in part.head]
        caption = f"{title} of {said.title}"
        parts.append(table(caption, head, rows, left=part.left, hidden_caption=True))
    for i, reason in enumerate(said.reasons, 1):
        parts.append(el("p", f"{words.raised(i)} {public(reason)}", class_="small"))
    if said.commands:
        parts.append(el("p", "Not measured yet (–): ", el("code", public(said.commands[0]))))
    if said.notes:
        parts.append(_list(map(public, said.notes)))
    return join(*parts)


def _marked(cell: str) -> object:
    """The best of a column, which ends in a star, also in bold."""
    return el("b", cell) if cell.endswith("*") else cell


def _list(sentences: Iterable[str]) -> Html:
    return el("ul", *(el("li", s) for s in sentences))
