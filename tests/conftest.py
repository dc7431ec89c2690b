"""Shared by all tests: a bare host, no user folders, the real command in this process."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bare_host
import pytest

if TYPE_CHECKING:
    from command_server import Server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's "&" does, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup does
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FOLDER = pytest.StashKey[Path]()
DESELECTED = pytest.StashKey[Counter[str]]()
LAST_LINE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tests that train")
    group.addoption("--train-seed", type=int, default=0, help="seed of tests marked `trains`")
    group.addoption("--margins", type=Path, help="a file that they add their margins to")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported; workers of pytest-xdist inherit the environment."""
    config.stash[DESELECTED] = Counter()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash[FOLDER] = bare_host.enter(gpu=config.getoption("markexpr").strip() == "gpu")


def pytest_unconfigure(config: pytest.Config) -> None:
    if line := config.stash.get(LAST_LINE, ""):
        config.get_terminal_writer().line(line)
    if FOLDER in config.stash:
        shutil.rmtree(config.stash[FOLDER], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """A test that is marked for it finds the programs of the host."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bare_host.seen_besides({m.name for m in item.iter_markers()}).items():
            patch.setenv(name, value)
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            message = "no CUDA device (make test-gpu)"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has a data folder and a cache of its own."""
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
    time of small ones, and time six small draws for their speed. tests/figures, test_contract and
    test_configs look at figures."""
    from PIL import Image

    from genai_cli.evaluation import run_figures, speed
    from genai_cli.figures import calibration, evaluated, predictions

    def blank(path: Path, *about: object, **more: object) -> None:
        Image.new("L", (8, 8)).save(path)

    plain = {
        "evaluation.run_figures.draw": run_figures.draw,
        "figures.evaluated.class_shares": evaluated.class_shares,
        "figures.evaluated.closest_pairs": evaluated.closest_pairs,
        "figures.predictions.confusion": predictions.confusion,
        "figures.calibration.reliability": calibration.reliability,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in plain:
            patch.setattr(f"genai_cli.{name}", blank)
        patch.setattr(run_figures, "draw", lambda *about: [])
        patch.setattr(speed, "ENOUGH", 0.0)
        patch.setattr("genai_cli.evaluation.evaluate.MANY", 64)
        yield plain


@pytest.fixture
def drawn(undrawn: dict[str, Callable], monkeypatch: pytest.MonkeyPatch) -> None:
    """This test of an `undrawn` module looks at figures."""
    for name, function in undrawn.items():
        monkeypatch.setattr(f"genai_cli.{name}", function)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """`genai` commands in processes of their own, without the seconds of their imports. Of their
    figures they save a loss curve of one number, in `make torture` all."""
    from command_server import Server

    server = Server(*([] if request.config.option.markexpr == "torture" else ["curve"]))
    yield server
    server.close()


@pytest.fixture
def train_seed(request: pytest.FixtureRequest) -> int:
    """What a test marked `trains` draws weights, data and noise from: it holds for any."""
    return request.config.getoption("--train-seed")


@pytest.fixture
def assert_below(request: pytest.FixtureRequest) -> Callable[[float, float], None]:
    """Assert ``value < limit`` of what training reached, and note limit / value, which is to be
    at least 1.3 on every processor and with every seed (`make test-kernels`)."""

    def check(value: float, limit: float) -> None:
        if path := request.config.getoption("--margins"):
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{limit / max(value, 1e-12):.4g} {request.node.nodeid}\n")
        assert value < limit

    return check


@pytest.fixture
def squeue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Slurm is installed here, by the one command that is looked for; its answers are patched."""
    (tmp_path / "slurm-bin").mkdir()
    (tmp_path / "slurm-bin" / "squeue").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm-bin'}:{os.environ['PATH']}")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every cell takes 400 MiB of GPU memory; the bottlenecks for which that was asked."""
    from genai_cli.runner import cost

    asked: list[int] = []

    class Cost:
        gpu = 400 * 2**20

    def fake(config: dict, environment: dict) -> Cost:
        asked.append(config["bottleneck"])
        return Cost()

    monkeypatch.setattr(cost, "measure_cost", fake)
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
    from genai_cli.cli.front_door import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = main(list(words))
        out, err = capsys.readouterr()
        return Ran(code, out, err, tmp_path / "outputs")

    return run


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what ``-m "… and not slurm"`` leaves out, once for each of its marks."""
    for item in items:
        for mark in {mark.name for mark in item.iter_markers()} & set(bare_host.NEEDS):
            if f"not {mark}" in item.config.getoption("markexpr"):
                item.config.stash[DESELECTED][mark] += 1


@pytest.fixture(scope="session")
def trained_before() -> dict[tuple, tuple[Path, Path]]:
    """What `finished` has trained: a folder and where it stood."""
    return {}


@pytest.fixture
def finished(
    request: pytest.FixtureRequest,
    genai: Callable[..., Ran],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    trained_before: dict[tuple, tuple[Path, Path]],
) -> Callable[..., Path]:
    """The run or sweep of ``genai train WORDS`` in this test's outputs: trained by the first test
    that asks for it, and copied for the others."""

    def folder_of(*words: str) -> Path:
        key = (*words, "undrawn" in request.fixturenames)
        if key in trained_before:
            kept, where = trained_before[key]
            return Path(shutil.copytree(kept, tmp_path / where))
        before = set((tmp_path / "outputs").glob("*/*"))
        done = genai("train", *words)
        assert done.code == 0, done.err
        (folder,) = set(done.folders) - before
        kept = tmp_path_factory.mktemp("finished") / "run"
        trained_before[key] = shutil.copytree(folder, kept), folder.relative_to(tmp_path)
        return folder

    return folder_of


def pytest_collection_finish() -> None:
    """What was imported and collected stays: looking through it again and again takes a tenth of
    the time of small tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test is a failure: what it needs must be installed there."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = dict(session.config.stash[DESELECTED])
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Every worker of pytest-xdist collects all tests, so the count of one is that of all."""
    counted = getattr(node, "workeroutput", {}).get("deselected")
    if counted is not None:
        node.config.stash[DESELECTED] = Counter(counted)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The last line of a run says which marked tests did not run, and what they need."""
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        skipped.update(set(bare_host.NEEDS) & set(report.keywords))
    config.stash[LAST_LINE] = bare_host.not_run(skipped, config.stash[DESELECTED])
