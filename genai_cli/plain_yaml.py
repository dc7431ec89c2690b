"""YAML that holds plain data, fast: a comparison may read a thousand configs."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same data, seven times as fast
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_KEY = re.compile(r"^(?=[A-Za-z_]\w*:(?:\s|$))", re.MULTILINE)  # a key of the top level
_TIED = re.compile(r"[&*!%]|^(?:---|\.\.\.)", re.MULTILINE)  # what reaches from part to part


def load(text: str) -> Any:
    """What ``yaml.safe_load`` gives.

    A mapping is read key by key, and equal parts once: the runs of a sweep share nearly all of
    theirs. A part that does not stand alone (a quote over several lines) is no YAML by itself, and
    the text is then read as a whole.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    parts = [] if _TIED.search(text) else [part for part in _KEY.split(text) if part.strip()]
    together: dict[str, Any] = {}
    try:
        for part in parts:
            value = _part(part)
            if not isinstance(value, dict) or len(value) != 1:
                break
            together |= value
        else:
            if parts:
                return copy.deepcopy(together)
    except yaml.YAMLError:
        pass
    return yaml.load(text, Loader=LOADER)


@lru_cache(maxsize=4096)
def _part(text: str) -> Any:
    return yaml.load(text, Loader=LOADER)


def dump(value: Mapping[str, Any]) -> str:
    """Plain data as YAML, in its own order."""
    return yaml.dump(dict(value), Dumper=DUMPER, sort_keys=False, allow_unicode=True)
