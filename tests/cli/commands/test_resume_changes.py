"""Resuming with changes: every key of every config is safe, noted or refused, and nothing that an
earlier session wrote is forgotten."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from genai_cli.config import compose, resumable, schema
from genai_cli.config.catalog import config_dir
from genai_cli.errors import UserError
from genai_cli.runner import description
from genai_cli.runner import resume as resume_module
from genai_cli.store import history as sessions
from genai_cli.store import run_folder
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

CHOICES = [
    [f"{group}={path.stem}" for path in sorted((config_dir() / group).glob("*.yaml"))]
    for group in ("model", "dataset", "optimizer", "schedule", "loss", "trainer")
]
WORDS = ("epochs=2", "dataset.limit=64", "batch_size=32", "model=autoencoder")


@pytest.fixture
def run(finished: Callable) -> Path:
    return finished(*WORDS)


def every_key() -> Iterator[tuple[dict[str, Any], str, Any]]:
    """(config, key, value) of each key that any choice of any group has, once."""
    seen: set[tuple[str, bool]] = set()
    for choices in itertools.zip_longest(*CHOICES):  # one of each group in a line
        (cell,) = compose.compose_cells("train", compose.parse_line([c for c in choices if c]))
        config = schema.to_dict(cell.config)
        for key, value in schema.flatten(config).items():
            if (key, isinstance(value, list)) not in seen:
                seen.add((key, isinstance(value, list)))
                yield config, key, value


def test_each_key_is_in_one_class() -> None:
    found = list(every_key())
    assert len(found) > 80
    for config, key, value in found:
        safe, noted = (
            resumable.matches(key, resumable.SAFE),
            resumable.matches(key, resumable.NOTED),
        )
        group = key.split(".")[0] if not key.startswith("trainer.") else key
        reason = resumable.REFUSALS.get(key) or resumable.REFUSALS.get(group)
        other = "[other]" if isinstance(value, list) else "other"
        change = f"{key}={other}"
        if safe or noted:
            assert safe != noted, key
            assert key not in resumable.REFUSALS, key
            new = resume_module.apply_changes(config, [change])
            (changed,) = resume_module.difference(config, new)
            (told,) = resume_module.format_changes([changed], [key])
            assert told.startswith(f"{'safe' if safe else 'note'}   {key}: ")
            assert (resumable.NOTE in told) == noted
        else:
            assert reason, f"{key} is in no class"
            with pytest.raises(UserError) as refused:
                resume_module.apply_changes(config, [change])
            assert f"{key} cannot change on resume ({reason})" in str(refused.value)
            assert f"genai train {shlex.quote(change)} …" in str(refused.value)


def test_all_refused_keys_stand_in_one_line_and_nothing_is_written(
    run: Path, genai: Callable
) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    words = ("epochs=9", "model.widths=[8]", "seed=1", "model.activation=tanh", "optimizer.lr=1")
    done = genai("resume", str(run), *words)
    assert done.code == 2
    assert done.err.count("\n") == 1
    for part in ("model.widths, model.activation cannot change", "seed cannot change",
                 "its weights would not fit", "it made the weights",
                 "genai train 'model.widths=[8]' seed=1 model.activation=tanh …"):  # fmt: skip
        assert part in done.err, part
    assert "optimizer.lr" not in done.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_the_three_classes_are_shown(run: Path, genai: Callable) -> None:
    done = genai("resume", str(run), "epochs=3", "optimizer.lr=1e-4", "seed=0")
    assert done.code == 0, done.err
    assert "safe   epochs: 2 → 3\n" in done.out
    assert "note   optimizer.lr: 0.001 → 0.0001   (the rest of the run" in done.out
    assert "same   seed: as it was\n" in done.out


def test_what_others_wrote_into_run_json_survives(run: Path, genai: Callable) -> None:
    written = {
        "prune": False,
        "out_of_memory": [{"step": 1, "accumulate": 2}],
        "pack": {"cells": 4, "threads": 1},
        "of_a_later_version": [1, {"a": None}],
    }
    atomic_write.write_json(
        run / run_folder.RUN, run_folder.read_json(run / run_folder.RUN) | written
    )
    first = run_folder.read_json(run / run_folder.RUN)
    for epochs in (3, 4):
        assert genai("resume", str(run), f"epochs={epochs}").code == 0
    now = run_folder.read_json(run / run_folder.RUN)
    assert {k: now[k] for k in written} == written
    mine = ("status", "finished", "resumed")
    assert {k: v for k, v in now.items() if k not in mine} == {
        k: v for k, v in first.items() if k not in mine
    }
    assert [(e["step"], e["changes"]) for e in now["resumed"]] == [
        (4, {"epochs": [2, 3]}),
        (6, {"epochs": [3, 4]}),
    ]


def test_who_was_stopped_is_not_pruned_again_and_history_knows(run: Path, genai: Callable) -> None:
    asked = {"status": "stopped", "reason": "asked to stop: enough"}
    atomic_write.write_json(
        run / run_folder.RUN, run_folder.read_json(run / run_folder.RUN) | asked
    )
    done = genai("resume", str(run), "epochs=3")
    assert "note: it was asked to stop: enough" in done.out
    now = run_folder.read_json(run / run_folder.RUN)
    assert now["prune"] is False
    assert "reason" not in now
    assert now["resumed"][0]["was"]["reason"] == "asked to stop: enough"


def test_other_versions_are_told_and_recorded(run: Path, genai: Callable) -> None:
    described = run_folder.read_json(run / run_folder.RUN)
    torch_now = described["versions"]["torch"]
    old = described | {"versions": described["versions"] | {"torch": "1.0", "kernels": "NEON"}}
    atomic_write.write_json(run / run_folder.RUN, old | {"device": "cpu other", "threads": 4096})
    done = genai("resume", str(run), "epochs=3", "trainer.threads=1")
    assert f"torch 1.0 → {torch_now}, kernels NEON → " in done.out
    assert "before on cpu other: not bit-equal" in done.out
    now = run_folder.read_json(run / run_folder.RUN)
    assert now["versions"]["torch"] == torch_now
    was = now["resumed"][0]["was"]
    assert (was["torch"], was["device"], was["threads"]) == ("1.0", "cpu other", 4096)


def test_a_damaged_history_is_read_as_far_as_it_goes() -> None:
    config = {"epochs": 3, "optimizer": {"lr": 0.1}}
    entries = [
        7, {}, {"step": "x"}, {"step": 4, "changes": 9, "was": []},
        {"step": 5, "changes": {"optimizer.lr": [0.2, 0.1], "no.such": [1, 2], "epochs": 7}},
    ]  # fmt: skip
    parts = sessions.config_segments(config, {"resumed": entries}, ("optimizer.lr", "no.such"))
    assert [(s, c["optimizer"]["lr"]) for s, c in parts] == [(0, 0.2), (5, 0.1)]
    assert sessions.config_segments(config, {"resumed": "?"}, ("optimizer.lr",)) == [(0, config)]


def test_steps_that_were_taken_again_leave_nothing() -> None:
    def entry(step: int, before: float, after: float) -> dict:
        return {"step": step, "changes": {"optimizer.lr": [before, after]}, "was": {}}

    config = {"optimizer": {"lr": 3.0}}
    history = [entry(8, 1.0, 2.0), entry(5, 2.0, 3.0)]  # killed between 8 and its next checkpoint
    parts = sessions.config_segments(config, {"resumed": history}, ("optimizer.lr",))
    assert [(s, c["optimizer"]["lr"]) for s, c in parts] == [(0, 1.0), (5, 3.0)]
    at_once = sessions.config_segments(config, {"resumed": [entry(0, 1.0, 3.0)]}, ("optimizer.lr",))
    assert at_once == [(0, config)]


@pytest.mark.parametrize("writes", [0, 1])
def test_a_change_whose_resume_was_killed_is_recorded_or_not_in_force(
    writes: int, run: Path, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, before = (
        ("optimizer.lr=0.5", "trainer.threads=1", "epochs=3"),
        run_folder.read_config(run),
    )
    stayed = run_folder.read_json(run / run_folder.RUN)
    atomic_write.write_json(run / run_folder.RUN, stayed | {"threads": 2})
    done: list[str] = []

    def killed_after(plain: Callable) -> Callable:
        def write(path: Path, *args: object) -> None:
            if len(done) == writes:
                raise KeyboardInterrupt
            done.append(path.name)
            plain(path, *args)

        return write

    with monkeypatch.context() as patch:
        for module, name in ((atomic_write, "write_json"), (run_folder, "write_config")):
            patch.setattr(module, name, killed_after(getattr(module, name)))
        with suppress(KeyboardInterrupt):
            genai("resume", str(run), *words)
    assert len(done) == writes
    assert run_folder.read_config(run) == before

    assert genai("resume", str(run), "epochs=3").code == 0
    now = run_folder.read_json(run / run_folder.RUN)
    assert now["threads"] == 2
    assert [e["changes"] for e in now["resumed"]][-1] == {"epochs": [2, 3]}
    assert all("optimizer.lr" not in e["changes"] for e in now["resumed"])
    config = run_folder.read_config(run)
    assert sessions.config_segments(config, now, ("optimizer.lr", "trainer.threads")) == [
        (0, config)
    ]


def test_a_change_that_is_in_force_stays_recorded_until_its_session_begins() -> None:
    """Killed after both files and before the first step."""
    config = {"optimizer": {"lr": 0.5}, "epochs": 3}
    changes = {"optimizer.lr": [0.1, 0.5], "epochs": [2, 4]}
    waiting = {"resumed": [{"step": None, "changes": changes, "was": {}}, "?", {"step": 4}]}
    kept = sessions.drop_unwritten_changes(waiting, config)["resumed"]
    assert kept[0]["changes"] == {"optimizer.lr": [0.1, 0.5]}
    assert kept[1:] == waiting["resumed"][1:]
    assert sessions.drop_unwritten_changes({"resumed": "?"}, config) == {"resumed": "?"}


def test_a_session_that_nobody_announced_is_recorded() -> None:
    assert sessions.set_start_step({}, 0) == {}
    (entry,) = sessions.set_start_step({}, 7)["resumed"]
    assert (entry["step"], entry["changes"]) == (7, {})
    waiting = json.loads(json.dumps(sessions.add_environment_change({}, {"torch": "1.0"})))
    (entry,) = sessions.set_start_step(waiting, 7)["resumed"]
    assert (entry["step"], entry["was"]) == (7, {"torch": "1.0"})


@pytest.mark.parametrize("change", ["epochs=1", "trainer.max_steps=3"])
def test_an_end_before_what_is_done_is_refused(change: str, run: Path, genai: Callable) -> None:
    described = run_folder.read_json(run / run_folder.RUN)
    atomic_write.write_json(run / run_folder.RUN, described | {"status": "interrupted"})
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    done = genai("resume", str(run), change)
    assert (done.code, done.err.count("\n")) == (2, 1)
    key, least = change.partition("=")[0], 2 if "epochs" in change else 4
    assert f"{change} is less than is done: {run} is at step 4, which" in done.err
    assert f"give {key}={least} or more" in done.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    assert genai("resume", str(run), f"{key}={least}").code == 0


def test_a_second_resume_at_the_same_time_is_refused(
    run: Path, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes while the first has checked and not yet written."""
    plain, second = description.description, []

    def meanwhile(*args: object) -> dict:
        monkeypatch.setattr(description, "description", plain)
        second.append(genai("resume", str(run), "epochs=9"))
        return plain(*args)

    monkeypatch.setattr(description, "description", meanwhile)
    assert genai("resume", str(run), "epochs=3").code == 0
    assert second[0].code == 2
    assert "is being trained by another process" in second[0].err
    assert run_folder.read_config(run)["epochs"] == 3
