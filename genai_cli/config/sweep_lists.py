"""Convert the lists and cells of a sweep's YAML to words of a command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from genai_cli.config.overrides import parse_overrides
from genai_cli.errors import UserError, in_one_line

CellWords = tuple[str, ...]  # of one cell
ONE_FOLDER = ("outputs", "name", "tags")  # a sweep is one folder
EXAMPLE = "{dataset: wine, loss: cce}"


def over_words(over: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """Return ``key=a,b`` for each key of a sweep's YAML that the line does not give itself.

    Raises:
        UserError: a key without a list.
    """
    known = _keys(given)
    words = []
    for key, values in over.items():
        if not isinstance(values, list | str):
            raise UserError(
                f"sweep.over: {key} is {in_one_line(values, 80)}, which is no list, like [8, 16], "
                "and no text of the command line, like range(2,9)"
            )
        if key not in known:
            text = values if isinstance(values, str) else ",".join(map(_text, values))
            words.append(f"{key}={text}")
    return words


def cell_words(
    cells: Sequence[Any], over: Collection[str], given: Sequence[str]
) -> list[CellWords]:
    """Return the distinct cells of ``sweep.cells`` as words, without keys that the line gives.

    Args:
        cells: as in the YAML, mappings from key to one value.
        over: the keys of ``sweep.over``.
        given: the words of the line.

    Raises:
        UserError: a cell that is no mapping, or a key that cannot stand in one.
    """
    known = _keys(given)
    unique: dict[CellWords, None] = {}
    for i, cell in enumerate(cells):
        where = f"sweep.cells[{i}]"
        if not isinstance(cell, Mapping) or not cell:
            raise UserError(
                f"{where}={in_one_line(cell, 80)} is not allowed: a cell is keys with one value "
                f"each, like {EXAMPLE}"
            )
        for key, value in cell.items():
            _check(where, key, value, over)
        unique[tuple(f"{k}={_text(v)}" for k, v in cell.items() if k not in known)] = None
    return list(unique)


def cell_keys(cells: Sequence[Any]) -> list[str]:
    """Return the keys that cells vary, each once; `cell_words` refuses what is no mapping."""
    keys = [key for cell in cells if isinstance(cell, Mapping) for key in cell]
    return list(dict.fromkeys(map(str, keys)))


def check_words(words: CellWords) -> None:
    """Check that Hydra, once initialised, reads each word of a cell as one value.

    Raises:
        UserError: a word that it cannot read, or reads as a list to sweep over.
    """
    for override in parse_overrides(list(words)):
        if override.is_sweep_override():
            raise UserError(
                f"sweep.cells: {override.input_line} is several values; a cell has one, and "
                "sweep.over takes lists"
            )


def sweep_values(override: Any) -> list[str]:
    """Return the values of a sweep override; a glob that means no group has none."""
    try:
        return list(override.sweep_string_iterator())
    except Exception as error:
        raise UserError(f"cannot sweep {override.input_line}: {error}") from None


def _check(where: str, key: object, value: object, over: Collection[str]) -> None:
    if not isinstance(key, str):
        raise UserError(f"{where}: {in_one_line(key, 80)} is no key, like model.widths")
    if key in over:
        raise UserError(f"{key} stands in sweep.over and in {where}; keep one")
    if key in ONE_FOLDER:
        raise UserError(f"{where}: {key} cannot be swept: a sweep is one folder")
    if key == "experiment":
        raise UserError(f"{where}: an experiment is no key of a cell; write its keys")
    if isinstance(value, Mapping):
        inner = next(iter(value), "KEY")
        raise UserError(f"{where}: {key} holds keys; write {key}.{inner}: …")


def _keys(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in words}


def _text(value: Any) -> str:
    """A value of YAML as the override grammar spells it."""
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    named = {None: "null", True: "true", False: "false"}
    return named[value] if value is None or isinstance(value, bool) else str(value)
