"""Small sweeps, and runs that are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sweep does is no different without them, and the tests take half the time."""
    monkeypatch.setattr("genai_cli.figures.of_run.draw", lambda *given: [])


@pytest.fixture
def stop_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Send this process a signal after an optimizer step of the cell whose folder begins so."""
    from genai_cli.console import Reporter

    plain = Reporter.step

    def arrange(cell: str, step: int, number: int = signal.SIGTERM) -> None:
        def stopping(self: Reporter, now: object) -> None:
            plain(self, now)
            if now.step == step and Path(self.file.name).parent.name.startswith(cell):
                signal.raise_signal(number)

        monkeypatch.setattr(Reporter, "step", stopping if cell else plain)

    return arrange
