"""Run a command and stop it after the first call of a function; tell the time. For startup.py.

    python benchmarks/first_step.py MODULE:CLASS.METHOD SINCE COMMAND …

COMMAND is a script or ``-m`` and a module, with its words. SINCE is a reading of
`time.monotonic`. Nothing is imported that the command does not import itself: MODULE is watched
for and changed when the command loads it.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


class Watch:
    """A finder that changes one module as soon as it is loaded."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self.name, self.change = name, change

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            self.change(module)

        spec.loader.exec_module = load_and_change
        return spec


def main(where: str, since: str, *words: str) -> None:
    module_name, _, attribute = where.partition(":")
    owner_name, _, method = attribute.partition(".")

    def change(module: ModuleType) -> None:
        owner = getattr(module, owner_name)
        function = getattr(owner, method)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> None:
            function(*args, **kwargs)
            os.write(1, f"\nfirst step {time.monotonic() - float(since)}\n".encode())
            os._exit(0)

        setattr(owner, method, call)

    sys.meta_path.insert(0, Watch(module_name, change))
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
