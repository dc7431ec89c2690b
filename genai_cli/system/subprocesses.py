"""Start Python subprocesses with our package, and without the working directory on the path.

``python -m`` and ``python -c`` look for modules in the working directory first. Whoever types
``genai resume .`` in a folder that a stranger sent would run the stranger's ``json.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HOME = str(Path(__file__).resolve().parents[2])  # last: a checkout that is not installed
_START = (
    "import sys; sys.path[:1] = [p for p in sys.path[:1] if p]; sys.path.append({home!r}); "
    "import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def python_command(module: str) -> list[str]:
    """Return the command that runs our ``module`` like ``python -m``; its arguments follow."""
    return [sys.executable, "-c", _START.format(home=_HOME, module=module)]
