"""A user's mistake, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend: the command prints the message alone and exits with 2.

    The message names the key, the value, what is allowed and what to type. It takes one argument
    so that it survives pickling (a sweep's worker raises it in another process).
    """


def nearest(name: str, choices: Iterable[str]) -> str:
    """``"; did you mean 'model'?"`` for the closest of ``choices``, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(c) for c in choices], n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(choices: Iterable[object]) -> str:
    """Choices as a sorted, comma-separated line."""
    return ", ".join(sorted(str(c) for c in choices))
