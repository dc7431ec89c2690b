"""Read and check the groups that are no part of a run's config (``hydra/launcher``, ``sweep``).

How a run is started is no part of what the run is: it is not in config.yaml, and another launcher
gives the same numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from genai_cli.config.catalog import config_dir, user_dirs
from genai_cli.config.values import read_value
from genai_cli.errors import UserError, listing, nearest


def option_files(group: str, folders: Sequence[str] = ()) -> dict[str, Path]:
    """Return the YAML files of a group by name; a user's own win over ours."""
    dirs = [*folders, *(d / "configs" for d in user_dirs()), config_dir()]
    files: dict[str, Path] = {}
    for folder in dirs:
        for path in sorted((Path(folder) / group).glob("*.yaml")):
            files.setdefault(path.stem, path)
    return files


def parse_words(words: Sequence[str], group: str) -> dict[str, Any]:
    """Parse a group's words: keys without their prefix, and the choice under the group's name.

    Raises:
        UserError: a key that is given twice or cannot be read, or the name, which is the choice's.
    """
    given: dict[str, Any] = {}
    for word in words:
        key, _, text = word.partition("=")
        name = key.removeprefix(group.replace("/", ".") + ".")
        if name in given:
            raise UserError(f"{key} is given twice; keep one")
        if name == "name":
            raise UserError(f"{key} is set by its group; write {group}={text}")
        given[name] = text if key == group else read_value(word, text)
    return given


def read_settings(
    group: str,
    schemas: Mapping[str, type] | type,
    default: str,
    words: Sequence[str],
    folders: Sequence[str] = (),
    preset: Mapping[str, Any] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Any:
    """Build the dataclass that ``group=NAME`` and ``group.key=value`` stand for.

    Args:
        group: a folder of configs/; on the command line its keys begin with it, ``/`` as ``.``.
        schemas: the dataclass, or one for each value of the YAML's ``name``.
        default: the choice where the line makes none.
        words: of the line, those of this group.
        folders: of ``-cd``, which stand before all others.
        preset: keys that win over those of the choice, and over which the line wins.
        aliases: earlier names of choices; a file of such a name, a user's own, stands before.

    Raises:
        UserError: an unknown choice or key, a value of another type, a damaged file.
    """
    prefix = group.replace("/", ".") + "."
    chosen, given = default, parse_words(words, group)
    if group in given:
        chosen = given.pop(group)
    known, aliases = option_files(group, folders), aliases or {}
    if chosen not in known:
        chosen = aliases.get(chosen, chosen)
    if chosen not in known:
        raise UserError(
            f"unknown {group} '{chosen}'{nearest(chosen, known)} (choose from: {listing(known)})"
        )
    try:
        values = yaml.safe_load(known[chosen].read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise UserError(f"{known[chosen]} is damaged") from None
    if not isinstance(values, dict):
        raise UserError(f"{known[chosen]} holds no keys")
    schema = schemas
    if isinstance(schemas, Mapping):
        kind = values.get("name")
        kind = aliases.get(kind, kind)
        if kind not in schemas:
            raise UserError(f"{known[chosen]}: name must be one of {listing(schemas)}")
        schema, values = schemas[kind], values | {"name": kind}
    return build_settings(schema, values | dict(preset or {}) | given, prefix)


def build_settings(schema: Any, values: dict[str, Any], prefix: str) -> Any:
    """Convert ``values`` to the dataclass ``schema``; messages put ``prefix`` before a key."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    keys = [f.name for f in dataclasses.fields(schema)]
    for key in values:
        if key not in keys:
            near = nearest(key, keys)
            raise UserError(f"unknown key '{prefix}{key}'{near} (choose from: {listing(keys)})")
    for key, value in values.items():
        try:
            OmegaConf.merge(OmegaConf.structured(schema), {key: value})
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{prefix}{key}={value} is not allowed: {reason}") from None
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except OmegaConfBaseException as error:  # ${…} that means nothing
        reason = str(error).splitlines()[0]
        raise UserError(f"{prefix}{error.full_key} is not allowed: {reason}") from None
