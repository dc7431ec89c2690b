"""What the tests of the data room share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from genai_cli.data.sources import load
from genai_cli.errors import UserError


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
