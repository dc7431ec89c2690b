"""A model of the user's own, for processes that a test starts."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, name: str, code: str, bottleneck: int = 2) -> str:
    """Write ``name`` as a user would; what GENAI_PATH is to be set to."""
    (folder / "models").mkdir(parents=True)
    (folder / "configs" / "model").mkdir(parents=True)
    (folder / "models" / f"{name}.py").write_text(code)
    yaml = f"# @package _global_\n# {name}\nbottleneck: {bottleneck}\nmodel:\n  name: {name}\n"
    (folder / "configs" / "model" / f"{name}.yaml").write_text(yaml)
    return str(folder)
