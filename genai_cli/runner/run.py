"""Train one run: read its folder, take its steps, end its epochs, and end it.

`run` reads the folder's config and nothing else, so that a fresh run, a resumed one and a sweep's
worker are the same call.
"""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.config import ranks
from genai_cli.runner.session import begin, diverged
from genai_cli.system.gc_freeze import gc_paused

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset
    from genai_cli.runner.console import Reporter
    from genai_cli.system.preemption import Signals
    from genai_cli.training.distributed import Ranks


def run(
    folder: Path,
    data: Dataset | None = None,
    resume: bool = False,
    signals: Signals | None = None,
    until: int | None = None,
) -> int:
    """Train in ``folder`` from its config until the last epoch or the first signal.

    Args:
        folder: a run folder, written whole; of several ranks, rank 0's.
        data: its data set, where the caller has loaded it already.
        resume: go on from the newest whole checkpoint; of several ranks, rank 0's word.
        signals: what the caller listens with, where it must know of a signal, too (a sweep).
        until: a step after which it is saved and left, as by TERM; of a run in one process.

    Returns:
        The exit code: 0 done, 1 failed (one line on stderr, the traceback in train.log), 130 or
        143 interrupted and saved.
    """
    from genai_cli.runner.console import Reporter
    from genai_cli.store import run_config, run_folder
    from genai_cli.system.library_messages import capture_messages
    from genai_cli.system.preemption import Signals
    from genai_cli.training import checkpoint, distributed, machine

    with nullcontext(signals) if signals else Signals() as signals:
        if ranks.world_size() == 1 and run_config.load_config(folder).trainer.devices > 1:
            from genai_cli.runner import spawn

            return spawn.train(folder, signals)
        group = distributed.join(signals)
        folder, resume = group.broadcast((folder, resume))
        if folder is None:  # `genai resume` found nothing to do
            return 0
        cfg = run_config.load_config(folder)
        run_info = run_folder.read_json(folder / run_folder.RUN)
        log = folder / run_folder.LOG if group.first else None
        numerics = machine.numerics(cfg, run_info.get("threads"))
        with numerics, Reporter(log) as report, capture_messages(report.log):
            for back in itertools.count():  # how often it has gone back
                code = _run(folder, cfg, data, resume, run_info, group, report, until, back)
                if code is not None:
                    return code
                saved = any(checkpoint.candidates(folder / run_folder.CHECKPOINTS))
                resume, run_info = group.broadcast(
                    (saved, run_folder.read_json(folder / run_folder.RUN))
                )
    raise AssertionError("the loop ends with a code")


def _run(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset | None,
    resume: bool,
    run_info: dict[str, Any],
    group: Ranks,
    report: Reporter,
    until: int | None = None,
    back: int = 0,
) -> int | None:
    """`run` once threads and number type are set; None: it has gone back, and must be resumed."""
    from genai_cli.runner import description, lifecycle, load
    from genai_cli.store import history, run_folder
    from genai_cli.system import atomic_write
    from genai_cli.system.library_messages import capture_stderr
    from genai_cli.training import machine
    from genai_cli.training.finite import Diverged
    from genai_cli.training.loop import calibrate, evaluate, train
    from genai_cli.training.step_kinds import choose

    session, chosen, code = None, None, 0
    try:
        picked = machine.pick_device(cfg.device)
        device = group.device(picked)
        data = data or load.load_data(cfg)
        before = run_info
        run_info = group.broadcast(
            group.first and description.with_machine(before, cfg, data, picked)
        )
        cfg = load.with_measured_precision(cfg, run_info)
        other = history.differences(before, run_info) if resume else {}
        if moved := history.machine_note(other):
            report.line(moved)
        data = data.to(device)
        with gc_paused():
            session = begin(folder, cfg, data, device, report, resume, group)
        state = session.state
        with capture_stderr():  # it may compile
            chosen = choose.choose(state, data, cfg, device, run_info)
        session.cfg = cfg = dataclasses.replace(cfg, precision=chosen.precision)
        for line in chosen.lines:
            report.line(line)
        if group.first:
            recorded = {"devices": group.world} | chosen.recorded()
            recorded |= {key: run_info[key] for key in ("device", "versions")}
            now = run_folder.read_json(folder / run_folder.RUN)
            if other:  # nobody has announced it: a sweep's worker, a job of a cluster
                now |= history.add_environment_change(
                    now, {key: old for key, (old, _) in other.items()}
                )
            if not back:  # the same session goes on
                recorded |= history.set_start_step(now, state.step)
            atomic_write.write_json(folder / run_folder.RUN, now | recorded)
        report.start_live(cfg.epochs, state)
        steps = train(state, data, cfg, device, chosen.step)
        for now in steps if session.status == "finished" else ():
            report.step(now)
            if session.at_row:
                with now.averaged():
                    calibrate(now, data, cfg.seed)
                    val = evaluate(now, data.val, cfg.seed, "validation", cfg.precision)
                session.end_epoch(val)
                if session.status == "stopped":
                    break
            code = group.stop() or (143 if now.step == until else 0)
            if code:
                break
        return session.end(code)
    except KeyboardInterrupt:  # the second Ctrl-C: leave at once with what was saved
        with suppress(OSError):
            lifecycle.set_status(folder, "interrupted")
        raise
    except Exception as error:
        if session is not None and group.first:
            with suppress(OSError):  # the disk may be what failed; that is told
                session.saver.rescue()
        if chosen is not None and isinstance(error, Diverged):
            error = diverged(session, device, chosen.kind, error)
        if session is not None and group.first:
            session.loggers.end("failed" if error else "interrupted")
        if error is None:
            return None
        return lifecycle.failed(folder, error, report, group)
