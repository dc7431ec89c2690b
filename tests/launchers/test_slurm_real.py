"""On a real Slurm of one machine and two nodes; `make test-slurm` starts and stops it."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import own_model
import pytest

from genai_cli.store import run_folder

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]
TOOL = Path(os.environ.get("GENAI_LOCAL_SLURM", ROOT.parent / "shared" / "tools" / "local-slurm"))
QUICK = ("model=autoencoder", "dataset.limit=64", "device=cpu")
LAUNCHER = ("hydra/launcher=slurm", "hydra.launcher.minutes=10")
PATIENCE = 300.0  # seconds that a busy machine may take


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch finds two nodes; in CI their absence is a failure."""
    missing = [c for c in ("munged", "slurmctld", "slurmd", "sbatch")
               if not shutil.which(c, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]  # fmt: skip
    if not TOOL.is_file():
        missing.append(str(TOOL))
    if missing:
        message = f"no Slurm here: {', '.join(missing)} missing"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = Path("/tmp") / f"genai-slurm-{os.getpid()}"  # short: sockets have short names
    surroundings = os.environ | {"LOCAL_SLURM_DIR": str(folder)}
    surroundings["LOCAL_SLURM_CONF"] = "MaxArraySize=13"  # twelve cells are one array
    begun = subprocess.run(
        [TOOL, "start", "2", "--no-accounting"], env=surroundings, capture_output=True, text=True
    )
    assert begun.returncode == 0, begun.stderr
    try:
        yield surroundings | {"SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([TOOL, "stop", "--purge"], env=surroundings, check=True)


class Genai:
    """The command beside the cluster, in a working directory of its own."""

    def __init__(self, cluster: dict[str, str], place: Path) -> None:
        keep = {"GENAI_DATA": str(place / "data"), "GENAI_CACHE": str(place / "cache")}
        self.place, self.environment = place, cluster | keep
        packages = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment["PYTHONPATH"] = os.pathsep.join(packages)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "genai_cli", *words],
            cwd=self.place, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def slurm(self, *words: str) -> str:
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    @property
    def folders(self) -> list[Path]:
        return sorted(self.place.glob("outputs/*/*"))


@pytest.fixture
def real(cluster: dict[str, str], tmp_path: Path) -> Genai:
    return Genai(cluster, tmp_path)


@pytest.fixture
def named_nodes() -> None:
    """Nodes that find each other by their names."""
    try:
        socket.gethostbyname("node2")
    except OSError:
        message = "node1 and node2 have no address: echo 127.0.0.1 node1 node2 >> /etc/hosts"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def _statuses(sweep: Path) -> list[str]:
    with open(sweep / run_folder.SWEEP_TABLE, newline="") as file:
        return [row["status"] for row in csv.DictReader(file)]


def _wait(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_an_array_of_twelve_with_one_that_fails(real: Genai) -> None:
    real.environment["GENAI_PATH"] = own_model.write(real.place / "mine", "odd", ODD)
    done = real("train", "-m", "model=odd", "bottleneck=range(1,13)", "epochs=2", *QUICK[1:],
                *LAUNCHER)  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    (sweep,) = real.folders
    assert _statuses(sweep) == ["finished"] * 6 + ["failed"] + ["finished"] * 5
    assert "1 of 12 runs failed" in done.stderr
    assert "seven is refused" in (run_folder.cells(sweep)[6] / run_folder.LOG).read_text()
    number = run_folder.read_json(sweep / "slurm" / "000.json")["job"]
    states = real.slurm("squeue", "-h", "-r", "-t", "all", "-j", number, "-o", "%i %T")
    assert f"{number}_6 FAILED" in states
    assert states.count("COMPLETED") == 11
    assert "seven is refused" in (sweep / "slurm" / f"{number}_6.log").read_text()


ODD = """
import torch
from torch import nn
from genai_cli.models.base import Model

class Odd(Model):
    def __init__(self, data, bottleneck: int):
        super().__init__()
        self.bottleneck = bottleneck
        self.matrix = nn.Parameter(torch.full((64, bottleneck), 0.1))

    def reconstruct(self, x):
        return (x.flatten(1) @ self.matrix @ self.matrix.T).view(x.shape)

    def loss(self, batch, noise, player="model"):
        if self.bottleneck == 7 and len(batch.x) > 1 and self.training:
            raise ValueError("seven is refused")
        return {"loss": (self.reconstruct(batch.x) - batch.x).square().flatten(1).mean(1)}
"""


def test_preempted_three_times_it_ends_bit_equal(real: Genai) -> None:
    words = ("train", "model=vae", "dataset.limit=640", "device=cpu", "epochs=400", "name=one",
             "trainer.threads=1")  # fmt: skip
    process = real.start(*words, *LAUNCHER)
    _wait(lambda: real.folders)
    (folder,) = real.folders
    steps: list[int] = []
    for _ in range(3):
        rows = len(run_folder.read_metrics(folder))
        _wait(lambda rows=rows: len(run_folder.read_metrics(folder)) > rows + 5)
        number = run_folder.read_json(folder / "slurm" / "000.json")["job"]
        real.slurm("scontrol", "requeue", number)
        _wait(lambda: run_folder.read_json(folder / run_folder.RUN)["status"] == "interrupted")
        steps.append(len(run_folder.read_metrics(folder)))
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert steps == sorted(set(steps))
    assert steps[-1] < 400
    assert (folder / run_folder.LOG).read_text().count("going on after") == 3
    undisturbed = real(*words)
    assert undisturbed.returncode == 0, undisturbed.stderr
    other = next(f for f in real.folders if f != folder)
    for name in ("last", "best"):
        step = (folder / "checkpoints" / name).read_text().strip()
        assert (other / "checkpoints" / name).read_text().strip() == step
        weights = [f / "checkpoints" / step / "weights.safetensors" for f in (folder, other)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    rows = [run_folder.read_metrics(f) for f in (folder, other)]
    losses = [[{k: v for k, v in row.items() if k != "seconds"} for row in run] for run in rows]
    assert losses[0] == losses[1]


def test_scancel_leaves_what_sweep_resume_finishes(real: Genai) -> None:
    words = ("train", "-m", "bottleneck=2,3,4", "epochs=1000", *QUICK, *LAUNCHER)
    process = real.start(*words, "hydra.launcher.parallel=2")
    _wait(lambda: len(list(real.place.glob("outputs/*/*/*/metrics.csv"))) == 2)
    (sweep,) = real.folders
    real.slurm("scancel", run_folder.read_json(sweep / "slurm" / "000.json")["job"])
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, out + err
    assert _statuses(sweep) == ["interrupted"] * 3
    steps = [
        max((r["step"] for r in run_folder.read_metrics(c)), default=0)
        for c in run_folder.cells(sweep)
    ]
    assert min(steps[:2]) > 0
    done = real("sweep", "resume", str(sweep))
    assert done.returncode == 0, done.stdout + done.stderr
    assert _statuses(sweep) == ["finished"] * 3
    logs = [(cell / run_folder.LOG).read_text() for cell in run_folder.cells(sweep)]
    assert ["going on after" in log for log in logs] == [True, True, False]


def test_near_its_time_limit_a_task_is_started_again_and_no_other(real: Genai) -> None:
    """The task whose number is that of the array: a request for that number is one for all tasks.

    A job that is requeued starts again some seconds later, as the node refuses it before
    ("Job credential revoked"), which ends it: nothing here brings its start forward.
    """
    words = ("train", "-m", "bottleneck=2,3", "model=vae", "dataset.limit=640", "device=cpu",
             "epochs=300", *LAUNCHER)  # fmt: skip
    process = real.start(*words)
    _wait(lambda: list(real.place.glob("outputs/*/*/slurm/000.json")))
    (sweep,) = real.folders
    _wait(lambda: run_folder.read_json(sweep / "slurm" / "000.json")["job"])
    array = run_folder.read_json(sweep / "slurm" / "000.json")["job"]

    def tasks(column: str) -> list[list[str]]:
        columns = f"ArrayTaskID:9,{column}:19"
        rows = real.slurm("squeue", "-h", "-r", "-t", "all", "-j", array, "-O", columns)
        return sorted(row.split() for row in rows.splitlines())

    _wait(lambda: "PENDING" not in str(tasks("State")))
    (task,) = (int(task) for task, number in tasks("JobID") if number == array)
    _wait(lambda: run_folder.read_metrics(run_folder.cells(sweep)[task]))
    real.slurm("scancel", "--batch", "--signal=USR1", f"{array}_{task}")  # as at the limit
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert _statuses(sweep) == ["finished"] * 2
    assert tasks("RestartCnt") == [[str(i), str(int(i == task))] for i in range(2)]
    assert "going on after" in (run_folder.cells(sweep)[task] / run_folder.LOG).read_text()
    assert "started again when it can" in (sweep / "slurm" / f"{array}_{task}.log").read_text()


def test_a_run_over_two_nodes_has_the_losses_of_one_process(real: Genai, named_nodes: None) -> None:
    words = ("train", "epochs=3", "dataset.limit=250", "device=cpu")
    done = real(*words, *LAUNCHER, "hydra.launcher.nodes=2", "trainer.devices=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_folder.read_json(real.folders[0] / run_folder.RUN)["devices"] == 2
    assert real(*words).returncode == 0
    both = [run_folder.read_metrics(folder) for folder in real.folders]
    for column in ("train/loss", "val/loss"):
        values = [[row[column] for row in rows] for rows in both]
        assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_more_cells_than_the_cluster_takes_in_an_array(real: Genai) -> None:
    words = ("-m", "bottleneck=range(2,17)", "trainer.max_steps=1", *QUICK)
    done = real("train", *words, *LAUNCHER, "hydra.launcher.parallel=2")
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = real.folders
    assert _statuses(sweep) == ["finished"] * 15
    sheets = [run_folder.read_json(path) for path in sorted((sweep / "slurm").glob("*.json"))]
    assert [len(sheet["jobs"]) for sheet in sheets] == [13, 2]
    first, second = (sheet["job"] for sheet in sheets)
    assert f"slurm  jobs {first} {second}, 15 tasks" in done.stdout
    assert f"#SBATCH --dependency=afterany:{first}\n" in (sweep / "slurm" / "001.sh").read_text()
    described = [run_folder.read_json(cell / run_folder.RUN) for cell in run_folder.cells(sweep)]
    assert {(d["threads"], d["device"][:3]) for d in described} == {(1, "cpu")}


def test_an_sbatch_that_is_cut_off_is_found_in_the_queue(real: Genai) -> None:
    real_one = shutil.which("sbatch")
    (real.place / "bin").mkdir()
    slow = real.place / "bin" / "sbatch"  # hands the job in, and says what a busy controller does
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *test-only*) exec {real_one} "$@";; esac\n'
        f'{real_one} "$@" >/dev/null\n'
        "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1\n"
    )
    slow.chmod(0o755)
    real.environment["PATH"] = f"{real.place / 'bin'}:{os.environ['PATH']}"
    done = real("train", "epochs=1", *QUICK, *LAUNCHER)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = real.folders
    number = run_folder.read_json(folder / "slurm" / "000.json")["job"]
    assert f"slurm  job {number}, one task" in done.stdout
    assert run_folder.read_json(folder / run_folder.RUN)["status"] == "finished"
