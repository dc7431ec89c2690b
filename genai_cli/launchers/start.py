"""Which launcher starts the cells of a sweep. Each is one file with one function `launch`.

``launch(folder, jobs, how, signals, data)`` returns when every job has ended, or soon after a
signal. A job is a list of run folders that are written whole: one, or a stack. What became of a
cell stands in its folder and nowhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.data.dataset import Dataset
from genai_cli.launchers.settings import Launcher
from genai_cli.training.preempt import Signals


def start(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    how: Launcher,
    signals: Signals,
    data: Mapping[Path, Dataset],
) -> None:
    """Run ``jobs`` of the sweep in ``folder`` by the launcher that ``how`` is the settings of.

    Raises:
        UserError: this machine does not have what the launcher needs; nothing was started.
    """
    launcher = importlib.import_module(f"genai_cli.launchers.{how.name}")
    launcher.launch(folder, jobs, how, signals, data)
