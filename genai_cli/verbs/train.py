"""`genai train`: compose, check every cell, claim a folder, train in it.

`run` is the whole life of one run. It reads the folder's config and nothing else, so that a fresh
run, a resumed one and a sweep's worker are the same call.
"""

from __future__ import annotations

import dataclasses
import itertools
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli import ranks, storage
from genai_cli.collector import resting
from genai_cli.errors import UserError
from genai_cli.session import begin, diverged

if TYPE_CHECKING:  # nothing heavy at import: `--cfg job` must not load torch
    from genai_cli.console import Reporter
    from genai_cli.data.dataset import Dataset
    from genai_cli.schema import TrainConfig
    from genai_cli.training.distributed import Ranks
    from genai_cli.training.preempt import Signals

UNBUILT = ("seed", "outputs", "name", "tags")  # knobs that no check of a build depends on
UNTOLD = (*UNBUILT, "optimizer", "schedule", "epochs", "monitor", "init_from", "force_loss")
#        and what, beside the seed, run.json does not tell of


def main(args: list[str]) -> int:
    """One run, or with -m a sweep; the exit code."""
    from genai_cli import compose

    line = compose.parse(args)
    if line.show:
        return compose.show("train", line)
    command = shlex.join(["genai", "train", *args])
    if ranks.world() > 1 and (line.multirun or line.launcher):
        raise UserError(
            "torchrun trains one run, here; for a sweep or a launcher leave it out and type "
            f"trainer.devices={ranks.world()}"
        )
    if line.multirun:
        from genai_cli.sweeps.launch import launch

        return launch(line, command)
    from genai_cli.launchers.settings import gpus_of, of_one_run

    cell = compose.single("train", line)
    how = of_one_run(line) if line.launcher else None
    from genai_cli.training.preempt import Signals

    note, gpus = lambda text: print(text, file=sys.stderr), gpus_of(how)
    prepared = prepare(cell.config, note, gpus=gpus)
    if prepared.cfg.trainer.pack != "none":
        told = f"trainer.pack={prepared.cfg.trainer.pack}: one run alone; it is for a sweep (-m)"
        print(told, file=sys.stderr)
    if how is not None:
        from genai_cli.launchers import start as launchers

        launchers.check(how, [prepared.cfg])
        with Signals() as signals:
            return launchers.alone(start(prepared, command), how, signals)
    with Signals() as signals:
        return run(start(prepared, command), prepared.data, signals=signals)


@dataclass
class Prepared:
    """A checked config with its data; nothing is on disk yet."""

    cfg: TrainConfig
    data: Dataset
    described: dict[str, Any]  # run.json, but for command and start


@resting()
def prepare(
    cfg: TrainConfig,
    note: Callable[[str], None],
    data: Dataset | None = None,
    built: dict[str, dict[str, Any]] | None = None,
    gpus: int | None = None,
) -> Prepared:
    """Every check that can fail because of the user: ranges, data, pairs, a build on meta.

    Args:
        cfg: as composed.
        note: is told every choice that was made for the user (``loss=auto``).
        data: the config's data set, where the caller has loaded it already.
        built: what was said of the cells of a sweep so far, to be added to: cells that differ in
            their seed alone are checked once, those of one shape built once.
        gpus: where a launcher takes the run to another machine, what it asks for there
            (`launchers.settings.gpus_of`).

    Raises:
        genai_cli.errors.UserError: the first mistake.
    """
    from genai_cli import rules, runs
    from genai_cli.data.home import user_place

    rules.check(cfg)  # before torch is imported: a typo is answered at once
    cfg = ranks.sized(cfg)
    from genai_cli.training import describe, machine, setup

    device = machine.pick_device(cfg.device, gpus)
    if ranks.rank():  # rank 0 says it
        note = [].append
    notes: list[str] = []  # told once nothing is wrong: a mistake is one line
    if gpus is None and (crowded := ranks.crowded(cfg, device)):
        notes.append(crowded)
    if gpus is None and (unused := machine.unused_gpu(cfg.device, device)):
        notes.append(unused)
    if cfg.init_from is not None:  # "latest" now, not when the run reads its config again
        try:
            source = runs.find(cfg.init_from, cfg.outputs)
        except UserError as error:
            raise UserError(f"init_from={cfg.init_from}: {error}") from None
        cfg = dataclasses.replace(cfg, init_from=str(source.resolve()))
    absolute = {
        k: str(user_place(v, f"dataset.{k}").absolute())
        for k, v in cfg.dataset.items()
        if k in ("path", "root") and v and isinstance(v, str)
    }
    if absolute:  # the run may be resumed from another directory
        cfg = dataclasses.replace(cfg, dataset=cfg.dataset | absolute)
    data = data or setup.load_data(cfg, notes.append)
    cfg = rules.settle(cfg, data.spec, notes.append)
    built, plain = {} if built is None else built, setup.plain(cfg)
    key, told = (repr({k: v for k, v in plain.items() if k not in n}) for n in (UNBUILT, UNTOLD))
    if key not in built:
        setup.check_built(cfg, data, gpus=gpus)
        if told not in built:
            built[told] = describe.description(cfg, data, gpus)
        built[key] = built[told]
    for line in notes:
        note(line)
    return Prepared(cfg, data, built[key] | {"seed": cfg.seed})


def start(
    prepared: Prepared, command: str, folder: Path | None = None, durable: bool = True
) -> Path:
    """Claim a folder (or take the cell's own) and write it whole; ``durable`` as `write_text`."""
    if ranks.rank():
        return Path()  # rank 0 claims and writes it, and `run` passes it on
    from genai_cli import runs

    cfg = prepared.cfg
    if folder is not None:
        return _write(folder, prepared, command, durable)
    label = cfg.name or f"{cfg.model['name']}-{prepared.data.name}"
    folder = runs.claim(runs.outputs_root(cfg.outputs), label)
    try:
        return _write(folder, prepared, command, durable)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        told = storage.one_line(error) or str(error)
        raise UserError(f"cannot write {folder}: {told}, or set outputs=DIR") from error


def _write(folder: Path, prepared: Prepared, command: str, durable: bool) -> Path:
    from genai_cli import runs
    from genai_cli.training import setup

    (folder / runs.CHECKPOINTS).mkdir()
    when = {"command": command, "started": runs.now()}
    runs.write_json(folder / runs.RUN, prepared.described | when, durable)
    # last: with it the folder is a run, and it is one whole or not at all
    runs.write_config(folder, setup.plain(prepared.cfg), durable)
    return folder


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
    from genai_cli import runs
    from genai_cli.console import Reporter
    from genai_cli.library_messages import kept_from_terminal
    from genai_cli.training import checkpoint, distributed, machine, setup
    from genai_cli.training.preempt import Signals

    with nullcontext(signals) if signals else Signals() as signals:
        if ranks.world() == 1 and setup.config_of(folder).trainer.devices > 1:
            from genai_cli.launchers import spawn

            return spawn.train(folder, signals)
        group = distributed.join(signals)
        folder, resume = group.told((folder, resume))
        if folder is None:  # `genai resume` found nothing to do
            return 0
        cfg = setup.config_of(folder)
        described = runs.read_json(folder / runs.RUN)
        log = folder / runs.LOG if group.first else None
        numerics = machine.numerics(cfg, described.get("threads"))
        with numerics, Reporter(log) as report, kept_from_terminal(report.log):
            for back in itertools.count():  # how often it has gone back
                code = _run(folder, cfg, data, resume, described, group, report, until, back)
                if code is not None:
                    return code
                saved = any(checkpoint.candidates(folder / runs.CHECKPOINTS))
                resume, described = group.told((saved, runs.read_json(folder / runs.RUN)))
    raise AssertionError("the loop ends with a code")


def _run(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset | None,
    resume: bool,
    described: dict[str, Any],
    group: Ranks,
    report: Reporter,
    until: int | None = None,
    back: int = 0,
) -> int | None:
    """`run` once threads and number type are set; None: it has gone back, and must be resumed."""
    from genai_cli import outcome, runs, sessions
    from genai_cli.library_messages import stderr_kept
    from genai_cli.training import choose, describe, machine, setup
    from genai_cli.training.finite import Diverged
    from genai_cli.training.loop import calibrate, evaluate, train

    session, chosen, code = None, None, 0
    try:
        picked = machine.pick_device(cfg.device)
        device = group.device(picked)
        data = data or setup.load_data(cfg)
        before = described
        described = group.told(group.first and describe.found_here(before, cfg, data, picked))
        cfg = setup.resolved(cfg, described)
        other = sessions.differing(before, described) if resume else {}
        if moved := sessions.moved(other):
            report.line(moved)
        data = data.to(device)
        with resting():
            session = begin(folder, cfg, data, device, report, resume, group)
        state = session.state
        with stderr_kept():  # it may compile
            chosen = choose.settle(state, data, cfg, device, described)
        session.cfg = cfg = dataclasses.replace(cfg, precision=chosen.precision)
        for line in chosen.lines:
            report.line(line)
        if group.first:
            recorded = {"devices": group.world} | chosen.recorded()
            recorded |= {key: described[key] for key in ("device", "versions")}
            now = runs.read_json(folder / runs.RUN)
            if other:  # nobody has announced it: a sweep's worker, a job of a cluster
                now |= sessions.elsewhere(now, {key: old for key, (old, _) in other.items()})
            if not back:  # the same session goes on
                recorded |= sessions.began(now, state.step)
            runs.write_json(folder / runs.RUN, now | recorded)
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
            outcome.set_status(folder, "interrupted")
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
        return outcome.failed(folder, error, report, group)
