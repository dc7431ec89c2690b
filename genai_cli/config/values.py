"""The value behind the = of a word on the command line, where Hydra does not read it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from genai_cli.errors import UserError, in_one_line


def read_value(word: str, text: str) -> Any:
    """``text`` as OmegaConf reads it: plain YAML would take 1e-4 for a word.

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


def given(
    changes: Sequence[str], known: Collection[str], words: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """``key=value`` words as (the known keys, the others); ``words`` are taken as they stand.

    Raises:
        UserError: a key given twice, a value that cannot be read.
    """
    own, others = {}, {}
    for change in changes:
        key, _, text = change.partition("=")
        if key in own or key in others:
            raise UserError(f"{key} is given twice; keep one")
        value = text if key in words else read_value(change, text)
        (own if key in known else others)[key] = value
    return own, others


def check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
        raise UserError(f"device={device} is not allowed: choose from auto, cpu, cuda, cuda:N, mps")


def no_lookup(words: Sequence[str], path: Path) -> None:
    """Refuse words that would read the environment, or another key, when they are composed again.

    Raises:
        UserError: ``${oc.env:TOKEN}``, however its bracket is escaped: the file may be a
            stranger's, and what it looks up would stand in a run folder.
    """
    for word in words:
        if re.search(r"\$\\*\{", word):
            raise UserError(f"{path}: '{word}' looks something up; {path.name} holds plain values")
