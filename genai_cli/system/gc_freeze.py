"""Pause Python's garbage collector while torch is imported.

The import makes half a million objects that stay to the end. Looking through them again and again
took 0.5 of the 2.7 s that `import torch` and a first step of Adam take, and found nothing.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection within the block and exempt what it made; once in a process.

    Where torch and its compiler, which the first optimizer imports, are there already, nothing
    is different: what was frozen then could hold garbage of earlier work.
    """
    if "torch._dynamo" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # libraries complain of what is still there at the end
