"""Which kind of step and how many CPU threads a run takes: measured at its start, then recorded.

Nothing here moves a run: gradients are computed and thrown away. What is chosen goes into run.json
and is taken from there on resume, so that a resumed run does the very arithmetic of the
uninterrupted one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genai_cli.errors import UserError
from genai_cli.models.base import Batch
from genai_cli.training import machine
from genai_cli.training.randomness import generator
from genai_cli.training.step import Gradient, Step, autograd, make_step, micro_batches

if TYPE_CHECKING:
    from genai_cli.data.dataset import Dataset
    from genai_cli.schema import TrainConfig
    from genai_cli.training.loop import Training

FEWEST = 500  # steps below which nothing is measured: what could be gained is less than a look
LOOK, LOOK_SHARE = 0.4, 0.01  # a measurement may take so many seconds, and so much of the run
# What compiling takes and saves grows with the operators of an eager step. Fitted on one thread,
# cold caches: AE 83 operators, 20 s, saves 0.5 of 0.9 ms; convolutional VAE 174, 25 s, 0.7 of 8.4;
# U-Net 593, 71 s, 16 of 72; spline flow 2670, 42 s, 21 of 33; flow of digits 3266, 89 s, 47 of 64.
FIRST, BASE, EACH = 20.0, 8.0, 0.02  # seconds: into an empty cache, into another, an operator
SHARE, OVERHEAD, MOST = 0.1, 4e-6, 0.7  # of a step; seconds an operator; of a step at most


class Chosen(NamedTuple):
    """What a run is stepped with."""

    kind: str  # eager, compiled or graph; run.json's step_kind
    threads: int  # of the CPU; run.json's threads
    step: Step
    lines: tuple[str, ...]  # for the user and train.log: what and why


def settle(
    run: Training,
    data: Dataset,
    cfg: TrainConfig,
    device: torch.device,
    recorded: Mapping[str, Any],
) -> Chosen:
    """Choose, or take what was recorded; CPU threads are set to what is returned.

    Of several ranks the first chooses for all, on its rows of a batch.

    Args:
        run: before its next step; its weights, moments and generators are left as they are.
        data: on the device.
        cfg: ``trainer.step`` and ``trainer.threads`` leave nothing to choose where they are given.
        device: where the run is.
        recorded: run.json; ``step_kind`` and ``threads`` are None before a first step.

    Raises:
        UserError: a kind was asked for that this machine, model or optimizer does not have.
    """
    ranks, probe = run.ranks, Probe(run, data, cfg, device)
    chosen = _settled(probe, recorded) if ranks.first else None
    same = ranks.told(chosen and {"threads": chosen.threads, "step_kind": chosen.kind})
    chosen = chosen or _settled(probe, same)
    kinds = ranks.everyone(chosen.kind)
    if len(set(kinds)) == 1:
        return chosen
    lines = (*chosen.lines, f"step   eager: rank {kinds.index('eager')} cannot compile")
    return Chosen("eager", chosen.threads, make_step("eager", run, cfg, device), lines)


def _settled(probe: Probe, recorded: Mapping[str, Any]) -> Chosen:
    given = recorded.get("threads") or probe.cfg.trainer.threads
    threads, why_threads = _threads(probe, given)
    torch.set_num_threads(threads)
    kind, step, why = _kind(probe, recorded.get("step_kind"))
    lines = [f"step   {kind}: {why}"] if why else []
    if why_threads:
        lines.append(f"cpu    {threads} thread{'s' * (threads > 1)}: {why_threads}")
    return Chosen(kind, threads, step, tuple(lines))


def check(cfg: TrainConfig, device: torch.device, here: bool = True) -> None:
    """What can be known of ``trainer.step`` before a run has a folder, on a device that is
    ``here`` or on another machine, whose compilers cannot be asked.

    Raises:
        UserError: this machine or the optimizer does not have the kind that was asked for.
    """
    from genai_cli.training import compiled, graph

    refusals = {
        "compiled": lambda: compiled.unavailable(device) if here else None,
        "graph": lambda: graph.unavailable(device, cfg.optimizer["name"]),
    }
    refusal = refusals.get(cfg.trainer.step, lambda: None)()
    if refusal:
        raise UserError(f"trainer.step={cfg.trainer.step}: {refusal}; use trainer.step=eager")


class Probe:
    """The first batch and its noise, on which gradients are timed and thrown away."""

    def __init__(
        self, run: Training, data: Dataset, cfg: TrainConfig, device: torch.device
    ) -> None:
        self.run, self.data, self.cfg, self.device = run, data, cfg, device
        self.left = run.last_step(cfg) - run.step
        self.n = min(cfg.batch_size, len(data.train))  # of a whole batch
        self.plain: Gradient = partial(autograd, run.model, run.players, cfg.precision)
        self.example: tuple[Batch, dict[str, Tensor]] | None = None

    def gradients(self, compute: Gradient) -> None:
        """All players' gradients of one batch, waited for."""
        model, cfg = self.run.model, self.cfg
        if self.example is None:
            n, rows = self.n, self.run.ranks.rows(self.n)
            batch = self.data.train.batch(torch.arange(n)[rows])
            noise = model.noise(n, generator(cfg.seed, "probe", 0, self.device))
            self.example = (batch, {k: v[rows] for k, v in noise.items()})
        for player in self.run.players:
            micro_batches(compute, player, *self.example, cfg.trainer.accumulate, self.n)
            for p in player.module.parameters():
                p.grad = None
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def training(self) -> Iterator[None]:
        """The model in training mode, as in a step."""
        before = self.run.model.training
        self.run.model.train()
        try:
            yield
        finally:
            self.run.model.train(before)

    def race(
        self, ways: Mapping[Any, Callable[[], None]], compute: Mapping[Any, Gradient]
    ) -> dict[Any, float]:
        """Median seconds of each way to take the gradients, in turns of a look.

        ``ways[name]()`` is called before every turn, which begins with an untimed call.
        """
        seconds: dict[Any, list[float]] = {name: [] for name in ways}
        limit = LOOK

        def timed(name: Any) -> float:
            now = time.perf_counter()
            self.gradients(compute[name])
            return time.perf_counter() - now

        with self.training():
            self.gradients(self.plain)  # the very first is slow for reasons of its own
            start, turns = time.perf_counter(), 0
            while turns == 0 or time.perf_counter() - start < (LOOK if turns < 3 else limit):
                turns += 1
                for name, prepare in ways.items():
                    prepare()
                    first = timed(name)
                    many = 3 if first < limit / 20 else 1
                    again = [timed(name) for _ in range(many)] if first < limit / 2 else [first]
                    seconds[name] += again
                    limit = min(limit, LOOK_SHARE * self.left * min(again))
        return {name: statistics.median(times) for name, times in seconds.items()}

    def operators(self) -> int:
        """Calls of an eager gradient: what a compiler has to go through."""
        with self.training(), _Counter() as counter:
            self.gradients(self.plain)
        return counter.calls


class _Counter(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def _threads(probe: Probe, given: int | None) -> tuple[int, str]:
    """CPU threads, and why where that was not given."""
    if given is not None:
        return given, ""
    most = machine.default_threads()
    if probe.device.type != "cpu" or most == 1:
        return most, ""
    if probe.left < FEWEST:
        return most, ""
    ways = {n: partial(torch.set_num_threads, n) for n in (1, most)}
    seconds = probe.race(ways, dict.fromkeys(ways, probe.plain))
    best = min(seconds, key=lambda n: seconds[n])
    one, many = (f"{1000 * seconds[n]:.1f} ms" for n in (1, most))
    return best, f"a gradient takes {one} with 1 and {many} with {most}"


def _kind(probe: Probe, recorded: str | None) -> tuple[str, Step, str]:
    """(kind, step, why it was chosen; "" where nobody chose)."""
    eager = make_step("eager", probe.run, probe.cfg, probe.device)
    asked = probe.cfg.trainer.step
    if recorded == "compiled":
        try:
            return "compiled", _compiled(probe)[0], "as before"
        except UserError as error:
            return "eager", eager, f"{error}; the rest is not bit-equal to the run so far"
    if recorded == "graph":
        from genai_cli.training.graph import unavailable

        refusal = unavailable(probe.device, probe.cfg.optimizer["name"])
        if probe.run.ranks.world > 1:
            refusal = "CUDA graphs are for one device"
        if refusal:
            return "eager", eager, f"{refusal}; the rest is not bit-equal to the run so far"
    elif recorded is not None:  # also a run of a pack, which goes on alone
        return "eager", eager, ""
    if recorded == "graph" or asked == "graph":
        return "graph", make_step("graph", probe.run, probe.cfg, probe.device), ""
    if asked == "eager":
        return "eager", eager, ""
    if asked == "compiled":
        try:
            step, seconds = _compiled(probe)
        except UserError as error:
            raise UserError(f"trainer.step=compiled: {error}; use trainer.step=eager") from error
        return "compiled", step, f"compiling took {seconds:.0f} s{_except(step)}"
    return _pays(probe, eager)


def _pays(probe: Probe, eager: Step) -> tuple[str, Step, str]:
    """``auto``: compile where that is expected to pay, and keep it where it is faster."""
    left = f"{probe.left:,} steps"
    from genai_cli.training.compiled import cache

    if probe.left < FEWEST:
        return "eager", eager, f"{left} are too few for compiling to pay"
    seconds = probe.race({"eager": lambda: None}, {"eager": probe.plain})["eager"]
    took = f"{left} of {1000 * seconds:.1f} ms"
    base, most = BASE if any(cache().glob("*")) else FIRST, probe.left * MOST * seconds
    if most < base:  # before anything is counted, which imports the compiler: two seconds
        why = f"compiling would take {base:.0f} s at least and save {most:.0f} s at most"
        return "eager", eager, f"{took}; {why}"
    operators = probe.operators()
    cost = base + EACH * operators
    saved = min(probe.left * (SHARE * seconds + OVERHEAD * operators), most)
    if saved < cost:
        why = f"compiling would take about {cost:.0f} s and save about {saved:.0f} s"
        return "eager", eager, f"{took}; {why}"
    try:
        step, cost = _compiled(probe)
    except UserError as error:
        return "eager", eager, f"{took}; {error}"
    ways = {"eager": lambda: None, "compiled": lambda: None}
    found = probe.race(ways, {"eager": probe.plain, "compiled": step.gradient})
    one, other = 1000 * found["eager"], 1000 * found["compiled"]
    if other > 0.97 * one:
        return "eager", eager, f"{took}; compiled they take {other:.1f} ms"
    why = f"{left} of {other:.1f} ms instead of {one:.1f}; compiling took {cost:.0f} s"
    return "compiled", step, why + _except(step)


def _compiled(probe: Probe) -> tuple[Any, float]:
    """(a `CompiledStep` whose graphs are made, seconds that took).

    Raises:
        UserError: it cannot be had here, in one line without what to type.
    """
    from genai_cli.training.compiled import CompiledStep, NotCompiled, unavailable

    refusal = unavailable(probe.device)
    if probe.run.ranks.world > 1 and probe.run.model.couples_examples:
        refusal = "its loss speaks to the other ranks (loss.sigma=optimal)"
    if refusal:
        raise UserError(refusal)
    step = CompiledStep(probe.run, probe.cfg)
    start = time.perf_counter()
    try:
        with probe.training():
            probe.gradients(step.gradient)
    except NotCompiled as error:
        raise UserError(f"torch.compile cannot follow this model ({error})") from error
    return step, time.perf_counter() - start


def _except(step: Any) -> str:
    """Who is not compiled."""
    if not step.uncompiled:
        return ""
    return "; not compiled: " + ", ".join(f"{k} ({v})" for k, v in step.uncompiled.items())
