"""Parse the words key=value of a line with Hydra's grammar, and refuse what we do not support."""

from __future__ import annotations

from typing import Any

from genai_cli.config.hydra_errors import raise_user_errors
from genai_cli.errors import UserError

GROUPS = ("dataset", "model", "loss", "optimizer", "schedule", "trainer", "figures", "experiment")

ALIASES = {"trainer.grad_clip": "trainer.clip"}  # what else a key may be typed as


def canonical(word: str) -> str:
    """Replace an alias by the key that configs have in a word ``key=value``."""
    key, equals, value = word.partition("=")
    return f"{ALIASES.get(key, key)}{equals}{value}"


def parse_overrides(words: list[str]) -> list[Any]:
    """Parse overrides with Hydra, which must have been initialised, and check them.

    Raises:
        UserError: a mistake, of those, too, that Hydra lets pass.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    loader = GlobalHydra.instance().config_loader()
    with raise_user_errors():
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
    seen: set[str] = set()
    for override in overrides:
        key = override.key_or_group
        if override.is_add() or override.is_force_add():
            raise UserError(
                f"+{key}: a config has no other keys than those shown by --help; write {key}=…"
            )
        if override.is_delete():
            raise UserError(f"~{key}: keys are not taken out; give {key} a value instead")
        if override.package is not None:
            raise UserError(f"{override.input_line}: a key holds no '@'; write {key}=… alone")
        if key in seen:
            raise UserError(f"{key} is given twice; keep one")
        if key == "hydra" or key.startswith(("hydra.", "hydra/")):
            raise UserError(
                f"{key} is not used here: run folders are set by outputs=DIR and name=WORD"
            )
        if override.is_sweep_override() and key in ("outputs", "name", "tags"):
            raise UserError(f"{key} cannot be swept: a sweep is one folder")
        if key in GROUPS and not override.is_sweep_override():
            _check_choice(key, override)
        if key.endswith(".name") and key.count(".") == 1:
            group = key.split(".")[0]
            raise UserError(f"{key} is set by its group; write {group}=…")
        seen.add(key)
    return overrides


def _check_choice(key: str, override: Any) -> None:
    value = override.value()
    if key == "experiment" and isinstance(value, list):
        if all(isinstance(name, str) for name in value):
            return
        raise UserError(f"{override.input_line} is not allowed: experiment takes names")
    if not isinstance(value, str):
        raise UserError(f"{override.input_line} is not allowed: {key} takes one name")
