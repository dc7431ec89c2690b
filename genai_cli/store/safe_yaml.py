"""Read and write plain data as YAML, fast: a comparison may read a thousand configs.

A file may be a stranger's. It names no code (the loader is PyYAML's safe one), and it cannot grow:
ten anchors of ten aliases each are a gigabyte once somebody prints them, and a hundred thousand
brackets end the C parser, and the process with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same data, seven times as fast
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

DEEPEST = 100  # levels of nesting; a config has five
LARGEST = 1_000_000  # letters and values with all aliases written out, or the file's own length

_KEY = re.compile(r"^(?=[A-Za-z_]\w*:(?:\s|$))", re.MULTILINE)  # a key of the top level
_TIED = re.compile(r"[&*!%]|^(?:---|\.\.\.)", re.MULTILINE)  # what reaches from part to part
_INDENTED = re.compile(rf"^[ \t?:-]{{{DEEPEST},}}", re.MULTILINE)  # a level takes a column


def load(text: str) -> Any:
    """Parse YAML like ``yaml.safe_load``.

    A mapping is read key by key, and equal parts once: the runs of a sweep share nearly all of
    theirs. A part that does not stand alone (a quote over several lines) is no YAML by itself, and
    the text is then read as a whole.

    Raises:
        yaml.YAMLError: it is no YAML, is nested too deeply, or its aliases stand for too much.
    """
    if text.count("[") + text.count("{") >= DEEPEST or _INDENTED.search(text):
        _refuse_deep(text)
    tied = _TIED.search(text)
    parts = [] if tied else [part for part in _KEY.split(text) if part.strip()]
    together: dict[str, Any] = {}
    try:
        for part in parts:
            value = _part(part)
            if not isinstance(value, dict) or len(value) != 1:
                break
            together |= value
        else:
            if parts:
                return _copy(together)
    except yaml.YAMLError:
        pass
    value = yaml.load(text, Loader=LOADER)
    if tied:
        _refuse_large(value, max(LARGEST, 2 * len(text)))
    return value


def _copy(value: Any) -> Any:
    """A copy of plain data, a quarter of the time of `copy.deepcopy`; what else there is (text,
    numbers, dates) cannot be changed."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [*map(_copy, value)] if isinstance(value, list) else value


@lru_cache(maxsize=4096)
def _part(text: str) -> Any:
    return yaml.load(text, Loader=LOADER)


def _refuse_deep(text: str) -> None:
    """Refuse deep nesting by the parser's events. They need no stack; what builds values from them
    does, in C, where no Python limit holds.
    """
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep")


def _refuse_large(value: Any, most: int) -> None:
    """Refuse values that are small in memory, where parts are shared, and huge when written out."""
    sizes: dict[int, int] = {}

    def size(part: Any) -> int:
        if not isinstance(part, dict | list | tuple | set):
            return 1 + (len(part) if isinstance(part, str | bytes) else 0)
        known = sizes.get(id(part))
        if known is None:
            sizes[id(part)] = most + 1  # of a part that holds itself
            inner = [*part, *part.values()] if isinstance(part, dict) else part
            known = sizes[id(part)] = 1 + sum(map(size, inner))
        if known > most:
            raise yaml.YAMLError("its aliases stand for too much, or for themselves")
        return known

    size(value)


def dump(value: Mapping[str, Any]) -> str:
    """Format plain data as YAML, in its own order."""
    return yaml.dump(dict(value), Dumper=DUMPER, sort_keys=False, allow_unicode=True)
