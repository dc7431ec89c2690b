"""What kind of step a run takes: measured without moving it, said, and kept on resume."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch

from genai_cli import compose
from genai_cli.errors import UserError
from genai_cli.models.base import Model
from genai_cli.training import compiled, machine, setup
from genai_cli.training.choose import Chosen, Probe, check, settle
from genai_cli.training.step import autograd
from genai_cli.verbs.train import Prepared, prepare

CPU = torch.device("cpu")
BASE = "model=autoencoder model.widths=[8] dataset.limit=70 batch_size=32"  # 3 steps an epoch
LONG = f"{BASE} epochs=1000000"  # where compiling is expected to pay


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the user's own that torch.compile cannot follow."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no graph of this\nSet TORCHDYNAMO_VERBOSE=1 for more")

    monkeypatch.setattr(torch, "compile", refuse)


def ready_for(words: str) -> Prepared:
    cells = compose.cells("train", compose.parse(words.split()))
    return prepare(cells[0].config, lambda text: None)


def settled(words: str, **recorded: Any) -> Chosen:
    ready = ready_for(words)
    run = setup.new_training(ready.cfg, ready.data, CPU)
    return settle(run, ready.data, ready.cfg, CPU, recorded)


def test_a_short_run_is_eager_and_says_why() -> None:
    chosen = settled(f"{BASE} epochs=10")
    assert (chosen.kind, chosen.lines) == (
        "eager",
        ("step   eager: 30 steps are too few for compiling to pay",),
    )


def test_a_run_of_seconds_is_eager_and_says_what_compiling_would_take() -> None:
    chosen = settled(f"{BASE} epochs=300")
    assert chosen.kind == "eager"
    assert "900 steps of" in chosen.lines[0]
    assert "compiling would take" in chosen.lines[0]


def test_choosing_moves_nothing(broken: None) -> None:
    ready = ready_for(f"{LONG} model.dropout=0.2")
    run = setup.new_training(ready.cfg, ready.data, CPU)
    run.model.eval()
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    state = torch.get_rng_state()
    settle(run, ready.data, ready.cfg, CPU, {})
    assert all(v.equal(before[k]) for k, v in run.model.state_dict().items())
    assert all(p.grad is None for p in run.model.parameters())
    assert not run.optimizers["model"].state
    assert torch.get_rng_state().equal(state)
    assert not run.model.training
    assert run.step == 0


def test_auto_falls_back_where_a_model_cannot_be_compiled(broken: None) -> None:
    chosen = settled(LONG)
    assert chosen.kind == "eager"
    assert "RuntimeError: no graph of this)" in chosen.lines[0]
    assert "TORCHDYNAMO_VERBOSE" not in chosen.lines[0]


def test_compiled_by_name_is_refused_where_it_cannot_be(broken: None) -> None:
    with pytest.raises(UserError, match=r"trainer.step=compiled: .*use trainer.step=eager"):
        settled(f"{LONG} trainer.step=compiled")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ready_for(f"{LONG} trainer.step=compiled").cfg
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    chosen = settled(LONG)
    assert chosen.kind == "eager"
    assert "there is no C++ compiler here" in chosen.lines[0]
    with pytest.raises(UserError, match=r"no C\+\+ compiler here.*use trainer.step=eager"):
        check(asked, CPU)
    moved = settled(LONG, step_kind="compiled", threads=1)
    assert moved.kind == "eager"
    assert "not bit-equal" in moved.lines[0]


def test_what_can_be_known_early_is_checked_early() -> None:
    cfg = ready_for(BASE).cfg
    cfg.trainer.step = "graph"
    with pytest.raises(UserError, match=r"trainer.step=graph: CUDA graphs need a CUDA device"):
        check(cfg, CPU)
    for kind in ("auto", "eager"):
        check(ready_for(f"{BASE} trainer.step={kind}").cfg, CPU)


@pytest.mark.parametrize(("faster", "kind"), [(True, "compiled"), (False, "eager")])
def test_auto_keeps_what_is_faster(
    monkeypatch: pytest.MonkeyPatch, faster: bool, kind: str
) -> None:
    times = {"eager": 1.0, "compiled": 0.5 if faster else 1.1}
    monkeypatch.setattr(Probe, "race", lambda self, ways, compute: {k: times[k] for k in ways})

    def uncompiled(model: Model, *rest: Any) -> Any:  # a compile would take seconds
        return partial(autograd, model, model.players(), "fp32")

    monkeypatch.setattr(compiled, "Graph", uncompiled)
    chosen = settled(LONG)
    assert chosen.kind == kind
    assert ("500.0 ms instead of 1000.0" if faster else "compiled they take 1100.0 ms") in (
        chosen.lines[0]
    )


def test_a_resumed_run_keeps_its_kind_and_threads() -> None:
    for recorded in ("eager", "packed"):
        chosen = settled(LONG, step_kind=recorded, threads=1)
        assert (chosen.kind, chosen.threads, chosen.lines) == ("eager", 1, ())


def test_threads_that_are_given_are_taken() -> None:
    assert settled(f"{BASE} epochs=10 trainer.threads=2").threads == 2
    assert torch.get_num_threads() == 2
    assert settled(f"{BASE} epochs=10 trainer.threads=2", threads=1).threads == 1


@pytest.mark.parametrize("fast", [1, 3])
def test_threads_are_measured_where_it_pays(monkeypatch: pytest.MonkeyPatch, fast: int) -> None:
    monkeypatch.setattr(machine, "default_threads", lambda: 3)
    monkeypatch.setattr(
        Probe, "race", lambda self, ways, compute: {k: 0.01 * (1 + (k != fast)) for k in ways}
    )
    chosen = settled(f"{BASE} epochs=300 trainer.step=eager")
    assert chosen.threads == fast == torch.get_num_threads()
    assert chosen.lines[0].startswith(f"cpu    {fast} thread")
    assert settled(f"{BASE} epochs=10 trainer.step=eager").lines == ()


def test_a_race_takes_turns_and_the_median() -> None:
    ready = ready_for(f"{BASE} epochs=300")
    probe = Probe(setup.new_training(ready.cfg, ready.data, CPU), ready.data, ready.cfg, CPU)
    turns: list[str] = []
    ways = {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}
    seconds = probe.race(ways, {"a": probe.plain, "b": probe.plain})
    assert turns[:6] == ["a", "b"] * 3
    assert 0 < seconds["a"] < 1
