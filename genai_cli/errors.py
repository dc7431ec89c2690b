"""Define the error of a user's mistake, and helpers that word it in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Raised for a mistake of the user's: the command prints only the message and exits with 2.

    The message names the key, the value, what is allowed and what to type. It takes one argument
    so that it survives pickling (a sweep's worker raises it in another process).
    """

    code = 2  # what the command exits with


def in_one_line(error: object, most: int = 1200) -> str:
    """Format an error for a terminal: one line without control characters.

    A value or a file's name may hold anything, and its length has no limit: of a very long line
    the middle is left out, for its ends say which key it was and what to type.
    """
    text = "".join(c if c.isprintable() else "?" for c in " ".join(str(error).split()))
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'model'?"`` for the closest of ``choices``, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(c) for c in choices], n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(choices: Iterable[object]) -> str:
    """Join choices to a sorted, comma-separated line."""
    return ", ".join(sorted(str(c) for c in choices))
