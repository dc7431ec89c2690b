"""What the verbs that use a trained model share: their words, being stopped, a model that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from genai_cli.errors import UserError, nearest
from genai_cli.system.signals import in_order, listening


class Words(NamedTuple):
    """A command line behind its verb."""

    names: list[str]  # of runs: paths, suffixes, latest
    flags: list[str]
    changes: list[str]  # key=value


def words(args: Sequence[str], verb: str, flags: Collection[str] = ()) -> Words:
    """Sort a line into runs, flags and changes; a path may hold an = itself.

    Raises:
        UserError: a flag the verb does not have.
    """
    bare = [a for a in args if "=" not in a or Path(a).exists()]
    given = [a for a in bare if a.startswith("-")]
    for flag in given:
        if flag not in flags:
            raise UserError(
                f"unknown flag '{flag}'{nearest(flag, flags)} (see genai {verb} --help)"
            )
    return Words([a for a in bare if a not in given], given, [a for a in args if a not in bare])


def one_run(args: Sequence[str], verb: str) -> tuple[str, list[str]]:
    """(the run, the changes) of a verb that takes one run.

    Raises:
        UserError: none is named, or several.
    """
    found = words(args, verb)
    if len(found.names) != 1:
        raise UserError(
            f"name one run: genai {verb} RUN [key=value …] (a path, a suffix or latest)"
        )
    return found.names[0], found.changes


def failed(verb: str, folder: Path, error: Exception) -> int:
    """The exit code 1 of a model that raised, told in one line: one of the user's own may do so.

    Call it in the ``except``: a user's mistake is raised on, and anything if GENAI_TRACEBACK=1.
    """
    if isinstance(error, UserError) or os.environ.get("GENAI_TRACEBACK") == "1":
        raise error
    said = " ".join(str(error).split())[:300]
    print(
        f"genai {verb}: {folder} failed: {type(error).__name__}: {said}"
        " (GENAI_TRACEBACK=1 shows where)",
        file=sys.stderr,
    )
    return 1


@contextmanager
def stoppable() -> Iterator[None]:
    """A signal leaves with its code, and what is half written is removed."""
    with listening(in_order):
        yield
