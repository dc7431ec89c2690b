"""`genai sweep resume`: what is left of a sweep is trained, and nothing else is touched."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sweep_folders import AE, QUICK, cells, contents, statuses, table, weights

from genai_cli.errors import UserError
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock

pytestmark = pytest.mark.usefixtures("undrawn")


def test_what_is_left_ends_with_the_numbers_of_an_undisturbed_sweep(
    cut: Callable, genai: Callable
) -> None:
    sweep = cut()
    first = contents(cells(sweep)[0])
    done = genai("sweep", "resume", sweep.name[-4:])
    assert done.code == 0, done.err
    assert "2 of 3 runs left" in done.out
    assert statuses(sweep) == ["finished"] * 3
    assert contents(cells(sweep)[0]) == first
    whole = genai(*AE, "bottleneck=2,3,4", "name=whole")
    other = next(f for f in whole.folders if "-whole-" in f.name)
    for mine, theirs in zip(cells(sweep), cells(other), strict=True):
        a, b = weights(mine), weights(theirs)
        assert all(a[k].equal(b[k]) for k in b)
    assert [row["test/mse"] for row in table(sweep)] == [row["test/mse"] for row in table(other)]


def test_a_second_interruption_is_that_of_a_sweep(
    cut: Callable, genai: Callable, stop_in: Callable
) -> None:
    sweep = cut()
    stop_in("001", 4, signal.SIGINT)
    done = genai("sweep", "resume", "latest")
    assert done.code == 130
    assert "1 runs not begun; go on with: genai sweep resume" in done.out
    assert statuses(sweep) == ["finished", "finished", "interrupted"]
    stop_in("", 0)
    assert genai("sweep", "resume", str(sweep)).code == 0


def test_a_failed_cell_is_tried_again(genai: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from genai_cli.models.autoencoder import Autoencoder

    def broken(self: object, batch: object, *more: object) -> dict:
        if self.loss_name == "mae" and len(batch.x) == 32:
            raise RuntimeError("a wire came loose")
        return plain(self, batch, *more)

    plain = Autoencoder.loss
    monkeypatch.setattr(Autoencoder, "loss", broken)
    done = genai(*AE, "loss=mse,mae")
    assert done.code == 1
    row = table(done.folders[0])[1]
    assert (row["status"], row["note"]) == ("failed", "RuntimeError: a wire came loose")
    again = genai("sweep", "resume", "latest")
    assert again.code == 1
    assert "1 of 2 runs failed" in again.err
    monkeypatch.undo()
    assert genai("sweep", "resume", str(done.folders[0])).code == 0
    assert [(r["status"], r["note"]) for r in table(done.folders[0])] == [
        ("finished", ""), ("finished", "resumed: failed, RuntimeError: a wire came loose"),
    ]  # fmt: skip


def test_nothing_left_says_so_and_changes_nothing(genai: Callable) -> None:
    sweep = genai(*AE, "bottleneck=2,3").folders[0]
    before = contents(sweep)
    done = genai("sweep", "resume", "latest")
    assert done.code == 0
    assert "nothing left to do: 2 runs done" in done.out
    assert contents(sweep) == before


def test_a_cell_of_another_process_is_left_to_it(cut: Callable, genai: Callable) -> None:
    sweep = cut()
    with open(cells(sweep)[1] / "train.log", "a") as log:
        assert lock(log)
        done = genai("sweep", "resume", "latest")
    assert done.code == 0
    assert "001-bottleneck-3 is being trained by another process: left to it" in done.out
    assert "look again when it has ended: genai sweep resume" in done.out
    assert statuses(sweep) == ["finished", "interrupted", "finished"]


def test_a_sweep_of_another_process_is_refused(cut: Callable, genai: Callable) -> None:
    from genai_cli.sweeps.cells import sweep_lock

    sweep = cut()
    before = contents(sweep)
    with sweep_lock(sweep):
        done = genai("sweep", "resume", "latest")
    assert done.code == 2
    assert "is being trained by another process" in done.err
    assert contents(sweep) == before


def test_the_table_says_what_is_left_and_why(cut: Callable, genai: Callable) -> None:
    sweep = cut()
    second = cells(sweep)[1]
    described = run_folder.read_json(second / "run.json")  # as a SIGKILL leaves it
    atomic_write.write_json(second / "run.json", described | {"status": "running"})
    done = genai("sweep", "resume", "latest")
    assert done.code == 0
    told = [line.split("  ") for line in done.out.partition("\n\n")[0].splitlines()[3:]]
    assert [[word.strip() for word in line if word.strip()] for line in told] == [
        [second.name, "died", "its process ended without a word", "on from step 3"],
        [cells(sweep)[2].name, "waiting", "it had not begun", "from the start"],
    ]
    assert [row["note"] for row in table(sweep)] == [
        "", "resumed: died, its process ended without a word", "",
    ]  # fmt: skip


def test_other_code_is_told(cut: Callable, genai: Callable) -> None:
    sweep = cut()
    for cell in cells(sweep)[1:]:
        described = run_folder.read_json(cell / "run.json")
        versions = described["versions"] | {"genai_cli": "0.0.1"}
        atomic_write.write_json(cell / "run.json", described | {"versions": versions})
    done = genai("sweep", "resume", "latest")
    assert done.code == 0
    assert done.err.count("the code has changed: genai_cli 0.0.1 → ") == 1
    assert "(2 of 2 runs)" in done.err


def test_a_sweep_that_was_killed_before_it_was_written_loses_nothing(
    genai: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs" / "2026-01-01" / "00-00-00-sweep-abcd"
    folder.mkdir(parents=True)
    done = genai("sweep", "resume", str(folder))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "has no sweep.yaml" in done.err
    assert "start it again with: genai train -m" in done.err
    run = genai("train", "model=autoencoder", *QUICK, "name=one")
    (one,) = (f for f in run.folders if "-one-" in f.name)
    done = genai("sweep", "resume", str(one))
    assert done.code == 2
    assert f"is one run; go on with: genai resume {one}" in done.err


# ---- the line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", ["type: genai sweep resume DIR"]),
        ("resum x", ["did you mean 'resume'"]),
        ("resume", ["name one sweep"]),
        ("resume a b", ["name one sweep"]),
        ("resume nothing", ["no sweep 'nothing'", "genai train -m"]),
        ("resume latest epochs=3", ["epochs=3 is not for a sweep that is there"]),
        ("resume latest -m", ["-m is not for"]),
        ("resume latest sweep.skip_invalid=true", ["sweep.skip_invalid=true"]),
        ("resume latest hydra/launcher=slrum", ["did you mean 'slurm'"]),
        ("resume latest hydra.launcher.workers=2", ["unknown key 'hydra.launcher.workers'"]),
        ("resume latest --verbose", ["unknown flag '--verbose'"]),
        ("resume latest outputs=a outputs=b", ["outputs is given twice"]),
    ],
)
def test_a_mistake_is_one_line(
    typed: str, words: list[str], genai: Callable, tmp_path: Path
) -> None:
    if "latest" in typed:
        sweep = tmp_path / "outputs" / "2026-01-01" / "00-00-00-sweep-abcd"
        sweep.mkdir(parents=True)
        content = {"cells": [], "varied": [], "launcher": {"name": "serial"}}
        (sweep / "sweep.yaml").write_text(yaml.safe_dump(content))
    done = genai("sweep", *filter(None, typed.split(" ")))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert all(word in done.err for word in words), done.err


def test_the_launcher_is_the_sweeps_own_but_for_what_the_line_says() -> None:
    from genai_cli.launchers.settings import Processes, Serial, Slurm
    from genai_cli.sweeps.again import resolve_launcher

    stored = {"launcher": {"name": "slurm", "minutes": 5, "partition": "fast", "notice": 9}}
    own = resolve_launcher(stored, [], [])
    assert (own.minutes, own.partition) == (5, "fast")
    more = resolve_launcher(stored, ["hydra.launcher.minutes=90"], [])
    assert isinstance(more, Slurm)
    assert (more.minutes, more.partition, more.notice) == (90, "fast", 9)
    assert resolve_launcher(stored, ["hydra/launcher=processes"], []) == Processes()
    assert resolve_launcher({}, [], []) == Serial()
    older = {"launcher": {"name": "joblib", "workers": 3, "per_gpu": 2}}  # of version 0.1
    assert resolve_launcher(older, [], []) == Processes(workers=3, per_gpu=2)
    assert resolve_launcher(older, ["hydra.launcher.workers=1"], []).workers == 1
    with pytest.raises(UserError, match="twice"):
        resolve_launcher(stored, ["hydra.launcher.minutes=9", "hydra.launcher.minutes=8"], [])


def test_stacks_are_made_of_what_has_not_begun(cut: Callable, genai: Callable) -> None:
    sweep = cut("trainer.pack=none")
    for cell in cells(sweep)[1:]:
        config = run_folder.read_config(cell)
        config["trainer"]["pack"] = "9"
        run_folder.write_config(cell, config)
    done = genai("sweep", "resume", "latest")
    assert done.code == 0, done.err
    assert statuses(sweep) == ["finished"] * 3
    assert "going on after step 3" in (cells(sweep)[1] / "train.log").read_text()


def test_a_tab_offers_sweeps_and_launchers(genai: Callable) -> None:
    from genai_cli.cli.completion.candidates import candidates

    sweep = genai(*AE, "bottleneck=2,3").folders[0]
    genai("train", "model=autoencoder", *QUICK)
    assert [word for word, _ in candidates(["sweep", ""])] == ["resume "]
    assert [word for word, _ in candidates(["sweep", "resume", ""])] == [
        "latest ", f"{sweep.name[-4:]} ",
    ]  # fmt: skip
    offered = [word for word, _ in candidates(["sweep", "resume", "latest", "hydra/launcher="])]
    assert offered == [
        "hydra/launcher=processes ",
        "hydra/launcher=serial ",
        "hydra/launcher=slurm ",
    ]
