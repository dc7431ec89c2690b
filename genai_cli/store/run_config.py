"""Read the typed config of a run folder."""

from __future__ import annotations

from pathlib import Path

from genai_cli.config import validation
from genai_cli.config.schema import TrainConfig, from_dict
from genai_cli.store import run_folder
from genai_cli.store.links import refuse_links


def load_config(run: Path) -> TrainConfig:
    """Load the config of a run folder, checked like a new one.

    Raises:
        UserError: it is missing, damaged, or holds a key this version does not know; the folder
            holds a link, a pipe or a device.
    """
    refuse_links(run)
    cfg = from_dict(run_folder.read_config(run), run / run_folder.CONFIG)
    validation.check(cfg)  # it may have been edited
    return cfg
