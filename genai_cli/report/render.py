"""Render the Jinja templates of a page into one HTML file that is safe to open and to mail.

What a run folder holds is data of others: every value is cleaned (`clean`) and escaped where a
template puts it in, and no text of a run is ever compiled as a template.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from genai_cli.store import run_folder
from genai_cli.system.text import format_number
from genai_cli.version import __version__

TEMPLATES = Path(__file__).with_name("templates")
# Nothing is fetched and nothing runs, whatever the text of a run holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
POLICY += "; form-action 'none'"
# Escape sequences of a terminal; carriage returns; control characters; characters that turn the
# writing direction or hide ("gpj.exe" must not read "exe.jpg"); lone surrogates. Letters of
# right-to-left scripts stay, each in a <bdi> or a cell of its own.
_ACTIVE = re.compile(
    "\x1b\\[[0-9;?]*[A-Za-z]|\r\n?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean(value: object) -> str:
    """Return ``value`` as text without characters that act on a page or deceive its reader.

    Terminal escapes go, other control characters become their pictures (␀), characters that turn
    the writing direction their code point, lone surrogates �. None is no text; markup was made by
    a template, which cleaned what it put in.
    """
    if isinstance(value, Markup):
        return value
    return "" if value is None else _ACTIVE.sub(_replacement, str(value))


def _replacement(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] == "\r":
        return "\n"
    if len(text) > 1:  # a terminal's escape sequence
        return ""
    code = ord(text)
    if code < 32:
        return chr(0x2400 + code)
    return "\ufffd" if code < 0xA0 or 0xD800 <= code < 0xE000 else f"[U+{code:04X}]"


@cache
def template_environment() -> Environment:
    """Return the environment of all templates; a name that a template misspells is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters |= {"short": format_number, "duration": format_duration, "date": format_date}
    css = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    made.globals |= {"policy": POLICY, "version": __version__, "css": css}
    return made


def render(template: str, **values: Any) -> str:
    """Return the whole document that a template makes of some values."""
    return (
        template_environment()
        .get_template(template)
        .render(now=run_folder.now(), sections=[], **values)
    )


def format_date(stamp: object) -> str:
    """Format ``2026-11-23T12:40:46.360+00:00`` as ``2026-11-23 12:40 UTC``."""
    text = str(stamp or "")
    if len(text) < 16 or text[10:11] != "T":
        return text
    return f"{text[:10]} {text[11:16]}" + (" UTC" if text.endswith(("+00:00", "Z")) else "")


def format_duration(seconds: float | None) -> str:
    """Format seconds as ``4 min 6 s``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
