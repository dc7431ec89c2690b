"""Rules of the house that a linter does not know; import-linter (`make lint`) holds the rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import genai_cli

PACKAGE = Path(genai_cli.__file__).parent
BANNED = {
    *("told", "said", "found", "how", "ask", "own", "place", "alone", "settle", "plain", "shown"),
}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE), ast.parse(file.read_text(encoding="utf-8"))


def bound(node: ast.AST) -> str | None:
    """The name that a node gives to something."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.attr
    return None


def test_five_files_stand_at_the_root() -> None:
    names = {file.stem for file in PACKAGE.glob("*.py")}
    assert names == {"__init__", "__main__", "errors", "rng", "version"}


def test_names_say_what_they_are() -> None:
    """A word that fits everything names nothing."""
    used = [
        f"{file}:{node.lineno} {name}"
        for file, tree in trees()
        for node in ast.walk(tree)
        if (name := bound(node)) and name.lower().strip("_") in BANNED
    ]
    assert not used, "\n".join(used)
