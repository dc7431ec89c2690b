"""Ranks that are started and watched: what becomes of a run when one dies or is told to stop."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import own_model
import pytest
import torch.distributed as dist
from command_server import Server

from genai_cli.cli.front_door import main
from genai_cli.runner import spawn
from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

FAULTY = '''
"""An autoencoder of one layer that does as the environment says at one step of one rank."""
import os
import signal
import torch
from torch import nn
from genai_cli.models.base import Model
from genai_cli.config.ranks import rank

class Faulty(Model):
    def __init__(self, data, bottleneck: int):
        super().__init__()
        self.down, self.up = nn.Linear(64, bottleneck), nn.Linear(bottleneck, 64)

    def encode(self, x):
        return self.down(x.flatten(1))

    def reconstruct(self, x):
        return self.up(self.encode(x)).view_as(x)

    def loss(self, batch, noise, player="model"):
        what, who, when = os.environ.get("FAULT", "none 0 0").split()
        mine = who == "all" or rank() == int(who)
        measured = not self.training and len(batch.x) == 360  # the test split
        if measured and mine and what == "measured":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.training and mine and int(self.step) == int(when):
            if what == "raise":
                raise ValueError("broken on purpose")
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "term":
                os.kill(os.getpid(), signal.SIGTERM)
            if what == "parent":
                os.kill(os.getppid(), signal.SIGINT)
        return {"loss": (self.reconstruct(batch.x) - batch.x).square().flatten(1).mean(1)}
'''
WORDS = ("model=faulty", "batch_size=32", "dataset.limit=100", "trainer.step=eager")


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what goes wrong: WHAT RANK STEP."""
    monkeypatch.setenv("GENAI_PATH", own_model.write(tmp_path / "mine", "faulty", FAULTY, 3))
    return lambda what: monkeypatch.setenv("FAULT", what)


def numbers(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in run_folder.read_metrics(folder)]


def status(folder: Path) -> str:
    return run_folder.status(folder, run_folder.read_json(folder / "run.json"))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("kill 1 5", r"rank 1 was killed by SIGKILL; go on with: genai resume "),
        pytest.param(
            *("kill 0 5", r"rank 0 was killed by SIGKILL; go on with: genai resume "),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("raise all 5", r"\[rank [01]\] ValueError: broken on purpose$"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_dead_rank_ends_the_run_and_is_named(
    fault: Callable[[str], None],
    capfd: pytest.CaptureFixture[str],  # of the ranks, too
    tmp_path: Path,
    what: str,
    said: str,
) -> None:
    fault(what)
    assert (
        main(["train", *WORDS, "epochs=2", "trainer.devices=2", f"outputs={tmp_path / 'outputs'}"])
        == 1
    )
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert status(folder) == "failed"
    told = capfd.readouterr().err.strip().splitlines()
    assert [bool(re.search(said, line)) for line in told] == [True], told
    log = (folder / "train.log").read_text()
    assert "broken on purpose" in log if "raise" in what else "was killed by SIGKILL" in log
    fault("none 0 0")
    assert main(["resume", str(folder), "trainer.devices=1"]) == 0
    assert status(folder) == "finished"


@pytest.mark.slow  # six starts of two or three processes
def test_a_signal_to_one_rank_stops_all_after_the_same_step(
    genai: Callable, fault: Callable[[str], None]
) -> None:
    fault("none 0 0")
    words = (*WORDS, "epochs=100", "trainer.save_every=1000")
    assert genai("train", *words, "trainer.devices=2", "name=whole").code == 0
    fault("term 1 5")
    ran = genai("train", *words, "trainer.devices=2", "name=cut")
    assert ran.code == 143
    whole, cut = sorted(ran.folders, key=lambda f: "cut" in f.name)
    assert status(cut) == "interrupted"
    assert (cut / "checkpoints" / "last").read_text() == "step-000006\n"
    fault("parent 0 6")  # the starter passes it on
    assert genai("resume", str(cut)).code == 130
    assert status(cut) == "interrupted"
    fault("none 0 0")
    assert genai("resume", str(cut)).code == 0  # twice cut, and bit-equal at the end
    assert numbers(cut) == numbers(whole)
    files = [f / "checkpoints" / "step-000400" / "state.safetensors" for f in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()
    # another number of ranks goes on with the same run
    assert genai("resume", str(cut), "epochs=110", "trainer.devices=3").code == 0
    assert genai("resume", str(whole), "epochs=110", "trainer.devices=1").code == 0
    assert json.loads((cut / "run.json").read_text())["devices"] == 3
    for row, wanted in zip(numbers(cut)[100:], numbers(whole)[100:], strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_a_signal_to_one_rank_while_they_measure_ends_all(
    genai: Callable, fault: Callable[[str], None]
) -> None:
    """Rank 0 measures the one batch; the other waits for it, and is not to be taken for dead."""
    fault("measured 0 0")
    words = (*WORDS, "epochs=1", "trainer.devices=2")
    ran = genai("train", *words)
    assert (ran.code, ran.err) == (143, "")
    (folder,) = ran.folders
    assert status(folder) == "finished"
    assert run_folder.read_json(folder / run_folder.SUMMARY)["measured"] is False
    fault("none 0 0")
    assert genai("resume", str(folder), "trainer.devices=1").code == 0
    assert run_folder.read_json(folder / run_folder.SUMMARY)["measured"] is True


def test_ranks_as_torchrun_starts_them_make_one_folder(server: Server, tmp_path: Path) -> None:
    """With torchrun's variables; torchrun itself starts those of the slow test below."""
    words = ["train", "model=autoencoder", "model.widths=[16]", "dataset.limit=65", "epochs=2"]
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = []
    for rank in range(2):
        env, out = spawn.environment(rank, 2, store.port), str(tmp_path / f"rank-{rank}.txt")
        ranks.append(server.start(tmp_path, *words, env=env, out=out))
    assert [rank.wait() for rank in ranks] == [0, 0], [rank.said for rank in ranks]
    (folder,) = tmp_path.glob("outputs/*/*")
    described = json.loads((folder / "run.json").read_text())
    assert (described["status"], described["devices"]) == ("finished", 2)
    assert run_folder.read_config(folder)["trainer"]["devices"] == 2
    assert len(run_folder.read_metrics(folder)) == 2
    log = (folder / "train.log").read_text()
    assert [text.count("finished after") for text in (log, *(r.said for r in ranks))] == [1, 1, 0]
    assert "2 ranks, each on cpu" in log


@pytest.mark.slow
def test_a_rank_of_torchruns_that_is_killed_ends_the_run(
    fault: Callable[[str], None], tmp_path: Path
) -> None:
    fault("kill 1 5")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "genai_cli", "train", *WORDS, "epochs=2", f"outputs={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    (folder,) = (tmp_path / "out").glob("*/*")
    assert status(folder) in ("failed", "died")  # by its own word, or by torchrun's SIGTERM
    fault("none 0 0")
    assert main(["resume", str(folder), "trainer.devices=1"]) == 0
    assert status(folder) == "finished"
    assert [int(row["epoch"]) for row in numbers(folder)] == [1, 2]


def test_signals_are_told_apart() -> None:
    assert signal.SIGINT.name in spawn._describe_exit(-signal.SIGINT)
    assert spawn._describe_exit(3) == "left with exit code 3"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["trainer.save_every=1", "trainer.save_every=9"])
def test_what_rank_0_finds_when_it_saves_all_ranks_find(when: str, tmp_path: Path) -> None:
    words = ("model=mlp", "dataset=digits", "epochs=2", "trainer.devices=2", "device=cpu")
    words += ("batch_size=2000", "optimizer.lr=1e39", "dataset.val_fraction=0", "monitor=null")
    words += ("trainer.max_steps=1", when)  # in the row of the only step, or at its end
    command = [sys.executable, "-m", "genai_cli", "train", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "became nan in epoch 1 (step 1), in its update" in done.stderr
    assert [line for line in done.stderr.splitlines() if "failed" in line][1:] == []


def test_a_rank_whose_starter_is_gone_ends_even_if_it_hangs() -> None:
    hangs = (
        "import threading, time; from genai_cli.runner import rank; rank.LAST = 0.1\n"
        "with rank.Signals():\n"
        "    threading.Thread(target=rank._outlive_nobody, daemon=True).start()\n"
        "    while True: time.sleep(1)"
    )
    done = subprocess.run([sys.executable, "-c", hangs], input=b"", timeout=60)
    assert done.returncode == -signal.SIGKILL
