"""Start-up: what answers at once must not import what takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "torchvision", "matplotlib", "sklearn")


def imported(*commands: list[str]) -> dict[str, set[str]]:
    """Top-level modules after each of some commands, one after the other in one fresh process."""
    code = (
        "import sys\n"
        "from genai_cli.cli.front_door import main\n"
        f"for words in {commands!r}:\n"
        "    code = main(words)\n"
        "    print('\\nmodules:', ' '.join(words), '|', *{m.split('.')[0] for m in sys.modules})\n"
        "    assert code == 0, words\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("modules: ")]
    assert len(lines) == len(commands)
    split = (line.removeprefix("modules: ").split(" | ") for line in lines)
    return {words: set(modules.split()) for words, modules in split}


def test_composing_and_listing_need_no_torch() -> None:
    commands = (
        ["runs"],
        ["train", "--info", "searchpath"],
        ["train", "--cfg", "job"],
        ["train", "model=mlp", "loss=mse", "--cfg", "job"],
    )
    for words, modules in imported(*commands).items():
        assert not modules & {*HEAVY, "numpy"}, words


def test_the_doctor_and_the_list_of_data_need_no_torch(tmp_path: Path) -> None:
    curve = tmp_path / "history.csv"
    curve.write_text("epoch,loss,val_loss\n0,1,1\n1,0.5,0.6\n2,0.4,0.5\n")
    for words, modules in imported(["data", "list"], ["doctor", str(curve)]).items():
        assert not modules & {*HEAVY}, words


def test_help_and_completion_need_no_hydra_either() -> None:
    commands = (
        ["--help"], ["train", "--help"], ["_complete", "bash", "genai tr", "8"], ["lecture"],
    )  # fmt: skip
    for words, modules in imported(*commands).items():
        assert not modules & {*HEAVY, "numpy", "hydra", "omegaconf", "yaml", "rich"}, words


def test_a_typing_mistake_is_answered_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from genai_cli.cli.front_door import main\n"
        "assert main(['train', 'epochs=0']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("genai train: epochs=0 is not allowed")


def test_the_first_step_waits_for_no_figures_and_the_run_says_nothing_on_stderr(
    tmp_path: Path,
) -> None:
    code = (
        "import sys\n"
        "from genai_cli.runner.console import Reporter\n"
        "import gc\n"
        "plain = Reporter.step\n"
        "def step(self, now):\n"
        "    plain(self, now)\n"
        "    if now.step == 1:\n"
        "        assert gc.isenabled() and gc.get_freeze_count() > 100_000  # imports\n"
        "        print('modules:', *sorted({m.split('.')[0] for m in sys.modules}), '.')\n"
        "Reporter.step = step\n"
        "from genai_cli.cli.front_door import main\n"
        f"sys.exit(main(['train', 'epochs=1', 'dataset.limit=64', 'outputs={tmp_path}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    late = {"torchvision", "matplotlib", "PIL", "scipy", "sklearn", "pandas", "rich"}
    early = done.stdout.partition("modules:")[2].partition(" .")[0].split()
    assert "torch" in early
    assert not set(early) & late
