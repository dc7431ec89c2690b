"""Escape control characters in printed text, so that names of others never drive the terminal.

A run folder that a stranger sent may hold a tag with escape sequences in it. Printed as they are
they clear the screen, rename the window, write to the clipboard, or make ``exe.jpg`` of a name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# C0 without tab and newline, DEL, C1; what turns the direction of writing or is not seen
_HIDDEN = [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200B, 0xFEFF]
_HIDDEN += [*range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x206A)]
_ESCAPES = {code: f"\\u{code:04x}" for code in _HIDDEN}  # as JSON writes it: that stays JSON


def escape_control(text: str) -> str:
    """Write out each character of ``text`` that would act on a terminal: ``\\u001b``."""
    return text if text.isprintable() else text.translate(_ESCAPES)


class EscapingStream:
    """Wraps a stream and escapes its text with `escape_control`; all else is the raw stream's."""

    def __init__(self, raw: Any, kept: str) -> None:
        self.raw, self.kept = raw, kept

    def write(self, text: str) -> int:
        """Write escaped text and return the number of characters."""
        for mark in self.kept:
            if mark in text:
                return self.raw.write(mark.join(map(escape_control, text.split(mark))))
        return self.raw.write(escape_control(text))

    def writelines(self, lines: Any) -> None:
        """Write each line, escaped."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw_stream(stream: Any) -> Any:
    """Return the unwrapped stream, for rich, which draws on a terminal itself."""
    return stream.raw if isinstance(stream, EscapingStream) else stream


@contextmanager
def escape_output() -> Iterator[None]:
    """Escape control characters that ``print`` writes in the block; stderr's bars keep their CR."""
    before = sys.stdout, sys.stderr
    ours = [s and EscapingStream(s, kept) for s, kept in zip(before, ("", "\r"), strict=True)]
    sys.stdout, sys.stderr = ours  # type: ignore[assignment]
    try:
        yield
    finally:
        if sys.stdout is ours[0]:  # else it was replaced, and the replacement stays
            sys.stdout = before[0]
        if sys.stderr is ours[1]:
            sys.stderr = before[1]
