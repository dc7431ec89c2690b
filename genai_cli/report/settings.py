"""The settings of a run: first those that differ from the defaults, which the YAML files hold."""

from __future__ import annotations

from typing import Any

import yaml

from genai_cli.config import schema
from genai_cli.config.catalog import GROUPS, Key, Tree, user_dirs
from genai_cli.errors import UserError
from genai_cli.report.facts import Facts, mapping
from genai_cli.report.markup import Html, details, el, join, table
from genai_cli.report.numbers import plain

OWN = ("outputs", "name", "schedule.horizon")  # set by the run itself, or of this machine


def defaults(config: dict[str, Any]) -> tuple[dict[str, str], dict[str, Key]]:
    """(group → default choice, key → default) for the choices a config made.

    The default loss is that of the config's model, as on the command line.

    Raises:
        UserError: GENAI_PATH names a folder that is not there.
    """
    tree = Tree(user_dirs())
    given = {
        group: [str(name)]
        for group, section in config.items()
        if group in tree.groups and (name := mapping(section).get("name"))
    }
    unasked = tree.chosen({"model": given["model"]} if "model" in given else {})
    plain_choice = {g: options[0] for g, options in unasked.items() if options}
    plain_choice["model"] = tree.train.defaults.get("model", "")
    return plain_choice, tree.keys(tree.chosen(given))


def part(facts: Facts, printed: bool = True) -> Html:
    """Tables of differences and of everything; the latter on paper only if ``printed``."""
    flat = schema.flat(facts.config)
    if not flat:
        return el("p", "config.yaml cannot be read.")
    try:
        chosen, known = defaults(facts.config)
    except UserError:
        chosen, known = {}, {}
    changed = []
    for key, value in flat.items():
        group, _, last = key.partition(".")
        default, meaning = known.get(key, (None, ""))
        if last == "name" and group in chosen:
            default, meaning = chosen[group], GROUPS.get(group, "")
        if key not in OWN and default is not None and not same(default, value):
            changed.append([key, facts.public(plain(value)), default or "null", meaning])
    rows = [[code(k), v, d, m] for k, v, d, m in changed]
    shown = (
        table("Changed from the defaults, or set by the run where these leave it open",
              ["key", "value", "default", "meaning"], rows,
              left=(0, 1, 2, 3))
        if rows
        else el("p", "Every setting is its default.")
    )  # fmt: skip
    every = [
        [code(k), facts.public(plain(v)), known[k].meaning if k in known else ""]
        for k, v in flat.items()
        if k != "outputs"
    ]
    all_of_them = table("All settings", ["key", "value", "meaning"], every, left=(0, 1, 2))
    return join(
        shown,
        details(f"All {len(every)} settings", all_of_them, class_=None if printed else "screen"),
    )


def code(text: object) -> Html:
    return el("code", text)


def same(default: str, value: Any) -> bool:
    """Whether a value is what the YAML file says; a reference to another key counts as such."""
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
