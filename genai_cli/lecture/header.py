"""Parse the first comment of a lecture's YAML: question, commands, where to look, lesson.

    # @package _global_
    # The question, one or two lines, ending with a question mark?
    # genai train experiment=lecture/NAME
    # genai compare --evaluate latest
    # Look at: loss_curve.png: what to see there, on as many lines as it takes.
    # Lesson: what the lecture concludes.
    # Then: key=value another=value

Read by lines: the list of the lecture must be there in milliseconds.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from genai_cli.errors import UserError

PARTS = ("Look at", "Lesson", "Then")
FAILS = "(exit code 1)"  # behind "Look at:" of a run that is to fail
_PICTURE = r"[\w-]+\.png"
_ASSIGNMENT = re.compile(r"[\w./]+=\S+")


class Header(NamedTuple):
    """The header of one experiment's YAML file."""

    question: str
    commands: tuple[str, ...]  # each as typed: genai train …
    look: str
    lesson: str
    then: str

    @property
    def pictures(self) -> dict[str, str]:
        """Return the files that "Look at:" names, in order, with the caption of each: what stands
        between its name and the next one's."""
        captions: dict[str, str] = {}
        _, *parts = re.split(f"({_PICTURE})", self.look)
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            captions[name] = f"{captions.get(name, '')} {text.lstrip(': ')}".strip()
        return captions

    @property
    def before_pictures(self) -> str:
        """Return the text of "Look at:" before the first file name."""
        return re.split(_PICTURE, self.look)[0].strip()

    @property
    def fails(self) -> bool:
        """Return whether the training is meant to end with exit code 1."""
        return FAILS in self.look

    @property
    def next_command(self) -> str:
        """Return the training command with the keys of "Then:"; "" if it has none."""
        words = self.then.rstrip(".").split()
        if not words or not all(_ASSIGNMENT.fullmatch(word) for word in words):
            return ""
        return " ".join([training_command(self.commands), *words])


def training_command(commands: tuple[str, ...]) -> str:
    """Return the first command that trains."""
    return next(c for c in commands if is_training(c))


def is_training(command: str) -> bool:
    return command.split()[:2] == ["genai", "train"]


def split_command(command: str) -> list[str]:
    """Split a command into the words behind ``genai``."""
    return shlex.split(command)[1:]


def read(path: Path) -> Header:
    """Read the header of a file.

    Raises:
        UserError: a part is missing, or stands where it cannot.
    """
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    lines = [line for line in lines if line and not line.startswith("@package")]
    parts: dict[str, list[str]] = {"question": [], "command": []} | {name: [] for name in PARTS}
    now = "question"
    for line in lines:
        name, colon, rest = line.partition(":")
        if colon and name in PARTS:
            now, line = name, rest.strip()
        elif line.startswith("genai ") and now in ("question", "command"):
            now = "command"
        elif now == "command":
            raise UserError(f"{path}: '{line}' stands between the commands and 'Look at:'")
        parts[now].append(line)
    joined = {name: " ".join(texts) for name, texts in parts.items()}
    if not joined["question"].endswith("?"):
        raise UserError(f"{path} does not open with a question that ends in '?'")
    if not any(map(is_training, parts["command"])):
        raise UserError(f"{path} has no line '# genai train experiment=…' below its question")
    return Header(joined["question"], tuple(parts["command"]), *(joined[name] for name in PARTS))
