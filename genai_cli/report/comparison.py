"""The tables, notes and verdict of `genai compare`, as markup."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from genai_cli.comparison import verdict, words
from genai_cli.comparison.table import Comparison, compare
from genai_cli.report.markup import Html, details, el, join, table


class Told(NamedTuple):
    """What a comparison says."""

    comparison: Comparison
    tables: Html
    verdict: Html


def told(folders: Sequence[Path]) -> Told:
    """Compare runs; with several data sets each has its own tables and sentences."""
    found = compare(folders)
    several = len(found.sections) > 1
    tables, sentences = [el("p", words.LEGEND, class_="soft")], []
    for section in found.sections:
        said = words.of_section(section, found)
        if several:
            tables.append(el("h3", said.title))
        for part in said.tables:
            title = part.title or "runs"
            tables.append(el("h4" if several else "h3", title.capitalize()))
            rows: list[list[object]] = [list(row) for row in part.rows]
            head: list[object] = list(part.head)
            shown = table(f"{title} of {said.title}", head, rows, left=part.left,
                          hidden_caption=True)  # fmt: skip
            tables.append(shown)
        tables += [el("p", f"{words.raised(i)} {reason}", class_="small")
                   for i, reason in enumerate(said.reasons, 1)]  # fmt: skip
        if said.commands:
            tables.append(el("p", "Not measured yet (–): ", el("code", said.commands[0])))
        if said.notes:
            tables.append(_list(said.notes))
        own = verdict.sentences(section)
        if own:
            sentences += [el("h3", said.title) if several else "", _list(own)]
    if found.notes:
        tables.append(details("Notes", _list(found.notes)))
    return Told(found, join(*tables), join(*sentences))


def _list(sentences: Sequence[str]) -> Html:
    return el("ul", *(el("li", s) for s in sentences))
