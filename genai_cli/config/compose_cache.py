"""Compose the configs of many cells fast, by caching the result for each choice of groups.

Hydra composes in two steps. It merges the YAML files that the choices of groups stand for; then it
sets one value after the other on the result. The first takes a hundred times as long as the second
and is the same for all cells with the same choices, so it is done once for these. The second is
Hydra's own code on a copy that still holds its ``${…}``, so every cell is what Hydra's compose
gives for its words, mistakes included.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.config.catalog import config_dir, user_dirs
from genai_cli.config.hydra_errors import raise_user_errors
from genai_cli.errors import UserError
from genai_cli.system.library_messages import take_over_logging


class _Base(NamedTuple):
    """What some choices of groups compose to."""

    config: bytes  # pickled, of our own making
    whole: bool  # no key waits for a value
    sweep: dict[str, Any]  # of an experiment


_SHIPPED: dict[
    tuple[str, ...], _Base
] = {}  # of shipped YAML only, which does not change in a process


class Composer:
    """Composes the configs of one verb, within `compose.hydra_session`.

    Args:
        verb: whose YAML is the root.
        folders: of ``-cd``.
    """

    def __init__(self, verb: str, folders: Sequence[str] = ()) -> None:
        take_over_logging()  # Hydra has been imported
        self.verb = verb
        self.words = search_path(folders)
        self.config_dirs = [
            *map(Path, folders),
            *(d / "configs" for d in user_dirs()),
            config_dir(),
        ]
        self.groups: dict[str, bool] = {}
        self.parsed: dict[str, Any] = {}
        # a user's YAML may change between two lines of this process
        self.bases: dict[tuple[str, ...], _Base] = {} if len(self.config_dirs) > 1 else _SHIPPED

    def config(self, overrides: Sequence[str]) -> Any:
        """Compose the `TrainConfig` of one cell.

        Args:
            overrides: its words, without sweeps, in the order of the line.

        Raises:
            UserError: as for any other line.
        """
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from omegaconf import OmegaConf

        with raise_user_errors():
            choices, values = [], []
            for word in overrides:
                override = self._override(word)
                if self._is_choice(override):
                    choices.append(word)
                else:
                    _check_switch(override)
                    values.append(override)
            base = self._base(tuple(choices))
            config = pickle.loads(base.config)  # a copy, seven times as fast as copy.deepcopy
            ConfigLoaderImpl._apply_overrides_to_config(values, config)
            if not base.whole or any("???" in word for word in overrides):
                missing = sorted(OmegaConf.missing_keys(config))
                if missing:
                    raise UserError(f"{missing[0]} has no value; add {missing[0]}=…")
            composed: Any = OmegaConf.to_object(config)
            return composed.of_run()

    def sweep(self, choices: Sequence[str]) -> dict[str, Any]:
        """Return the ``sweep:`` of an experiment as it is written; {} where it has none.

        Raises:
            UserError: as for any other line; another group's file has a ``sweep:``.
        """
        with raise_user_errors():
            return self._base(tuple(choices)).sweep

    def _base(self, choices: tuple[str, ...]) -> _Base:
        from hydra import compose
        from omegaconf import OmegaConf

        key = (self.verb, *choices)
        if key not in self.bases:
            config = compose(self.verb, [*choices, *self.words])
            sweep: Any = OmegaConf.to_container(config.sweep)
            config.sweep = {}
            if sweep and not any(word.startswith("experiment=") for word in choices):
                raise UserError("sweep: stands in no other group's YAML than an experiment's")
            whole = not OmegaConf.missing_keys(config)
            self.bases[key] = _Base(pickle.dumps(config), whole, sweep)
        return self.bases[key]

    def _override(self, word: str) -> Any:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        if word not in self.parsed:
            self.parsed[word] = OverridesParser.create().parse_override(word)
        return self.parsed[word]

    def _is_choice(self, override: Any) -> bool:
        """Whether a word changes the defaults list: Hydra's rule, a folder of that name."""
        key = override.key_or_group
        if key not in self.groups:
            self.groups[key] = any((folder / key).is_dir() for folder in self.config_dirs)
        return self.groups[key] and not isinstance(override.value(), dict)


def _check_switch(override: Any) -> None:
    """OmegaConf would take any number for true or false."""
    from genai_cli.config.schema import hint_of

    if hint_of(override.key_or_group) is bool and not isinstance(override.value(), bool | str):
        raise UserError(f"{override.input_line} is not allowed: it must be true or false")


def search_path(folders: Sequence[str]) -> list[str]:
    """Return the override that adds folders to Hydra's search path, if there are any."""
    if not folders:
        return []
    quoted = ",".join("'file://" + d.replace("'", "\\'") + "'" for d in folders)
    return [f"hydra.searchpath=[{quoted}]"]
