"""Translate exceptions of Hydra and OmegaConf about a user's mistake into one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from genai_cli.config.catalog import ConfigTree, config_dir, user_dirs
from genai_cli.errors import UserError, in_one_line, listing, nearest


@contextmanager
def raise_user_errors() -> Iterator[None]:
    """Turn exceptions of Hydra and OmegaConf about a user's mistake into a `UserError`."""
    from antlr4.error.Errors import ParseCancellationException
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, ParseCancellationException) as error:
        raise UserError(message(error)) from None  # some of them are a ValueError, too
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        if type(error) is ValueError:
            raise UserError(" ".join(str(error).split())) from None
        raise UserError(f"a config is not YAML: {' '.join(str(error).split())}") from None


def message(error: BaseException) -> str:
    """Return one line for a Hydra or OmegaConf exception: the key, the value, what is allowed."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    from genai_cli.config.schema import type_message

    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").partition("/")
        options = list(ConfigTree(user_dirs()).options(group)) or error.options
        options += [option for option in error.options if option not in options and "/" not in name]
        return f"unknown {group} '{name}'{nearest(name, options)} (choose from: {listing(options)})"
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read '{in_one_line(error.override, 200)}': quote a value with commas, "
            f"brackets or spaces, like \"{error.override.partition('=')[0]}='a b'\""
        )
    cause = error
    while not isinstance(cause, OmegaConfBaseException) and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    first = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        if "not in" in first or ("not a" in first and "struct" in first):
            return _unknown_key(cause.full_key, cause.parent_node)
        return type_message(cause.full_key, first)
    outer = str(error).splitlines()[0]
    if "Could not override" in outer:
        return _unknown_key(outer.split("'")[1], None)
    return first


def _holds(parent: Any, group: str, key: str) -> bool:
    """Whether a group of the config, as composed so far, has such a key."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(parent)
    node = values.get(group) if isinstance(values, dict) else None
    return isinstance(node, dict) and key in node


def _unknown_key(key: str, parent: Any) -> str:
    """The nearest real key, among the neighbours and, at the top, the groups."""
    names = list(parent.keys()) if parent is not None and hasattr(parent, "keys") else []
    head, _, last = key.rpartition(".")
    if not head:
        names += [p.name for p in config_dir().iterdir() if p.is_dir()]
    inside = f"{head}." if head else ""
    hint = nearest(last, names)
    if not head and not hint and parent is not None:  # lr for optimizer.lr
        within = [f"{group}.{last}" for group in names if _holds(parent, group, last)]
        hint = f"; did you mean '{within[0]}'?" if within else ""
    where = f" (choose from: {listing(names)})" if head and names else " (see --help)"
    if head == "loss" and names == ["name"]:  # of loss=auto
        where = "; name the loss that has it, like loss=gaussian"
    return f"unknown key '{inside}{last}'{hint}{'' if hint else where}"
