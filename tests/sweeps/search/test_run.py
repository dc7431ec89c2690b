"""`genai train -m sweep=tpe` and random: whole searches, their resume, their mistakes."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("dataset.limit=64", "model.widths=[8]", "epochs=2")
SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "bottleneck=range(2,9)")
LINE = ("train", "-m", "sweep=random", "sweep.trials=5", *QUICK, *SPACE)


def asked(sweep: Path) -> dict:
    return yaml.safe_load((sweep / run_folder.SWEEP).read_text())


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from genai_cli.cli.front_door import main

    outputs = tmp_path_factory.mktemp("random")
    assert main([*LINE, f"outputs={outputs}"]) == 0
    return next(outputs.glob("*/*"))


def test_a_search_is_a_sweep_folder(random: Path) -> None:
    content = asked(random)
    assert [c["folder"][:3] for c in content["cells"]] == ["000", "001", "002", "003", "004"]
    assert content["varied"] == ["optimizer.lr", "bottleneck"]
    cells = run_folder.cells(random)
    assert [c.name for c in cells] == [c["folder"] for c in content["cells"]]
    for cell, entry in zip(cells, content["cells"], strict=True):
        config = run_folder.read_config(cell)
        given = dict(word.split("=", 1) for word in entry["overrides"])
        assert config["optimizer"]["lr"] == float(given["optimizer.lr"])
        assert config["bottleneck"] == int(given["bottleneck"])
        assert 1e-4 <= config["optimizer"]["lr"] <= 1e-1
        assert 2 <= config["bottleneck"] <= 8
    with open(random / run_folder.SWEEP_TABLE, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 5
    assert {"optimizer.lr", "bottleneck", "test/loss"} <= set(rows[0])
    assert (random / "search.png").stat().st_size > 10_000


def test_the_best_trial_is_the_one_with_the_least_monitor(random: Path) -> None:
    losses = {
        c.name: min(r["val/loss"] for r in run_folder.read_metrics(c))
        for c in run_folder.cells(random)
    }
    best = asked(random)["best"]
    assert best["cell"] == min(losses, key=lambda name: losses[name])
    assert best["value"] == losses[best["cell"]]
    config = run_folder.read_config(random / best["cell"])
    assert float(best["values"]["optimizer.lr"]) == config["optimizer"]["lr"]


def killed(sweep: Path, after: int) -> Path:
    """A copy of a search as one leaves it that is killed in the trial number ``after``."""
    copy = Path("copy") / "day" / sweep.name
    shutil.copytree(sweep, copy)
    content = asked(copy)
    for cell in content["cells"][after + 1 :]:
        shutil.rmtree(copy / cell["folder"])
    content["cells"] = content["cells"][: after + 1]
    (copy / run_folder.SWEEP).write_text(yaml.safe_dump(content, sort_keys=False))
    cell = copy / content["cells"][after]["folder"]
    (cell / run_folder.METRICS).unlink()
    (cell / run_folder.SUMMARY).unlink()
    for checkpoint in (cell / run_folder.CHECKPOINTS).glob("*"):
        if checkpoint.name != "step-000000":
            shutil.rmtree(checkpoint) if checkpoint.is_dir() else checkpoint.unlink()
    described = run_folder.read_json(cell / run_folder.RUN)
    atomic_write.write_json(cell / run_folder.RUN, described | {"status": "running"})
    return copy


def test_a_killed_search_goes_on_as_if_nothing_had_happened(random: Path, genai: Callable) -> None:
    copy = killed(random, 2)
    done = genai("sweep", "resume", str(copy))
    assert done.code == 0, done.err
    assert [c.name for c in run_folder.cells(copy)] == [c.name for c in run_folder.cells(random)]
    for a, b in zip(run_folder.cells(copy), run_folder.cells(random), strict=True):
        rows = [[r["val/loss"] for r in run_folder.read_metrics(c)] for c in (a, b)]
        assert rows[0] == rows[1]
    assert asked(copy)["best"] == asked(random)["best"]
    again = genai("sweep", "resume", str(copy))
    assert (again.code, len(run_folder.cells(copy))) == (0, 5)


def test_a_trial_of_another_process_is_waited_for_by_the_user(
    random: Path, genai: Callable
) -> None:
    """What comes next hangs on how it ends: nothing is placed, nothing is written."""
    copy = killed(random, 2)
    cell = run_folder.cells(copy)[2]
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    with open(cell / run_folder.LOG, "a") as log:
        assert lock(log.fileno())
        done = genai("sweep", "resume", str(copy))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{cell} is being trained by another process; when it has ended" in done.err
    assert f"genai sweep resume {copy}" in done.err
    assert {p: p.read_bytes() for p in before} == before
    assert len(run_folder.cells(copy)) == 3


def test_a_changed_yaml_is_not_mixed_into_a_search(
    random: Path, genai: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = killed(random, 2)
    own = tmp_path / "own" / "configs" / "optimizer"
    own.mkdir(parents=True)
    (own / "adam.yaml").write_text(
        "name: adam\nlr: 1e-3\nbetas: [0.5, 0.999]\neps: 1e-8\nweight_decay: 0.0\n"
    )
    monkeypatch.setenv("GENAI_PATH", str(tmp_path / "own"))
    done = genai("sweep", "resume", str(copy))
    assert done.code == 2
    assert "optimizer.betas" in done.err
    assert "put it back" in done.err


@pytest.mark.slow
def test_tpe_prunes_and_beats_what_it_began_with(genai: Callable) -> None:
    pytest.importorskip("optuna")
    done = genai(
        "train", "-m", "sweep=tpe", "sweep.trials=12", "sweep.startup=3", "sweep.prune_after=1",
        "dataset.limit=128", "model.widths=[16]", "epochs=4", "model=autoencoder",
        "optimizer.lr=tag(log,interval(1e-5,1e-1))", "bottleneck=8", "batch_size=16",
    )  # fmt: skip
    assert done.code == 0, done.err
    (sweep,) = done.folders
    cells = run_folder.cells(sweep)
    assert len(cells) == 12
    described = [run_folder.read_json(c / run_folder.RUN) for c in cells]
    pruned = [str(d.get("reason", "")).startswith("pruned") for d in described]
    assert not any(pruned[:3])
    assert any(pruned)
    best = asked(sweep)["best"]
    losses = [min(r["val/loss"] for r in run_folder.read_metrics(c)) for c in cells]
    assert best["value"] == min(losses) < min(losses[:3])
    assert f"best   {best['cell']}: val/loss" in done.out
    assert f"12 trials, {sum(pruned)} of them pruned" in done.out


def test_a_failing_trial_is_one_of_the_trials(genai: Callable) -> None:
    done = genai(
        "train", "-m", "sweep=random", "sweep.trials=4", "dataset.limit=64", "epochs=3",
        "model.widths=[8]", "bottleneck=2", "optimizer=sgd", "batch_size=8",
        "optimizer.lr=1e-4,1e18",
    )  # fmt: skip
    assert done.code == 1
    assert "there are 2 combinations, not 4" in done.err
    (sweep,) = done.folders
    status = {
        c.name: run_folder.read_json(c / run_folder.RUN)["status"] for c in run_folder.cells(sweep)
    }
    assert sorted(status.values()) == ["failed", "finished"]
    assert "1 of 2 runs failed" in done.err
    assert status[asked(sweep)["best"]["cell"]] == "finished"


def test_what_cannot_be_built_is_left_out_and_listed(genai: Callable) -> None:
    """Corners are checked first; what shows only between them costs its trial alone."""
    done = genai(
        "train", "-m", "sweep=random", "sweep.trials=4", "dataset.limit=64", "epochs=1",
        "model.widths=[8]", "bottleneck=2", "batch_size=2,8", "trainer.accumulate=2,8",
        "loss=gaussian", "loss.sigma=learned", "sweep.prune=none",
    )  # fmt: skip
    assert done.code == 0, done.err
    (sweep,) = done.folders
    assert len(run_folder.cells(sweep)) == 3
    (left_out,) = asked(sweep)["left_out"]
    assert left_out["values"] == {"batch_size": "2", "trainer.accumulate": "8"}
    assert "left out: cell batch_size=2 trainer.accumulate=8" in done.err


MISTAKES = [
    (["bottleneck=8"], "needs something to choose from"),
    (["bottleneck=interval(1,9)"], "cell bottleneck=1.0: bottleneck=1.0 is not allowed"),
    (["model.beta=interval(0,1)"], "set monitor=val/reconstruction"),
    (["loss=gaussian", "loss.sigma=learned,optimal"], "cannot vary loss"),
    (["split_seed=1,2"], "cannot vary split_seed"),
    (["seed=1,2", "sweep.rungs=[1]"], "says nothing to search=random"),
    (["seed=1,2", "sweep.trials=0"], "sweep.trials=0"),
    (["seed=1,2", "sweep.prune=hyperband"], "none, median, asha"),
    (["seed=1,2", "sweep.search=bayes"], "grid, random, tpe, halving"),
    (["model=gan", "seed=1,2"], "a search follows the monitor"),
    (["seed=1,2", "optimizer.lr=interval(-1,1)"], "optimizer.lr=-1"),
]


def test_mistakes(genai: Callable) -> None:
    for words, said in MISTAKES:
        done = genai("train", "-m", "sweep=random", "dataset.limit=64", *words)
        assert done.code == 2, words
        assert said in done.err
        assert len(done.err.strip().splitlines()) == 1, done.err
        assert not done.outputs.exists(), words


def test_tpe_without_optuna_names_the_extra(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "optuna" else real(n, *a)
    )
    done = genai("train", "-m", "sweep=tpe", "bottleneck=range(2,9)")
    assert done.code == 2
    assert "pip install 'genai-cli[optuna]'" in done.err
    assert not done.outputs.exists()


@pytest.mark.slow
def test_several_trials_at_once_in_processes_of_this_machine(genai: Callable) -> None:
    """Processes of their own prune by the same folders; the search goes on after each round."""
    pytest.importorskip("optuna")
    done = genai(
        "train", "-m", "sweep=tpe", "sweep.trials=5", "sweep.parallel=2", "sweep.startup=2",
        "sweep.prune_after=1", "hydra/launcher=processes", *QUICK, *SPACE,
    )  # fmt: skip
    assert done.code == 0, done.err
    (sweep,) = done.folders
    assert "5 trials, 2 at once" in done.out
    states = [run_folder.read_json(c / run_folder.RUN)["status"] for c in run_folder.cells(sweep)]
    assert len(states) == 5
    assert set(states) <= {"finished", "stopped"}


def test_as_many_trials_at_once_as_the_launcher_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from genai_cli.config.schema import TrainConfig, TrainerConfig
    from genai_cli.launchers import share
    from genai_cli.launchers.settings import Processes, Serial, Slurm
    from genai_cli.sweeps.search.placed import count_parallel_trials

    monkeypatch.setattr(share, "cores", lambda: 8)
    cfg = TrainConfig(device="cpu")
    threaded = TrainConfig(device="cpu", trainer=TrainerConfig(threads=4))
    assert count_parallel_trials(Serial(), [cfg]) == 1
    assert count_parallel_trials(Processes(), [cfg]) == 8
    assert count_parallel_trials(Processes(workers=3), [cfg]) == 3
    assert count_parallel_trials(Processes(), [threaded]) == 2
    assert count_parallel_trials(Slurm(parallel=16), [cfg]) == 16


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep=random", *SPACE], "planned are the 2 corners of its space"),
        (["sweep=halving", "sweep.rungs=[1,2]", "bottleneck=2,4"], "all to the last rung"),
    ],
)
def test_what_a_search_would_be_planned_as(words: list[str], said: str) -> None:
    from genai_cli.config import groups
    from genai_cli.config.compose import parse_line
    from genai_cli.launchers.settings import Serial
    from genai_cli.sweeps.search.launch import plan_cells
    from genai_cli.sweeps.settings import Sweep

    line = parse_line(["-m", *words])
    sweep = groups.read_settings("sweep", Sweep, "none", line.sweep, line.config_dirs)
    cells, told = plan_cells(line, sweep, Serial())
    assert said in told
    assert len(cells) == 2
    assert all(cell.swept for cell, _ in cells)
