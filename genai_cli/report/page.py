"""The frame of every page: head, policy, landmarks."""

from __future__ import annotations

from genai_cli.report.markup import Html, el, escaped, join
from genai_cli.report.sheet import CSS
from genai_cli.store import run_folder
from genai_cli.version import __version__

# Nothing is fetched and nothing runs, whatever the text of a run holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
POLICY += "; form-action 'none'"


class Section:
    """A part with a heading and an anchor; without content it is left out."""

    def __init__(self, anchor: str, title: str, *content: object) -> None:
        self.anchor, self.title, self.content = anchor, title, join(*content)

    def html(self) -> Html:
        heading = el("h2", self.title, id=f"{self.anchor}-title")
        return el(
            "section",
            heading,
            self.content,
            id=self.anchor,
            aria_labelledby=f"{self.anchor}-title",
        )


def page(title: str, lead: list[object], sections: list[Section]) -> str:
    """A whole document.

    Args:
        title: of the window and the first heading.
        lead: what stands below it, above the list of parts.
        sections: the parts; empty ones are left out.
    """
    kept = [s for s in sections if s.content]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{escaped(POLICY)}">'),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content=f"genai-cli {__version__}"),
        el("title", title),
        el("style", Html(CSS)),
    )
    links = [el("li", el("a", s.title, href=f"#{s.anchor}")) for s in kept]
    made = f"Made by genai-cli {__version__} on {when(run_folder.now())}. "
    made += "This file is whole: it loads nothing and runs no script."
    body = el(
        "body",
        el("a", "Skip to the content", href="#content", class_="skip"),
        el("header", el("h1", el("bdi", title)), *lead),
        el("nav", el("ul", *links), aria_label="Parts of this report"),
        el("main", *(s.html() for s in kept), id="content", tabindex="-1"),
        el("footer", made),
    )
    return f'<!doctype html>\n<html lang="en">\n{head}\n{body}\n</html>\n'


def when(stamp: object) -> str:
    """``2026-11-23T12:40:46.360+00:00`` as ``2026-11-23 12:40 UTC``."""
    text = str(stamp or "")
    if len(text) < 16 or text[10:11] != "T":
        return text
    return f"{text[:10]} {text[11:16]}" + (" UTC" if text.endswith(("+00:00", "Z")) else "")


def duration(seconds: float | None) -> str:
    """``4 min 6 s``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
