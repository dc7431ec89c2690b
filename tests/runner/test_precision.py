"""`precision=auto` through the life of a run: recorded, kept on resume, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import genai_cli
from genai_cli.comparison.read import read
from genai_cli.store import history, run_config, run_folder
from genai_cli.store.run_diff import RESULT
from genai_cli.training.step_kinds import choose
from genai_cli.training.step_kinds.probe import Probe

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = (
    "train", "model=autoencoder", "model.widths=[8]", "bottleneck=2", "epochs=4",
    "dataset.limit=64", "batch_size=32", "trainer.threads=1", "trainer.step=eager",
)  # fmt: skip
AUTO = (*WORDS, "precision=auto")
HALF, HALVES = "trainer.max_steps=4", "trainer.max_steps=null"


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """``faster("bf16")``: the machine on which that takes half the time; its races since."""
    monkeypatch.setattr(choose, "FEWEST", 1)

    def arrange(precision: str) -> list[Any]:
        races: list[Any] = []

        def race(self: Probe, ways: Any, compute: Any) -> dict[Any, float]:
            races.append(list(ways))
            return {way: 0.001 if way[1] == precision else 0.002 for way in ways}

        monkeypatch.setattr(Probe, "time_alternatives", race)
        return races

    return arrange


@pytest.fixture
def autocasts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precision of every forward pass of a training step."""
    from genai_cli.training import step

    seen: list[str] = []
    plain = step.autocast

    def autocast(precision: str, device: torch.device) -> Any:
        seen.append(precision)
        return plain(precision, device)

    monkeypatch.setattr(step, "autocast", autocast)
    return seen


def precision(run: Path) -> str:
    assert run_folder.read_config(run)["precision"] == "auto"  # what was asked
    return run_folder.read_json(run / run_folder.RUN)["precision"]


def weights(run: Path) -> bytes:
    name = (run / "checkpoints" / "last").read_text().strip()
    return (run / "checkpoints" / name / "weights.safetensors").read_bytes()


def rows(run: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in run_folder.read_metrics(run)
    ]


def test_what_is_chosen_is_said_recorded_and_computed(
    genai: Callable, faster: Callable, autocasts: list[str]
) -> None:
    faster("bf16")
    done = genai(*AUTO)
    assert done.code == 0, done.err
    (run,) = done.folders
    line = "precision bf16: a gradient takes 1.0 ms, with fp32 2.0\n"
    assert line in done.out
    assert line in (run / run_folder.LOG).read_text()
    assert ", fp32 or bf16\n" in done.out
    assert precision(run) == "bf16"
    assert set(autocasts) == {"bf16"}
    assert genai_cli.load(str(run)).config.precision == "bf16"
    assert read(run).config["precision"] == "bf16"
    asked = next(f for f in genai(*WORDS, "precision=bf16").folders if f != run)
    assert (rows(run), weights(run)) == (rows(asked), weights(asked))


def test_a_resumed_run_keeps_it_on_a_machine_with_other_speeds(
    genai: Callable, faster: Callable, autocasts: list[str]
) -> None:
    faster("bf16")
    whole = genai(*AUTO).folders[0]
    half = next(f for f in genai(*AUTO, HALF).folders if f != whole)
    races = faster("fp32")
    for words in (("trainer.max_steps=6",), (HALVES,)):
        done = genai("resume", half.name[-4:], *words)
        assert done.code == 0, done.err
        assert ", bf16\n" in done.out
    assert (races, precision(half), set(autocasts)) == ([], "bf16", {"bf16"})
    assert weights(half) == weights(whole)
    assert rows(half) == rows(whole)


def test_it_is_measured_where_a_resume_asks_for_it(genai: Callable, faster: Callable) -> None:
    faster("bf16")
    run = genai(*WORDS, HALF).folders[0]
    done = genai("resume", "latest", "precision=auto", "trainer.max_steps=6")
    assert done.code == 0, done.err
    assert "precision bf16: a gradient" in done.out
    assert precision(run) == "bf16"
    described = run_folder.read_json(run / run_folder.RUN)
    assert described["resumed"][0]["was"]["precision"] == "fp32"
    found = [history.precision_from(described, step) for step in (0, 3, 4, 6)]
    assert found == ["fp32", "fp32", "bf16", "bf16"]


def test_it_is_taken_again_as_it_was(genai: Callable, faster: Callable) -> None:
    faster("bf16")
    run = genai(*AUTO, HALF).folders[0]
    assert genai("resume", "latest", "precision=fp32", "trainer.max_steps=6").code == 0
    faster("fp32")
    assert genai("resume", "latest", "precision=auto", HALVES).code == 0
    races = faster("bf16")
    done = genai("reproduce", run.name[-4:])
    assert done.code == 0, done.err
    (twin,) = (f for f in done.folders if "-reproduce-" in f.name)
    assert run_folder.read_json(twin / RESULT)["verdict"] == "identical"
    assert (races, precision(twin)) == ([], "fp32")


def test_every_cell_of_a_sweep_measures_its_own(genai: Callable, faster: Callable) -> None:
    faster("bf16")
    done = genai(*AUTO, "-m", "seed=0,1")
    assert done.code == 0, done.err
    cells = sorted(p for p in done.folders[0].iterdir() if p.is_dir())
    assert [precision(cell) for cell in cells] == ["bf16", "bf16"]


def test_a_stack_is_in_fp32_and_says_so(genai: Callable, faster: Callable) -> None:
    races = faster("bf16")
    done = genai(*AUTO, HALF, "-m", "seed=0,1", "trainer.pack=2")
    assert done.code == 0, done.err
    cells = sorted(p for p in done.folders[0].iterdir() if p.is_dir())
    for cell in cells:
        described = run_folder.read_json(cell / run_folder.RUN)
        assert (described["step_kind"], described["status"]) == ("packed", "finished")
        assert precision(cell) == "fp32"
        assert "precision fp32: a stack is not measured\n" in (cell / run_folder.LOG).read_text()
    assert genai("resume", str(cells[0]), HALVES).code == 0
    assert (precision(cells[0]), races) == ("fp32", [])


def test_a_plan_measures_it_too(genai: Callable, faster: Callable, tmp_path: Path) -> None:
    from genai_cli.runner.cost import cost

    races = faster("bf16")
    cfg = run_config.load_config(genai(*AUTO, HALF).folders[0])
    races.clear()
    assert cost(cfg, tmp_path, 0.0).timed > 0
    assert races == [[(1, "fp32"), (1, "bf16")]]


def test_a_change_that_was_announced_and_not_made_changes_no_precision() -> None:
    config = {"precision": "bf16"}
    described = {"device": "cpu", "threads": 1, "precision": "bf16", "versions": {}}
    fresh = described | {"git": None, "devices": 1, "precision": None}
    again = history.resumed_run_info(described, fresh, {"precision": ("bf16", "auto")})
    assert again["precision"] is None
    assert history.drop_unwritten_changes(again, config)["precision"] == "bf16"
    kept = history.resumed_run_info(described, fresh, {})  # auto, as it was
    assert kept["precision"] == "bf16"
