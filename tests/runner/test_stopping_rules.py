"""Pruning: the rules against Optuna's and by hand; the file that stops a run."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable

import pytest
import yaml

from genai_cli.runner.stopping_rules import Rule, decides_at, pruning_bar, read_rule
from genai_cli.store import run_folder
from genai_cli.store.trials import FINISHED, PRUNED, RUNNING, Trial
from genai_cli.system import atomic_write
from genai_cli.training.state import Training

pytestmark = pytest.mark.usefixtures("undrawn")

MEDIAN = Rule("median", after=2, startup=3, keep=0.33)
ASHA = Rule("asha", after=3, startup=3, keep=1 / 3)
QUICK = ("dataset.limit=64", "model.widths=[8]", "bottleneck=2")


def trial(state: str, values: list[float]) -> Trial:
    return Trial("", {}, state, dict(enumerate(values, 1)))


def test_the_median_decides_as_optunas() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draws = random.Random(0)
    decided = []
    for _ in range(60):
        states = [draws.choice([FINISHED, FINISHED, PRUNED, RUNNING]) for _ in range(8)]
        others = [trial(s, [draws.gauss(0, 1) for _ in range(draws.randint(2, 6))]) for s in states]
        own = [draws.gauss(0.3, 1) for _ in range(draws.randint(1, 6))]
        pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)
        study = optuna.create_study(pruner=pruner)
        kinds = {
            FINISHED: optuna.trial.TrialState.COMPLETE,
            PRUNED: optuna.trial.TrialState.PRUNED,
            RUNNING: optuna.trial.TrialState.RUNNING,
        }
        for other in others:
            value = other.curve[len(other.curve)] if other.state != RUNNING else None
            study.add_trial(
                optuna.trial.create_trial(
                    state=kinds[other.state],
                    value=value,
                    intermediate_values=dict(other.curve),
                )
            )
        asked = study.ask()
        for epoch, value in enumerate(own, 1):
            asked.report(value, epoch)
        ours = pruning_bar(MEDIAN, len(own), own[-1], min(own), others) is not None
        assert ours == asked.should_prune()
        decided.append(ours)
    assert 10 < sum(decided) < 50  # neither rule is idle


def test_asha_keeps_the_best_third_of_those_that_came() -> None:
    assert [e for e in range(1, 82) if decides_at(ASHA, e)] == [3, 9, 27, 81]
    others = [trial(RUNNING, [9, 9, v]) for v in (5.0, 4.0, 3.0, 2.0, 1.0)]
    assert pruning_bar(ASHA, 3, 2.5, 2.5, others) == ("best 33% of 6 runs", 2.0)
    assert pruning_bar(ASHA, 3, 1.5, 1.5, others) is None
    assert pruning_bar(ASHA, 4, 9.0, 9.0, others) is None  # no rung
    assert pruning_bar(ASHA, 3, 9.0, 9.0, others[:1]) is None  # two say nothing about a third


def test_asha_counts_pruned_runs_at_the_rungs_they_reached() -> None:
    others = [trial(PRUNED, [9, 9, 1.0]), trial(PRUNED, [9, 9, 2.0]), trial(FINISHED, [9, 9])]
    assert pruning_bar(ASHA, 3, 1.5, 1.5, others) == ("best 33% of 3 runs", 1.0)


def test_a_file_stops_a_run_and_resume_goes_on(genai: Callable) -> None:
    done = genai("train", "epochs=2", *QUICK)
    (run,) = done.folders
    (run / "stop").write_text("I have seen enough\nsecond line\n")
    again = genai("resume", str(run), "epochs=9")
    assert again.code == 0
    described = run_folder.read_json(run / run_folder.RUN)
    assert described["status"] == "stopped"
    assert described["reason"] == "asked to stop: I have seen enough"
    assert "stopped early: asked to stop: I have seen enough" in again.out
    assert [row["epoch"] for row in run_folder.read_metrics(run)] == [1, 2, 3]
    assert run_folder.read_json(run / run_folder.SUMMARY)["status"] == "stopped"
    assert not (run / "stop").exists()
    last = genai("resume", str(run))
    assert last.code == 0
    assert "note: it was asked to stop" in last.out
    assert len(run_folder.read_metrics(run)) == 9
    assert "reason" not in run_folder.read_json(run / run_folder.RUN)


def test_any_sweep_prunes_if_it_is_asked_to(genai: Callable) -> None:
    """The finished cells have good learning rates; the last one hardly moves."""
    lrs = "optimizer.lr=1e-2,1.1e-2,1.2e-2,1e-6"
    done = genai(
        "train", "-m", lrs, "epochs=4", *QUICK,
        "sweep.prune=median", "sweep.prune_after=2", "sweep.startup=3",
    )  # fmt: skip
    assert done.code == 0
    (sweep,) = done.folders
    cells = run_folder.cells(sweep)
    described = [run_folder.read_json(c / run_folder.RUN) for c in cells]
    assert [d["status"] for d in described] == ["finished"] * 3 + ["stopped"]
    assert described[3]["reason"].startswith("pruned at epoch 2: val/loss ")
    assert "median of 3 finished runs" in described[3]["reason"]
    assert [len(run_folder.read_metrics(c)) for c in cells] == [4, 4, 4, 2]
    assert (cells[3] / "summary.json").exists()  # as of any run that stopped early
    assert read_rule(sweep) == Rule("median", 2, 3, 0.33)
    with open(sweep / run_folder.SWEEP_TABLE, newline="") as file:
        notes = [row["note"] for row in csv.DictReader(file)]
    assert notes == ["", "", "", described[3]["reason"]]

    # a user who wants to know goes on with it
    again = genai("resume", str(cells[3]))
    assert again.code == 0
    assert "note: it was pruned" in again.out
    assert len(run_folder.read_metrics(cells[3])) == 4


@pytest.mark.parametrize("moment", ["before its checkpoint", "after its checkpoint"])
def test_a_run_killed_as_it_is_pruned_ends_where_it_was_pruned(
    moment: str, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner.run import run as train
    from genai_cli.training.saving import Saver

    save = Saver.epoch

    def killed(self: Saver, state: Training, best: bool) -> None:
        if moment == "after its checkpoint" or state.epoch < 2:
            save(self, state, best)
        if state.epoch == 2:
            raise SystemExit(9)

    words = ("optimizer.lr=1e-2,1e-6", "epochs=4", "trainer.save_every=1", *QUICK)
    words = (*words, "sweep.prune=median", "sweep.prune_after=2", "sweep.startup=1")
    (sweep,) = genai("train", "-m", *words).folders
    cell = run_folder.cells(sweep)[1]
    before = [{**row, "seconds": 0} for row in run_folder.read_metrics(cell)]
    assert [row["epoch"] for row in before] == [1, 2]
    shutil.rmtree(cell / run_folder.CHECKPOINTS)
    (cell / run_folder.CHECKPOINTS).mkdir()
    described = run_folder.read_json(cell / run_folder.RUN)
    cut = {k: v for k, v in described.items() if k not in ("reason", "reason_epoch")}
    atomic_write.write_json(cell / run_folder.RUN, cut | {"status": "running"})
    with monkeypatch.context() as patched:
        patched.setattr(Saver, "epoch", killed)
        with pytest.raises(SystemExit):
            train(cell)
    assert run_folder.read_json(cell / run_folder.RUN)["reason"].startswith("pruned at epoch 2")
    assert genai("sweep", "resume", str(sweep)).code == 0
    assert run_folder.read_json(cell / run_folder.RUN)["status"] == "stopped"
    assert [{**row, "seconds": 0} for row in run_folder.read_metrics(cell)] == before


def test_a_sweep_without_pruning_has_no_rule(genai: Callable) -> None:
    done = genai("train", "-m", "optimizer.lr=1e-2,1e-6", "epochs=1", *QUICK)
    (sweep,) = done.folders
    assert read_rule(sweep) is None
    assert yaml.safe_load((sweep / run_folder.SWEEP).read_text())["sweep"]["prune"] == "none"
