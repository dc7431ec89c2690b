"""Small sweeps, and runs that are told to stop."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_folders import AE, statuses


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sweep does is no different without them, and the tests take half the time."""
    monkeypatch.setattr("genai_cli.evaluation.run_figures.draw", lambda *given: [])


@pytest.fixture
def stop_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Send this process a signal after an optimizer step of the cell whose folder begins so."""
    from genai_cli.runner.console import Reporter

    plain = Reporter.step

    def arrange(cell: str, step: int, number: int = signal.SIGTERM) -> None:
        def stopping(self: Reporter, now: object) -> None:
            plain(self, now)
            if now.step == step and Path(self.file.name).parent.name.startswith(cell):
                signal.raise_signal(number)

        monkeypatch.setattr(Reporter, "step", stopping if cell else plain)

    return arrange


@pytest.fixture(scope="session")
def cut_before() -> dict[tuple[str, ...], tuple[Path, Path]]:
    """Of the words of a `cut` sweep, a copy and where it stood."""
    return {}


@pytest.fixture
def cut(
    genai: Callable,
    stop_in: Callable,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    cut_before: dict[tuple[str, ...], tuple[Path, Path]],
) -> Callable[..., Path]:
    """A sweep of three cells of which the second was interrupted and the third not begun; trained
    by the first test that asks for it."""

    def make(*words: str) -> Path:
        if words in cut_before:
            kept, where = cut_before[words]
            return Path(shutil.copytree(kept, tmp_path / where))
        stop_in("001", 3)
        done = genai(*AE, "bottleneck=2,3,4", "name=cut", *words)
        assert done.code == 143
        stop_in("", 0)
        sweep = next(f for f in done.folders if "-cut-" in f.name)
        assert statuses(sweep) == ["finished", "interrupted", "interrupted"]
        kept = tmp_path_factory.mktemp("cut") / "sweep"
        cut_before[words] = shutil.copytree(sweep, kept), sweep.relative_to(tmp_path)
        return sweep

    return make
