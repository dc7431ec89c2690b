"""Compare the settings of a run with the defaults, which the YAML files hold."""

from __future__ import annotations

from typing import Any

import yaml

from genai_cli.config import schema
from genai_cli.config.catalog import GROUPS, ConfigTree, Key, user_dirs
from genai_cli.errors import UserError
from genai_cli.report.facts import Facts, mapping
from genai_cli.report.numbers import format_value

SET_BY_RUN = ("name", "schedule.horizon")


def defaults(config: dict[str, Any]) -> tuple[dict[str, str], dict[str, Key]]:
    """Return (group → default choice, key → default) for the choices a config made.

    The default loss is that of the config's model, as on the command line.

    Raises:
        UserError: GENAI_PATH names a folder that is not there.
    """
    tree = ConfigTree(user_dirs())
    given = {
        group: [str(name)]
        for group, section in config.items()
        if group in tree.groups and (name := mapping(section).get("name"))
    }
    unasked = tree.selected_options({"model": given["model"]} if "model" in given else {})
    plain_choice = {g: options[0] for g, options in unasked.items() if options}
    plain_choice["model"] = tree.train.defaults.get("model", "")
    return plain_choice, tree.keys(tree.selected_options(given))


def list_settings(facts: Facts) -> dict[str, list[list[str]]]:
    """Return the rows of two tables: ``changed`` (key, value, default, meaning) and ``all`` (key,
    value, meaning). Both are empty if config.yaml cannot be read."""
    flat = {k: v for k, v in schema.flatten(facts.config).items() if k != "outputs"}
    try:
        chosen, known = defaults(facts.config)
    except UserError:
        chosen, known = {}, {}
    changed, every = [], []
    for key, value in flat.items():
        group, _, last = key.partition(".")
        text = facts.public(format_value(value))
        default, meaning = known.get(key, (None, ""))
        every.append([key, text, meaning])
        if last == "name" and group in chosen:
            default, meaning = chosen[group], GROUPS.get(group, "")
        if key not in SET_BY_RUN and default is not None and not same(default, value):
            changed.append([key, text, default or "null", meaning])
    return {"changed": changed, "all": every}


def same(default: str, value: Any) -> bool:
    """Return whether a value is what the YAML file says; a reference to another key counts too."""
    if "${" in default:
        return True
    try:
        read = yaml.safe_load(default) if default else None
    except yaml.YAMLError:
        return default == str(value)
    if isinstance(read, str):  # 1e-3 is text to YAML 1.1
        try:
            read = float(read)
        except ValueError:
            return read == str(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and isinstance(read, int | float) and not isinstance(read, bool):
        return float(read) == float(value)
    if isinstance(read, list) and isinstance(value, list | tuple):
        return [str(v) for v in read] == [str(v) for v in value]
    return read == value
