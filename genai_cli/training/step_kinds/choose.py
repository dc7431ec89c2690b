"""Choose precision, CPU threads and kind of step by measuring them at the start of a run.

Nothing here moves a run: gradients are computed and thrown away. What is chosen goes into run.json
and is taken from there on resume, so that a resumed run does the very arithmetic of the
uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from genai_cli.errors import UserError
from genai_cli.training import machine
from genai_cli.training.step import Step
from genai_cli.training.step_kinds.make import make_step
from genai_cli.training.step_kinds.probe import FEWEST, Probe

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset
    from genai_cli.training.state import Training

GAIN = 0.9  # bf16 keeps 8 of 24 bits: ``auto`` takes it where a gradient takes this share or less
# What compiling takes and saves grows with the operators of an eager step. Fitted on one thread,
# cold caches: AE 83 operators, 20 s, saves 0.5 of 0.9 ms; convolutional VAE 174, 25 s, 0.7 of 8.4;
# U-Net 593, 71 s, 16 of 72; spline flow 2670, 42 s, 21 of 33; flow of digits 3266, 89 s, 47 of 64.
FIRST, BASE, EACH = 20.0, 8.0, 0.02  # seconds: into an empty cache, into another, an operator
SHARE, OVERHEAD, MOST = 0.1, 4e-6, 0.7  # of a step; seconds an operator; of a step at most


class Chosen(NamedTuple):
    """The step function of a run with its kind, CPU threads and precision."""

    kind: str  # eager, compiled or graph; run.json's step_kind
    threads: int  # of the CPU; run.json's threads
    precision: str  # fp32, bf16 or fp64; run.json's precision
    step: Step
    lines: tuple[str, ...]  # for the user and train.log: what and why

    def recorded(self) -> dict[str, Any]:
        """Return the entries of run.json that a resumed run reads back."""
        return {"threads": self.threads, "step_kind": self.kind, "precision": self.precision}


def choose(
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
        cfg: ``precision``, ``trainer.step`` and ``trainer.threads`` leave nothing to choose where
            they are given.
        device: where the run is.
        recorded: run.json; ``step_kind``, and ``threads`` and ``precision`` where they were left
            open, are None before a first step.

    Raises:
        UserError: a kind was asked for that this machine, model or optimizer does not have.
    """
    ranks, probe = run.ranks, Probe(run, data, cfg, device)
    chosen = _choose(probe, recorded) if ranks.first else None
    same = ranks.broadcast(chosen and chosen.recorded())
    chosen = chosen or _choose(probe, same)
    kinds = ranks.all_gather(chosen.kind)
    if len(set(kinds)) == 1:
        return chosen
    lines = (*chosen.lines, f"step   eager: rank {kinds.index('eager')} cannot compile")
    step = make_step("eager", run, probe.cfg, device)
    return Chosen("eager", chosen.threads, chosen.precision, step, lines)


def _choose(probe: Probe, recorded: Mapping[str, Any]) -> Chosen:
    threads, precision, lines = _threads_and_precision(probe, recorded)
    torch.set_num_threads(threads)
    probe.cfg = dataclasses.replace(probe.cfg, precision=precision)
    kind, step, why = _kind(probe, recorded.get("step_kind"))
    if why:
        lines.insert(0, f"step   {kind}: {why}")
    return Chosen(kind, threads, precision, step, tuple(lines))


def check(cfg: TrainConfig, device: torch.device, here: bool = True) -> None:
    """Check ``trainer.step`` before a run has a folder.

    ``here`` is False for a device on another machine, whose compilers cannot be checked.

    Raises:
        UserError: this machine or the optimizer does not have the kind that was asked for.
    """
    from genai_cli.training.step_kinds import compiled, graph

    refusals = {
        "compiled": lambda: compiled.unavailable(device) if here else None,
        "graph": lambda: graph.unavailable(device, cfg.optimizer["name"]),
    }
    refusal = refusals.get(cfg.trainer.step, lambda: None)()
    if refusal:
        raise UserError(f"trainer.step={cfg.trainer.step}: {refusal}; use trainer.step=eager")


def _threads_and_precision(probe: Probe, recorded: Mapping[str, Any]) -> tuple[int, str, list[str]]:
    """(CPU threads, precision, lines that say what was measured).

    Threads that share small steps lose, and so does bf16 on a processor without instructions for
    it. Either depends on the other, so they are measured together.
    """
    cfg, most = probe.cfg, machine.default_threads()
    given = recorded.get("threads") or cfg.trainer.threads
    threads = [given or most]
    if given is None and probe.device.type == "cpu" and most > 1 and probe.left >= FEWEST:
        threads = [1, most]
    precisions, lines = _precisions(probe, recorded)
    try:
        seconds = _time_alternatives(probe, threads, precisions)
    except Exception as error:  # an operation, a device or NumPy without bf16; fp32 is tried next
        if cfg.precision != "auto" or len(precisions) == 1:
            raise
        message = " ".join(str(error).split())[:120]
        lines.append(f"precision fp32: in bf16 a gradient fails ({message})")
        precisions = ["fp32"]
        seconds = _time_alternatives(probe, threads, precisions)
    fastest = {p: min(((n, p) for n in threads), key=seconds.__getitem__) for p in precisions}
    took = {p: 1000 * seconds[way] for p, way in fastest.items()}
    precision = precisions[0]
    if cfg.precision == "auto" and len(precisions) > 1:
        precision = "bf16" if took["bf16"] <= GAIN * took["fp32"] else "fp32"
    best = fastest[precision][0]
    if len(threads) > 1:
        one, many = (f"{1000 * seconds[n, precision]:.1f} ms" for n in threads)
        plural = "s" * (best > 1)
        lines.append(
            f"cpu    {best} thread{plural}: a gradient takes {one} with 1 and {many} with {most}"
        )
    if len(precisions) > 1:
        other = "fp32" if precision == "bf16" else "bf16"
        line = f"precision {precision}: a gradient takes {took[precision]:.1f} ms, "
        line += f"with {other} {took[other]:.1f}"
        if cfg.precision == "auto":
            lines.append(line)
        elif took[other] < GAIN * took[precision]:
            times = took[precision] / took[other]
            lines.append(f"{line} ({times:.1f} times faster): precision=auto")
    return best, precision, lines


def _time_alternatives(
    probe: Probe, threads: list[int], precisions: list[str]
) -> dict[tuple[int, str], float]:
    """Seconds of a gradient with (threads, precision); of a single one nothing is measured."""
    ways = list(itertools.product(threads, precisions))
    if len(ways) == 1:
        return {ways[0]: 0.0}
    eager = {precision: probe.eager(precision) for precision in precisions}
    return probe.time_alternatives(
        {way: partial(torch.set_num_threads, way[0]) for way in ways},
        {way: eager[way[1]] for way in ways},
    )


def _precisions(probe: Probe, recorded: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(what to measure, the first of which is taken where nothing is measured; lines on why not).

    ``auto`` chooses between fp32 and bf16. Beside a bf16 that was asked for, fp32 is measured at a
    run's first start, to say so where it is faster.
    """
    asked, long = probe.cfg.precision, probe.left >= FEWEST
    if asked == "bf16" and long and recorded.get("step_kind") is None:
        return ["bf16", "fp32"], []
    if asked != "auto":
        return [asked], []
    if recorded.get("precision") is not None:  # by the first rank
        return [recorded["precision"]], []
    if not long:
        return ["fp32"], [f"precision fp32: {probe.left:,} steps are too few to measure bf16"]
    return ["fp32", "bf16"], []


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
        from genai_cli.training.step_kinds.graph import unavailable

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
    from genai_cli.training.step_kinds.compiled import cache

    if probe.left < FEWEST:
        return "eager", eager, f"{left} are too few for compiling to pay"
    seconds = probe.time_alternatives(
        {"eager": lambda: None}, {"eager": probe.configured_gradient}
    )["eager"]
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
    medians = probe.time_alternatives(
        ways, {"eager": probe.configured_gradient, "compiled": step.gradient}
    )
    one, other = 1000 * medians["eager"], 1000 * medians["compiled"]
    if other > 0.97 * one:
        return "eager", eager, f"{took}; compiled they take {other:.1f} ms"
    why = f"{left} of {other:.1f} ms instead of {one:.1f}; compiling took {cost:.0f} s"
    return "compiled", step, why + _except(step)


def _compiled(probe: Probe) -> tuple[Any, float]:
    """(a `CompiledStep` whose graphs are made, seconds that took).

    Raises:
        UserError: it cannot be had here, in one line without what to type.
    """
    from genai_cli.training.step_kinds.compiled import CompiledStep, NotCompiled, unavailable

    refusal = unavailable(probe.device)
    if probe.run.ranks.world > 1 and probe.run.model.batch_dependent:
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
