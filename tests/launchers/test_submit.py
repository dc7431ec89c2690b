"""What is handed in to Slurm: never twice, cut where it is too long, decided where it will run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from genai_cli.errors import UserError
from genai_cli.launchers import job, queue, submit
from genai_cli.launchers.settings import Slurm
from genai_cli.runner.lifecycle import set_status
from genai_cli.store import run_folder
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("epochs=1", "dataset.limit=64")
SLURM = ("hydra/launcher=slurm", "hydra.launcher.wait=false")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm(tmp_path / "bin", monkeypatch)


def _sheets(folder: Path) -> list[dict]:
    return [run_folder.read_json(path) for path in sorted((folder / "slurm").glob("*.json"))]


def _statuses(sweep: Path) -> list[str]:
    return [
        run_folder.read_json(cell / run_folder.RUN)["status"] for cell in run_folder.cells(sweep)
    ]


# ---- an sbatch that does not answer ---------------------------------------------------------


def test_a_job_that_sbatch_did_not_name_is_found_by_its_own(
    genai: Callable, slurm: FakeSlurm
) -> None:
    slurm.mute.add("sbatch")
    done = genai("train", "-m", "bottleneck=2,3", *QUICK, *SLURM)
    assert (done.code, done.err) == (0, "")
    assert "slurm  job 11, 2 tasks" in done.out
    (sheet,) = _sheets(done.folders[0])
    assert sheet["job"] == "11"
    assert f"--job-name={sheet['name']}\n" in slurm.scripts["11"]
    assert len(slurm.scripts) == 1


def test_a_job_that_comes_late_is_not_submitted_again(genai: Callable, slurm: FakeSlurm) -> None:
    slurm.mute.add("sbatch")
    slurm.hidden = True
    done = genai("train", "-m", "bottleneck=2,3", *QUICK, *SLURM)
    assert done.code == 1
    assert done.err.count("\n") == 1
    (sweep,) = done.folders
    (sheet,) = _sheets(sweep)
    assert sheet["job"] is None
    assert f"squeue --name={sheet['name']}" in done.err
    slurm.mute.clear()
    slurm.hidden = False
    again = genai("sweep", "resume", str(sweep))
    assert (again.code, len(slurm.scripts)) == (0, 1)
    assert "2 of 2 runs are in Slurm's queue: job 11" in again.out
    assert _sheets(sweep)[0]["job"] == "11"


@pytest.mark.parametrize(
    ("said", "doubt"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", 1),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", 1),
        ("sbatch: error: Batch job submission failed: Invalid account specified", 0),
    ],
)
def test_what_sbatch_says_is_a_refusal_or_no_answer(
    said: str, doubt: int, slurm: FakeSlurm
) -> None:
    slurm.refuses = said
    with pytest.raises(queue.Unanswered if doubt else queue.Refused, match=re.escape(said)):
        queue.submit("#!/bin/sh\n", "genai-x")
    assert ("squeue" in " ".join(slurm.asked)) == bool(doubt)


def test_a_command_that_hangs_is_no_answer_and_one_that_is_missing_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "TIMEOUT_SECONDS", 0.05)
    assert queue._run(["sleep", "5"]) is None
    assert queue._run(["no-such-command"]).returncode == 127
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(queue.Refused, match="sbatch: No such file"):
        queue.submit("", "genai-x")
    assert queue.read_states("1") is None
    assert queue.read_max_array_size() == 1001


def test_a_queue_that_does_not_answer_is_not_an_empty_one(
    genai: Callable, slurm: FakeSlurm
) -> None:
    (sweep,) = genai("train", "-m", "bottleneck=2,3", *QUICK, *SLURM).folders
    before = [(cell / run_folder.RUN).read_text() for cell in run_folder.cells(sweep)]
    slurm.mute.add("squeue")
    done = genai("sweep", "resume", str(sweep), "hydra/launcher=serial")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "squeue does not answer for job 11" in done.err
    assert [(cell / run_folder.RUN).read_text() for cell in run_folder.cells(sweep)] == before


def test_who_knows_that_a_job_is_over_goes_on_without_an_answer(
    genai: Callable, slurm: FakeSlurm
) -> None:
    (run,) = genai("train", *QUICK, *SLURM).folders
    slurm.mute.add("squeue")
    done = genai("resume", str(run))
    sheet = run / "slurm" / "000.json"
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.endswith(f"if you know that the job is over type first: rm {sheet}\n")
    sheet.unlink()
    assert genai("resume", str(run)).code == 0


def test_a_copy_where_there_is_no_slurm_is_resumed(
    genai: Callable, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = genai("train", *QUICK, *SLURM).folders
    asked = len(slurm.asked)
    monkeypatch.setenv("PATH", "/nowhere")
    done = genai("resume", str(run))
    assert (done.code, len(slurm.asked)) == (0, asked)
    assert done.err == f"note: no Slurm here: no job of {run / 'slurm'} is looked for\n"
    assert run_folder.read_json(run / run_folder.RUN)["status"] == "finished"


def test_a_sheet_that_was_removed_gives_its_number_to_no_other(
    genai: Callable, slurm: FakeSlurm
) -> None:
    (sweep,) = genai("train", "-m", "bottleneck=2,3", *QUICK, *SLURM).folders
    for number in ("11", "12"):
        slurm.states[number] = "CANCELLED"
        assert genai("sweep", "resume", str(sweep)).code == 0
        (sweep / "slurm" / "000.json").unlink(missing_ok=True)
    assert [p.name for p in sorted((sweep / "slurm").glob("*.json"))] == ["001.json", "002.json"]
    assert [sheet["job"] for sheet in _sheets(sweep)] == ["12", "13"]


def test_a_run_that_is_queued_is_not_resumed_beside_its_job(
    genai: Callable, slurm: FakeSlurm
) -> None:
    (run,) = genai("train", *QUICK, *SLURM).folders
    before = (run / run_folder.RUN).read_text()
    done = genai("resume", str(run))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is in Slurm's queue, job 11; wait for it, or type first: scancel 11" in done.err
    assert (run / run_folder.RUN).read_text() == before
    slurm.states["11"] = "CANCELLED"
    done = genai("resume", str(run))
    assert (done.code, done.err) == (0, "")
    assert "not bit-equal" not in done.out  # it had not begun anywhere
    described = run_folder.read_json(run / run_folder.RUN)
    assert (described["status"], described["threads"]) == ("finished", 1)


def test_a_refusal_leaves_cells_to_be_resumed(genai: Callable, slurm: FakeSlurm) -> None:
    (sweep,) = genai("train", "-m", "bottleneck=2,3", *QUICK, *SLURM).folders
    slurm.states["11"] = "CANCELLED"
    for cell in run_folder.cells(sweep):
        (cell / run_folder.LOG).touch()  # begun
    slurm.limit = 2  # and those are in the queue, says the association
    done = genai("sweep", "resume", str(sweep))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "AssocMaxSubmitJobLimit" in done.err
    assert _statuses(sweep) == ["interrupted"] * 2
    assert len(_sheets(sweep)) == 1


# ---- long arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [None, 2])
def test_more_cells_than_an_array_has_tasks(
    parallel: int | None, genai: Callable, slurm: FakeSlurm
) -> None:
    slurm.longest = 2
    limit = (f"hydra.launcher.parallel={parallel}",) if parallel else ()
    done = genai("train", "-m", "bottleneck=2,3,4,5,6", *QUICK, *SLURM, *limit)
    assert (done.code, done.err) == (0, "")
    (sweep,) = done.folders
    assert "slurm  jobs 11 12 13, 5 tasks" in done.out
    assert "squeue -j 11,12,13" in done.out
    names = [cell.name for cell in run_folder.cells(sweep)]
    jobs = [names[:2], names[2:4], names[4:]]
    assert [[n for (n,) in sheet["jobs"]] for sheet in _sheets(sweep)] == jobs
    arrays = [script.partition("--array=")[2][:3] for script in slurm.scripts.values()]
    assert arrays == ["0-1", "0-1", ""]
    waits = [s.partition("--dependency=")[2].split("\n")[0] for s in slurm.scripts.values()]
    assert waits == (["", "afterany:11", "afterany:12"] if parallel else [""] * 3)


def test_tasks_of_all_arrays_are_waited_for(
    genai: Callable, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.launchers import slurm as waiting

    monkeypatch.setattr(waiting, "FIRST", 0.0)
    monkeypatch.setattr(waiting, "LATE", 0.0)
    slurm.longest = 2
    take = submit.submit

    def taken(folder: Path, *more: object) -> submit.Submitted:
        found = take(folder, *more)
        for cell in run_folder.cells(folder)[:2]:
            (cell / run_folder.LOG).touch()
            set_status(cell, "finished")
        slurm.states |= {"11": "COMPLETED", "12": "NODE_FAIL"}
        return found

    monkeypatch.setattr(waiting, "submit", taken)
    done = genai("train", "-m", "bottleneck=2,3,4,5", *QUICK, SLURM[0])
    assert done.code == 1
    (sweep,) = done.folders
    assert _statuses(sweep) == ["finished"] * 2 + ["failed"] * 2
    assert (
        "its Slurm job 12_1: NODE_FAIL" in (run_folder.cells(sweep)[3] / run_folder.LOG).read_text()
    )


def test_as_many_as_slurm_takes_are_handed_in_and_the_rest_is_told(
    genai: Callable, slurm: FakeSlurm
) -> None:
    slurm.limit = 5
    values = ",".join(map(str, range(2, 10)))
    done = genai("train", "-m", f"bottleneck={values}", *QUICK, *SLURM)
    (sweep,) = done.folders
    assert done.code == 0
    assert sum(map(slurm.tasks, slurm.scripts)) == 5
    assert "3 of 8 jobs were not taken: sbatch refused the job" in done.err
    assert f"genai sweep resume outputs/{sweep.parent.name}/{sweep.name}\n" in done.err
    assert _statuses(sweep) == ["running"] * 5 + ["interrupted"] * 3
    assert [s["job"] for s in _sheets(sweep)] == list(slurm.scripts)
    slurm.limit = None
    done = genai("sweep", "resume", str(sweep))
    assert sum(map(slurm.tasks, slurm.scripts)) == 8
    assert _statuses(sweep) == ["running"] * 8


def test_the_longest_array_is_what_scontrol_says(slurm: FakeSlurm) -> None:
    slurm.longest = 40_000
    assert queue.read_max_array_size() == 40_000
    slurm.mute.add("scontrol")
    assert queue.read_max_array_size() == 1001


# ---- what the login node does not have -------------------------------------------------------


def test_a_gpu_that_the_node_has_is_not_missed_here(genai: Callable, slurm: FakeSlurm) -> None:
    words = ("device=cuda", "trainer.step=graph", *QUICK, *SLURM)
    done = genai("train", *words, "hydra.launcher.gpus=1")
    assert (done.code, done.err) == (0, "")
    described = run_folder.read_json(done.folders[0] / run_folder.RUN)
    assert [described[k] for k in ("device", "threads", "step_kind")] == [None] * 3
    for more, said in (
        (("device=cuda",), "hydra.launcher.gpus=0 asks for none; set hydra.launcher.gpus=1"),
        (("device=cuda:1", "hydra.launcher.gpus=1"), "gives a run cuda:0 to cuda:0"),
        (("device=mps",), "no Apple GPU"),
        (("device=cpu", "hydra.launcher.gpus=1"), "CUDA graphs need a CUDA device"),
    ):
        done = genai("train", *words[1:], *more)
        assert (done.code, done.err.count("\n"), len(done.folders)) == (2, 1, 1), done.err
        assert said in done.err


def test_a_job_writes_what_it_finds_and_a_requeued_one_keeps_to_it(
    genai: Callable, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = genai("train", "-m", "bottleneck=2,3", *QUICK, *SLURM)
    sweep = done.folders[0]
    cell = run_folder.cells(sweep)[1]
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    sheet = sweep / "slurm" / "000.json"
    assert job.main(str(sheet)) == 0
    described = run_folder.read_json(cell / run_folder.RUN)
    assert described["device"].startswith("cpu")
    assert (described["threads"], described["step_kind"]) == (1, "eager")
    changed = {"threads": 2, "step_kind": "eager", "device": "cuda NVIDIA Ancient"}
    atomic_write.write_json(
        cell / run_folder.RUN, described | changed
    )  # as an earlier node had written
    text = (cell / run_folder.CONFIG).read_text()
    (cell / run_folder.CONFIG).write_text(text.replace("epochs: 1", "epochs: 2"))
    assert job.main(str(sheet)) == 0
    now = run_folder.read_json(cell / run_folder.RUN)
    assert now["threads"] == 2
    assert now["device"] == described["device"]
    log = (cell / run_folder.LOG).read_text()
    assert "device cuda NVIDIA Ancient → cpu" in log
    assert now["resumed"][-1]["was"]["device"] == "cuda NVIDIA Ancient"


def test_cells_that_were_written_here_are_counted_anew_on_a_node(
    genai: Callable, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.launchers import serial

    with monkeypatch.context() as patched:
        patched.setattr(serial, "train_job", lambda *a, **k: 0)
        (sweep,) = genai("train", "-m", "bottleneck=2,3", *QUICK).folders
    cells = run_folder.cells(sweep)
    assert all(run_folder.read_json(cell / run_folder.RUN)["device"] for cell in cells)
    (cells[0] / run_folder.LOG).touch()  # begun: it goes on with its threads
    assert genai("sweep", "resume", str(sweep), *SLURM).code == 0
    threads = [run_folder.read_json(cell / run_folder.RUN)["threads"] for cell in cells]
    devices = [run_folder.read_json(cell / run_folder.RUN)["device"] for cell in cells]
    assert (threads, devices[1]) == ([1, None], None)
    assert devices[0]


# ---- ranks ---------------------------------------------------------------------------------


def test_cpus_of_a_job_are_shared_by_its_ranks(genai: Callable, slurm: FakeSlurm) -> None:
    words = (*QUICK, *SLURM, "device=cpu", "hydra.launcher.cpus=6", "trainer.devices=2")
    assert genai("train", *words).code == 0
    assert "export OMP_NUM_THREADS=3\n" in slurm.scripts["11"]
    assert genai("train", *words, "hydra.launcher.nodes=2").code == 0
    assert "export OMP_NUM_THREADS=6\n" in slurm.scripts["12"]
    assert "--nnodes=2 --nproc-per-node=1" in slurm.scripts["12"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("hydra.launcher.nodes=2", "set trainer.devices=2"),
        ("hydra.launcher.nodes=2 hydra.launcher.gpus=4 trainer.devices=3", "trainer.devices=8"),
        ("trainer.devices=2 device=cpu", "set hydra.launcher.cpus=2"),
        ("trainer.devices=4 hydra.launcher.cpus=4 hydra.launcher.gpus=2", "launcher.gpus=4"),
        ("hydra.launcher.nodes=2 hydra.launcher.cpus=2 -m trainer.devices=2,4", "one number"),
        ("hydra.launcher.nodes=2 trainer.devices=2 batch_size=1", "raise batch_size"),
        (
            "hydra.launcher.nodes=2 trainer.devices=2 hydra.launcher.gpus=1 trainer.step=graph",
            "the step of one device",
        ),
    ],
)
def test_what_ranks_on_nodes_cannot_be_is_one_line(
    typed: str, said: str, genai: Callable, slurm: FakeSlurm
) -> None:
    done = genai("train", *typed.split(" "), *QUICK, *SLURM)
    assert (done.code, done.err.count("\n"), done.outputs.exists()) == (2, 1, False), done.err
    assert said in done.err


def test_names_of_the_queue_are_one_line_each(genai: Callable, slurm: FakeSlurm) -> None:
    done = genai("train", *SLURM, 'hydra.launcher.partition="a\\n#SBATCH --uid=0"')
    assert (done.code, done.outputs.exists()) == (2, False)
    assert "hydra.launcher.partition='a\\n#SBATCH --uid=0' is not allowed" in done.err
    for key in ("partition", "account", "qos", "constraint"):
        with pytest.raises(UserError, match=rf"hydra\.launcher\.{key}=.*one line of text"):
            Slurm(**{key: "a\nb"})


def test_a_script_of_the_shell_is_one_the_shell_reads(genai: Callable, slurm: FakeSlurm) -> None:
    genai("train", *SLURM, *QUICK)
    checked = subprocess.run(["bash", "-n"], input=slurm.scripts["11"], text=True, check=False)
    assert checked.returncode == 0
