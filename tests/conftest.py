"""Shared by all tests: no user folders, one torch thread, the real command in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers of pytest-xdist share the cores

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's "&" does, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's data folder, configs, outputs or terminal."""
    for name in ("GENAI_PATH", "GENAI_OUTPUTS", "FORCE_COLOR", "GENAI_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "data-home"))
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))


@pytest.fixture(scope="session")
def fashion_root() -> Path:
    """The real Fashion-MNIST files; a missing set is a failure where CI says it must be there."""
    root = Path(os.environ.get("GENAI_FASHION_MNIST", DEBIAN))
    if not root.is_dir():
        message = f"no Fashion-MNIST in {root} (apt-get install dataset-fashion-mnist)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return root


@pytest.fixture(scope="module")
def undrawn() -> Iterator[dict[str, Callable]]:
    """Runs and evaluations of this module end without their figures, which are two thirds of the
    time of small ones. tests/figures, test_contract and test_configs look at figures."""
    from PIL import Image

    from genai_cli.figures import evaluated, of_run

    def blank(path: Path, *about: object, **more: object) -> None:
        Image.new("L", (8, 8)).save(path)

    plain = {
        "of_run.draw": of_run.draw,
        "evaluated.class_shares": evaluated.class_shares,
        "evaluated.closest_pairs": evaluated.closest_pairs,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_run, "draw", lambda *about: [])
        patch.setattr(evaluated, "class_shares", blank)
        patch.setattr(evaluated, "closest_pairs", blank)
        yield plain


@pytest.fixture
def drawn(undrawn: dict[str, Callable], monkeypatch: pytest.MonkeyPatch) -> None:
    """This test of an `undrawn` module looks at figures."""
    for name, function in undrawn.items():
        monkeypatch.setattr(f"genai_cli.figures.{name}", function)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every cell takes 400 MiB of GPU memory; the bottlenecks for which that was asked."""
    from genai_cli.planning import measure

    asked: list[int] = []

    class Cost:
        gpu = 400 * 2**20

    def fake(config: dict, environment: dict) -> Cost:
        asked.append(config["bottleneck"])
        return Cost()

    monkeypatch.setattr(measure, "measured", fake)
    return asked


class Ran:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str, outputs: Path) -> None:
        self.code, self.out, self.err, self.outputs = code, out, err, outputs

    @property
    def folders(self) -> list[Path]:
        """Run and sweep folders there are now."""
        return sorted(self.outputs.glob("*/*"))


@pytest.fixture
def genai(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run ``genai WORDS`` in this process, in an empty working directory."""
    from genai_cli.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = main(list(words))
        out, err = capsys.readouterr()
        return Ran(code, out, err, tmp_path / "outputs")

    return run


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failure: what it needs must be installed there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = 1
