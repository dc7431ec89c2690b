"""Start-up: what answers at once must not import what takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "matplotlib", "sklearn")


def imported(words: list[str]) -> set[str]:
    """Top-level modules after a command, in a process of its own."""
    code = (
        "import sys\n"
        "from genai_cli.cli import main\n"
        f"code = main({words!r})\n"
        "print('modules:', *sorted({m.split('.')[0] for m in sys.modules}))\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("modules:")[2].split())


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--cfg", "job"],
        ["train", "model=mlp", "loss=mse", "--cfg", "job"],
        ["train", "--info", "searchpath"],
        ["runs"],
    ],
    ids=" ".join,
)
def test_composing_and_listing_need_no_torch(words: list[str]) -> None:
    assert not imported(words) & {*HEAVY, "numpy"}


def test_the_doctor_needs_no_torch(tmp_path: Path) -> None:
    curve = tmp_path / "history.csv"
    curve.write_text("epoch,loss,val_loss\n0,1,1\n1,0.5,0.6\n2,0.4,0.5\n")
    assert not imported(["doctor", str(curve)]) & {*HEAVY}


def test_data_list_needs_no_torch() -> None:
    assert not imported(["data", "list"]) & set(HEAVY)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["train", "--help"], ["_complete", "bash", "genai tr", "8"], ["lecture"]],
    ids=" ".join,
)
def test_help_and_completion_need_no_hydra_either(words: list[str]) -> None:
    assert not imported(words) & {*HEAVY, "numpy", "hydra", "omegaconf", "yaml", "rich"}


def test_a_typing_mistake_is_answered_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from genai_cli.cli import main\n"
        "assert main(['train', 'epochs=0']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("genai train: epochs=0 is not allowed")


def test_the_first_step_waits_for_no_figures_and_no_statistics(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from genai_cli.console import Reporter\n"
        "import gc\n"
        "def step(self, now):\n"
        "    assert gc.isenabled() and gc.get_freeze_count() > 100_000  # the imports' objects\n"
        "    print('modules:', *sorted({m.split('.')[0] for m in sys.modules}))\n"
        "    raise SystemExit(int('torch' not in sys.modules))\n"
        "Reporter.step = step\n"
        "from genai_cli.cli import main\n"
        f"main(['train', 'epochs=1', 'outputs={tmp_path}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    late = {"torchvision", "matplotlib", "PIL", "scipy", "sklearn", "pandas", "rich"}
    assert not set(done.stdout.rpartition("modules:")[2].split()) & late


def test_a_run_ends_without_a_word_on_stderr(tmp_path: Path) -> None:
    words = ["train", "epochs=1", "dataset.limit=64", f"outputs={tmp_path}"]
    command = [sys.executable, "-m", "genai_cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
