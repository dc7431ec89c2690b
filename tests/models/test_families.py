"""The table of shipped families is complete, and the only place outside them that names one."""

from __future__ import annotations

import ast
from pathlib import Path

import genai_cli
from genai_cli.config import catalog
from genai_cli.models.families import FAMILIES

PACKAGE = Path(genai_cli.__file__).parent
ROOMS = ("models", "networks", "losses", "diffusion")


def test_the_table_holds_every_shipped_family() -> None:
    assert {path.stem for path in catalog.config_dir().glob("model/*.yaml")} == set(FAMILIES)


def test_no_other_room_names_a_family() -> None:
    named = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ROOMS:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            words = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
            named += [f"{path.name}: {w}" for w in words if isinstance(w, str) and w in FAMILIES]
    assert named == []
