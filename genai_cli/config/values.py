"""Read values of command-line words that Hydra does not read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genai_cli.errors import UserError, in_one_line


def read_value(word: str, text: str) -> Any:
    """Parse ``text`` as OmegaConf does: plain YAML would take 1e-4 for a word.

    Args:
        word: the whole word, for the message.
        text: what stands behind its =.

    Raises:
        UserError: it cannot be read.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
    except (YAMLError, OmegaConfBaseException, ValueError):  # a date that is none is a ValueError
        raise UserError(
            f"cannot read the value of '{in_one_line(word, 200)}'; put odd values in quotes: "
            f"""{word.partition("=")[0]}='"value"'"""
        ) from None


def refuse_interpolation(words: Sequence[str], path: Path) -> None:
    """Refuse words that would read the environment or another key when they are composed.

    Raises:
        UserError: ``${oc.env:TOKEN}``, however its bracket is escaped: the file may be a
            stranger's, and what it looks up would stand in a run folder.
    """
    for word in words:
        if re.search(r"\$\\*\{", word):
            raise UserError(f"{path}: '{word}' looks something up; {path.name} holds plain values")
