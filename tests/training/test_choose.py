"""What kind of step a run takes: measured without moving it, said, and kept on resume."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import pytest
import torch

from genai_cli.config import compose
from genai_cli.errors import UserError
from genai_cli.models.base import Model
from genai_cli.runner.prepare import Prepared, prepare
from genai_cli.training import machine, setup
from genai_cli.training.distributed import Ranks
from genai_cli.training.step import autograd
from genai_cli.training.step_kinds import compiled, probe
from genai_cli.training.step_kinds.choose import Chosen, check, choose
from genai_cli.training.step_kinds.probe import Probe

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
    cells = compose.compose_cells("train", compose.parse_line(words.split()))
    return prepare(cells[0].config, lambda text: None)


def settled(words: str, **recorded: Any) -> Chosen:
    ready = ready_for(words)
    run = setup.new_training(ready.cfg, ready.data, CPU)
    return choose(run, ready.data, ready.cfg, CPU, recorded)


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
    choose(run, ready.data, ready.cfg, CPU, {})
    assert all(v.equal(before[k]) for k, v in run.model.state_dict().items())
    assert all(p.grad is None for p in run.model.parameters())
    assert not run.optimizers["model"].state
    assert torch.get_rng_state().equal(state)
    assert not run.model.training
    assert run.step == 0


@pytest.fixture(autouse=True)
def _a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some program that is there: nothing is compiled here."""
    monkeypatch.setenv("CXX", sys.executable)


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
    monkeypatch.setattr(
        Probe, "time_alternatives", lambda self, ways, compute: {k: times[k] for k in ways}
    )

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
        Probe,
        "time_alternatives",
        lambda self, ways, compute: {k: 0.01 * (1 + (k[0] != fast)) for k in ways},
    )
    chosen = settled(f"{BASE} epochs=300 trainer.step=eager")
    assert chosen.threads == fast == torch.get_num_threads()
    assert chosen.lines[0].startswith(f"cpu    {fast} thread")
    assert settled(f"{BASE} epochs=10 trainer.step=eager").lines == ()


def test_a_race_takes_turns_and_the_median() -> None:
    ready = ready_for(f"{BASE} epochs=300")
    looker = Probe(setup.new_training(ready.cfg, ready.data, CPU), ready.data, ready.cfg, CPU)
    turns: list[str] = []
    ways = {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}
    seconds = looker.time_alternatives(ways, dict.fromkeys("ab", looker.configured_gradient))
    assert turns[:6] == ["a", "b"] * 3
    assert 0 < seconds["a"] < 1


Times = Callable[..., list[Any]]


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> Times:
    """``speeds(fp32=, bf16=)``: what a gradient takes by precision, in seconds; the keys of every
    race since."""

    def arrange(**times: float) -> list[Any]:
        races: list[Any] = []

        def race(self: Probe, ways: Any, compute: Any) -> dict[Any, float]:
            races.append(list(ways))
            return {way: times[way[1]] / way[0] for way in ways}

        monkeypatch.setattr(Probe, "time_alternatives", race)
        return races

    return arrange


AUTO = f"{BASE} epochs=300 trainer.step=eager trainer.threads=1 precision=auto"


@pytest.mark.parametrize(
    ("bf16", "faster", "line"),
    [
        (0.005, "bf16", "precision bf16: a gradient takes 5.0 ms, with fp32 16.3"),
        (0.050, "fp32", "precision fp32: a gradient takes 16.3 ms, with bf16 50.0"),
        (0.015, "fp32", "precision fp32: a gradient takes 16.3 ms, with bf16 15.0"),  # too little
    ],
)
def test_auto_takes_the_faster_precision(
    bf16: float, faster: str, line: str, speeds: Times
) -> None:
    races = speeds(fp32=0.0163, bf16=bf16)
    chosen = settled(AUTO)
    assert (chosen.precision, chosen.lines) == (faster, (line,))
    assert chosen.recorded() == {"threads": 1, "step_kind": "eager", "precision": faster}
    assert chosen.step.keywords["precision"] == faster
    assert races == [[(1, "fp32"), (1, "bf16")]]


def test_the_precision_depends_on_the_threads_and_they_on_it(
    speeds: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "default_threads", lambda: 4)
    races = speeds(fp32=0.02, bf16=0.01)
    chosen = settled(AUTO.replace("trainer.threads=1", "trainer.threads=null"))
    assert (chosen.threads, chosen.precision) == (4, "bf16")
    assert chosen.lines == (
        "cpu    4 threads: a gradient takes 10.0 ms with 1 and 2.5 ms with 4",
        "precision bf16: a gradient takes 2.5 ms, with fp32 5.0",
    )
    assert len(races[0]) == 4


def test_a_short_run_looks_at_no_precision(speeds: Times) -> None:
    races = speeds()
    chosen = settled(AUTO.replace("epochs=300", "epochs=10"))
    assert chosen.precision == "fp32"
    assert chosen.lines == ("precision fp32: 30 steps are too few to measure bf16",)
    assert (
        settled(AUTO.replace("300", "10").replace("precision=auto", "precision=bf16")).lines == ()
    )
    assert races == []


def test_a_recorded_precision_is_not_measured_again(speeds: Times) -> None:
    races = speeds()
    chosen = settled(AUTO, precision="bf16", step_kind="eager", threads=1)
    assert (chosen.precision, chosen.lines, races) == ("bf16", (), [])


def test_a_slower_precision_that_was_asked_for_is_told_of(speeds: Times) -> None:
    asked = AUTO.replace("precision=auto", "precision=bf16")
    speeds(fp32=0.0054, bf16=0.0163)
    chosen = settled(asked)
    assert chosen.precision == "bf16"
    assert chosen.lines == (
        "precision bf16: a gradient takes 16.3 ms, with fp32 5.4 (3.0 times faster): "
        "precision=auto",
    )
    speeds(fp32=0.0163, bf16=0.0054)
    assert settled(asked).lines == ()
    races = speeds()
    assert settled(asked, precision="bf16", step_kind="eager", threads=1).lines == ()
    assert settled(asked.replace("bf16", "fp32")).lines == ()
    assert races == []


def test_what_cannot_be_computed_in_bf16_stays_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Probe.gradients

    def gradients(self: Probe, compute: Any) -> None:
        if compute.args[-1] == "bf16":
            raise RuntimeError('"inverse"\nnot implemented for BFloat16')
        plain(self, compute)

    monkeypatch.setattr(Probe, "gradients", gradients)
    chosen = settled(AUTO)
    assert chosen.precision == "fp32"
    assert chosen.lines == (
        'precision fp32: in bf16 a gradient fails ("inverse" not implemented for BFloat16)',
    )
    with pytest.raises(RuntimeError, match="inverse"):
        settled(AUTO.replace("precision=auto", "precision=bf16"))


class Two(Ranks):
    """One of two ranks, whose other one says what ``first`` has said."""

    said: ClassVar[list[Any]] = []

    def rows(self, n: int) -> slice:
        return slice(self.rank * n // 2, (self.rank + 1) * n // 2)

    def broadcast(self, value: Any) -> Any:
        if self.first:
            self.said.append(value)
        return self.said[-1]

    def all_gather(self, value: Any) -> list[Any]:
        return [value, value]


def test_the_first_of_several_ranks_chooses_the_precision_for_all(speeds: Times) -> None:
    ready = ready_for(AUTO)
    run = setup.new_training(ready.cfg, ready.data, CPU)
    found = []
    for rank, times in enumerate(({"fp32": 2.0, "bf16": 1.0}, {"fp32": 1.0, "bf16": 2.0})):
        races = speeds(**times)
        run.ranks = Two(rank, 2)
        found.append(choose(run, ready.data, ready.cfg, CPU, {}).precision)
        assert len(races) == 1 - rank
    assert found == ["bf16", "bf16"]


def test_a_large_gradient_is_measured_three_times_where_that_is_little_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = ready_for(f"{BASE} epochs=1000")
    clock = [0.0]
    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock[0])

    def gradients(self: Probe, compute: str) -> None:
        clock[0] += 1.0 if compute == "slow" else 0.5

    monkeypatch.setattr(Probe, "gradients", gradients)
    for epochs, turns in ((1000, 3), (100, 1)):  # 30 or 3 times the 1 s of the faster is allowed
        ready.cfg.epochs = epochs
        looker = Probe(setup.new_training(ready.cfg, ready.data, CPU), ready.data, ready.cfg, CPU)
        taken: list[str] = []
        ways = {name: partial(taken.append, name) for name in ("slow", "fast")}
        assert looker.time_alternatives(ways, {name: name for name in ways}) == {
            "slow": 1.0,
            "fast": 0.5,
        }
        assert taken == ["slow", "fast"] * turns
