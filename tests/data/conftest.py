"""What the tests of the data room share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genai_cli.data.sources import load
from genai_cli.errors import UserError


@pytest.fixture(scope="session")
def fashion_root() -> Path:
    """The real Fashion-MNIST files, or the test is skipped."""
    root = Path(os.environ.get("GENAI_FASHION_MNIST") or "/usr/share/datasets/fashion-mnist")
    if not root.is_dir():
        pytest.skip("no Fashion-MNIST: set GENAI_FASHION_MNIST or install dataset-fashion-mnist")
    return root


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds, or writes to, the data folder of whoever runs it."""
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "data-home"))


@pytest.fixture
def refused() -> Callable[..., str]:
    """Load a node that must end in one line; the line, which must hold all ``words``."""

    def call(node: dict[str, Any], *words: object) -> str:
        with pytest.raises(UserError) as caught:
            load(node)
        line = str(caught.value)
        assert "\n" not in line
        assert 20 < len(line) < 600
        for word in words:
            assert str(word) in line, line
        return line

    return call
