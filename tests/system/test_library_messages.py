"""What libraries say by warnings and log records goes to train.log and not to the terminal."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from genai_cli.system.library_messages import capture_messages, capture_stderr, take_over_logging
from genai_cli.training import machine

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=1", "dataset.limit=64", "trainer.step=eager")
LOGGERS = (
    "torch", "torch._inductor.codecache", "torch._dynamo", "torch.distributed",
    "torch.utils.cpp_extension", "hydra.core", "matplotlib.font_manager",
)  # fmt: skip
# speaks as libraries do, where a loss or a reconstruction is computed
NOISY = f"""
import logging, warnings
from genai_cli.models import autoencoder

def speak():
    warnings.warn("lr_scheduler comes first", stacklevel=1)
    for name in {LOGGERS}:
        logging.getLogger(name).warning("a word of %s", name)
        logging.getLogger(name).info("hush")

class Noisy(autoencoder.Autoencoder):
    def loss(self, batch, noise, player="model"):
        speak()
        return super().loss(batch, noise, player)

    def reconstruct(self, x):
        speak()
        return super().reconstruct(x)
"""


@pytest.fixture(autouse=True)
def _as_shipped() -> Iterator[None]:
    """Nothing of it outlives a test."""
    logger = logging.getLogger("torch")
    before = logging.lastResort, warnings.showwarning, {*logger.handlers}, logger.propagate
    yield
    after = logging.lastResort, warnings.showwarning, {*logger.handlers}, logger.propagate
    assert after == before


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``model=noisy``, here and in processes of ours."""
    own = tmp_path / "own"
    (own / "models").mkdir(parents=True)
    (own / "configs" / "model").mkdir(parents=True)
    (own / "models" / "noisy.py").write_text(NOISY)
    shipped = (Path(__file__).parents[2] / "configs" / "model" / "autoencoder.yaml").read_text()
    yaml = shipped.replace("name: autoencoder", "name: noisy")
    (own / "configs" / "model" / "noisy.yaml").write_text(yaml)
    monkeypatch.setenv("GENAI_PATH", str(own))


@pytest.mark.slow
def test_a_run_keeps_them_in_its_log(noisy: None, tmp_path: Path) -> None:
    words = ["train", *QUICK, "model=noisy", "trainer.max_steps=1", f"outputs={tmp_path}"]
    command = [sys.executable, "-m", "genai_cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a word of" not in done.stdout
    (log,) = tmp_path.glob("*/*/train.log")
    text = log.read_text()
    assert "library  UserWarning: lr_scheduler comes first (models/noisy.py:" in text
    for name in LOGGERS:
        assert f"library  WARNING {name}: a word of {name}\n" in text
    assert "hush" not in text


def test_a_stack_keeps_them_in_the_log_of_each_run(noisy: None, genai: Callable) -> None:
    done = genai("train", "-m", "seed=0,1", *QUICK, "model=noisy", "trainer.pack=2")
    assert (done.code, "a word of" in done.err + done.out) == (0, False), done.err
    logs = list(done.outputs.glob("*/*/*/train.log"))
    assert len(logs) == 2
    assert all("packed: 2 runs" in log.read_text() for log in logs)
    assert all("WARNING torch: a word of torch\n" in log.read_text() for log in logs)


def test_other_verbs_say_nothing_of_them(noisy: None, genai: Callable) -> None:
    assert genai("train", *QUICK, "model=noisy").code == 0
    done = genai("evaluate", "latest", "only=[reconstruction]")
    assert (done.code, done.err, "a word" in done.out) == (0, "", False)


def test_who_asks_python_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["always"])  # as of -W and PYTHONWARNINGS
    before = warnings.showwarning
    with capture_messages():
        assert warnings.showwarning is before


def test_what_is_printed_past_python_is_kept_while_something_compiles(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines: list[str] = []
    child = [sys.executable, "-c", "import sys; sys.stderr.write('of a child\\n')"]
    with capture_messages(lines.append), capture_stderr():
        print("No CUDA runtime is found", file=sys.stderr)
        os.write(2, b"[W NNPACK.cpp:61] Could not initialize\n")
        subprocess.run(child, check=True)
    print("ours", file=sys.stderr)
    assert capfd.readouterr().err == "ours\n"
    assert sorted(lines) == [
        "library  No CUDA runtime is found",
        "library  [W NNPACK.cpp:61] Could not initialize",
        "library  of a child",
    ]


def test_torch_s_own_switch_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_LOGS", "recompiles")
    before = list(logging.getLogger("torch").handlers)
    with capture_messages():
        assert logging.getLogger("torch").handlers == before


def test_the_inner_of_two_blocks_keeps(recwarn: pytest.WarningsRecorder) -> None:
    outer: list[str] = []
    inner: list[str] = []
    with capture_messages(outer.append):
        with capture_messages(inner.append):
            warnings.warn("one", stacklevel=1)
        logging.getLogger("hydra").error("two")
    warnings.warn("three", stacklevel=1)
    assert (len(inner), "UserWarning: one" in inner[0]) == (1, True)
    assert outer == ["library  ERROR hydra: two"]
    assert [str(w.message) for w in recwarn] == ["three"]


def test_a_log_that_is_full_or_closed_stops_nothing() -> None:
    def full(line: str) -> None:
        raise OSError(28, "No space left on device")

    with capture_messages(full):
        warnings.warn("unheard", stacklevel=1)


def test_a_notebook_keeps_its_logging() -> None:
    before = logging.lastResort
    take_over_logging()
    assert logging.lastResort is before


def test_a_gpu_that_torch_cannot_use_is_the_user_s_business(
    monkeypatch: pytest.MonkeyPatch, genai: Callable
) -> None:
    def unusable() -> bool:
        warnings.warn("CUDA initialization: The driver is too old (11040). Go there.", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unusable)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(machine, "_cuda_warnings", [])
    why = "The driver is too old (11040)"
    cpu = machine.pick_device("auto")
    told = f"note: device=auto is cpu: torch cannot use CUDA here ({why})"
    assert machine.unused_gpu("auto", cpu) == told
    assert machine.unused_gpu("cpu", cpu) is None
    done = genai("train", *QUICK, "device=cuda")
    assert (done.code, f"no CUDA device here ({why}); use device=cpu" in done.err) == (2, True)
