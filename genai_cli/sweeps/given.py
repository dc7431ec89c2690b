"""Read the sweep settings of a line with -m: of ``sweep=NAME`` or the experiment, and keys."""

from __future__ import annotations

from genai_cli.config import compose, groups
from genai_cli.sweeps.search import settings as search_settings
from genai_cli.sweeps.settings import Sweep


def read_sweep(line: compose.CommandLine) -> Sweep:
    """Return the sweep of a line. ``sweep=NAME`` replaces that of an experiment, and ``sweep.KEY=``
    sets a key of either; lists of the line win over both when its cells are composed.

    Raises:
        UserError: an unknown choice or key, a value that is not allowed, keys that do not go
            together.
    """
    named = any(word.startswith("sweep=") for word in line.sweep)
    experiment_sweep = {} if named else compose.experiment_sweep(line)
    sweep = groups.read_settings(
        "sweep", Sweep, "none", line.sweep, line.config_dirs, experiment_sweep
    )
    search_settings.check(sweep, [*(f"sweep.{key}=" for key in experiment_sweep), *line.sweep])
    return sweep
