"""Train several runs as one stack, each with its own folder, log and summary.

What an epoch and an end write is `session.Session`'s, cell by cell. Measuring and drawing at
the end takes longer than the training of a small model: with a core to spare it is done in
processes of their own, as `genai resume` would do it, from what lies in the folder.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import torch

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.models.base import Model
from genai_cli.runner import lifecycle, load
from genai_cli.runner.console import Reporter, show
from genai_cli.runner.session import Session, begin, diverged
from genai_cli.store import run_config, run_folder
from genai_cli.system import atomic_write
from genai_cli.system.cpu import cores
from genai_cli.system.library_messages import capture_messages
from genai_cli.system.preemption import Signals
from genai_cli.system.text import format_number
from genai_cli.training import checkpoint, machine, setup
from genai_cli.training.finite import Diverged
from genai_cli.training.loop import calibrate
from genai_cli.training.stack.optimizer import StackCell
from genai_cli.training.stack.stack import Stack

FEW = 4  # runs that a process of its own must have to conclude, to be worth its start


def train(
    folders: Sequence[Path],
    data: Dataset,
    signals: Signals,
    changed: Callable[[], None],
) -> None:
    """Train the runs in ``folders`` as one stack, each to its own end.

    Args:
        folders: run folders, written whole, of configs that `pack_plan` put together.
        data: their data set.
        signals: on one, every run is saved and interrupted.
        changed: called when a run has come to an end.
    """
    first = run_config.load_config(folders[0])
    device = machine.pick_device(first.device)
    size = run_folder.read_json(folders[0] / run_folder.RUN).get("parameters", 0)
    work = 3 * first.batch_size * size * len(folders)
    threads = first.trainer.threads or machine.threads_for(work, device)
    threads = threads or machine.default_threads()  # a stack is not measured: it is large
    with machine.numerics(first, threads), ExitStack() as open_logs:
        ends = open_logs.enter_context(Finalizer(folders, changed))
        data = data.to(device)
        cells: dict[Path, tuple[StackCell, Session]] = {}
        keep = partial(_log_all, cells)
        open_logs.enter_context(capture_messages(keep))
        for folder in folders:
            try:
                report = open_logs.enter_context(Reporter(folder / run_folder.LOG, quiet=True))
            except UserError as error:  # another process trains it: it is left to that
                show(f"note: {error}: left to it")
                continue
            try:
                cfg = _in_fp32(run_config.load_config(folder))
                session = begin(folder, cfg, data, device, report)
                cells[folder] = StackCell(session.state, cfg), session
            except Exception as error:
                lifecycle.failed(folder, error, report)
                changed()
        try:
            _train(cells, data, signals, ends)
        except KeyboardInterrupt:  # the second Ctrl-C: leave at once with what was saved
            for folder in cells:
                lifecycle.set_status(folder, "interrupted")
            raise
        except Exception as error:  # of the stack itself: it is everybody's
            for folder, (_, session) in list(cells.items()):
                with suppress(OSError):
                    session.saver.rescue()
                lifecycle.failed(folder, error, session.report)
                del cells[folder]
        ends.wait(signals)


def _train(
    cells: dict[Path, tuple[StackCell, Session]], data: Dataset, signals: Signals, ends: Finalizer
) -> None:
    """Step until everybody left ``cells``: to ``ends``, or failed, or interrupted."""
    if not cells:
        return
    stack = Stack([cell for cell, _ in cells.values()])
    threads = torch.get_num_threads()
    for folder, (_, session) in cells.items():
        run_info = run_folder.read_json(folder / run_folder.RUN)
        size = {"cells": len(cells), "threads": threads}
        recorded = {"step_kind": "packed", "pack": size}
        # the run's own, should it go on outside the stack
        recorded["threads"] = run_info.get("threads") or threads
        recorded["precision"] = session.cfg.precision
        recorded["device"] = machine.device_name(machine.pick_device(session.cfg.device))
        atomic_write.write_json(folder / run_folder.RUN, run_info | recorded)
        session.report.log(f"step   packed: {len(cells)} runs in one, {threads} threads")
        if run_config.load_config(folder).precision == "auto":
            session.report.log("precision fp32: a stack is not measured")
        session.report.start_live(session.cfg.epochs, session.state)
    if ends.importing:
        torch.set_num_threads(1)
    for now in stack.train(data):
        at_row = {f: pair for f, pair in cells.items() if pair[1].at_row}
        if at_row:
            now.sync_cells()
            if not ends.importing:
                torch.set_num_threads(threads)
            _calibrate(now, data)
            means = now.evaluate(data.val, "validation")
            val = {id(cell): row for cell, row in zip(now.cells, means, strict=True)}
            gone = [
                folder
                for folder, (cell, session) in at_row.items()
                if not _goes_on(folder, session, val[id(cell)], ends)
            ]
            _tell(at_row)
            now.leave([cells[folder][0] for folder in gone])
            for folder in gone:
                _, session = cells.pop(folder)
                if session.status != "failed":
                    ends.add(session)
        if signals.code:
            break
    if cells:
        stack.sync_cells()
    for folder, (_, session) in list(cells.items()):
        session.end(signals.code, signals)
        del cells[folder]


def _log_all(cells: Mapping[Path, tuple[StackCell, Session]], text: str) -> None:
    for _, session in cells.values():
        session.report.log(text)


def _in_fp32(cfg: TrainConfig) -> TrainConfig:
    """``precision=auto`` of a cell of a stack, where nothing is measured."""
    return dataclasses.replace(cfg, precision="fp32") if cfg.precision == "auto" else cfg


def _calibrate(stack: Stack, data: Dataset) -> None:
    for cell in stack.cells:
        if type(cell.state.model).calibrate is not Model.calibrate:
            with cell.state.averaged():
                calibrate(cell.state, data, cell.cfg.seed)


def _goes_on(folder: Path, session: Session, val: dict[str, float], ends: Finalizer) -> bool:
    """Write the epoch of one run; whether there is another. What fails fails alone."""
    try:
        session.report.step(session.state)
        session.end_epoch(val)
    except Exception as error:
        with suppress(OSError):
            session.saver.rescue()
        if isinstance(error, Diverged):  # taken again alone, which is the same to rounding
            device, failed = next(session.state.model.parameters()).device, session.state
            single = setup.new_training(session.cfg, session.data, device, resume=True)
            single.step, single.cuts, single.ranks = failed.step, failed.cuts, failed.ranks
            error = diverged(session, device, "eager", error, single)
        lifecycle.failed(folder, error, session.report)
        session.status = "failed"
        ends.changed()
        return False
    return session.status == "finished" and not session.state.done(session.cfg)


def _tell(cells: dict[Path, tuple[StackCell, Session]]) -> None:
    """One line for the epoch of all runs: the span of what is monitored."""
    sessions = [session for _, session in cells.values() if session.status != "failed"]
    if not sessions:
        return
    first = sessions[0]
    column = first.cfg.monitor or next(k for k in first.metrics.last if k.endswith("/loss"))
    values = [s.metrics.last[column] for s in sessions if column in s.metrics.last]
    seconds = max(session.state.elapsed() for session in sessions)
    images = sum(session.state.images for session in sessions)
    epochs = max(session.cfg.epochs for session in sessions)
    epoch = int(first.metrics.last["epoch"])
    show(
        f"epoch {epoch:{len(str(epochs))}d}/{epochs}  {column} {format_number(min(values))} – "
        f"{format_number(max(values))} of {len(values)} runs  {images / seconds:,.0f} images/s  "
        f"{seconds:.1f} s"
    )


class Finalizer:
    """Finalizes trained runs in this process, or in worker processes where cores are free.

    Args:
        folders: all runs there may be.
        changed: called when one has ended.
    """

    def __init__(self, folders: Sequence[Path], changed: Callable[[], None]) -> None:
        self.changed, self.number, self.reported = changed, len(folders), 0
        self.waiting: dict[Path, tuple[Session, Future[int] | None]] = {}
        self.pool: ProcessPoolExecutor | None = None
        self.warm: list[Future[None]] = []
        workers = min(cores(), len(folders) // FEW, 8)
        if workers > 1:
            context = get_context("spawn")  # a copy of threads and locks is not safe to go on with
            stop, self.stop = context.Pipe(duplex=False)  # closed: that needs nobody to answer
            self.pool = ProcessPoolExecutor(workers, context, _listen, (stop,))
            self.warm = [self.pool.submit(_import) for _ in range(workers)]

    def __enter__(self) -> Finalizer:
        return self

    def __exit__(self, *_) -> None:
        if self.pool is not None:
            if self.waiting:
                self.stop.close()
            self.pool.shutdown(wait=bool(self.waiting), cancel_futures=True)
        for folder, (session, _) in self.waiting.items():
            if run_folder.read_json(folder / run_folder.RUN).get("status") == "running":
                session.report.close()  # its words are for its log, which may be another's still
                with Reporter(folder / run_folder.LOG, quiet=True) as report:
                    about = folder, session.cfg, session.state, session.status
                    lifecycle.not_measured(*about, report)

    @property
    def importing(self) -> bool:
        """True while the worker processes import, on cores that a stack should leave them."""
        return not all(future.done() for future in self.warm)

    def add(self, session: Session) -> None:
        """A run whose last step is taken: saved, and concluded elsewhere or when all have trained.

        The others' clock does not stop for it.
        """
        try:
            session.saver.now(session.state)
        except Exception as error:
            lifecycle.failed(session.folder, error, session.report)
            self.changed()
            return
        future = None
        if self.pool is not None:
            session.report.close()  # its log is the other process's now
            with suppress(BrokenProcessPool):
                future = self.pool.submit(finalize_run, str(session.folder), session.status)
        self.waiting[session.folder] = session, future

    def wait(self, signals: Signals) -> None:
        """Until all have ended; after a signal none is measured any more."""
        for folder, (session, future) in list(self.waiting.items()):
            while future is not None and not future.done():
                if signals.code:
                    self.stop.close()
                    future.cancel()
                wait_for([future], timeout=0.2)
            left = future is None or future.cancelled()
            left = left or isinstance(future.exception(), BrokenProcessPool)
            if signals.code and left:
                continue
            if left:
                session.report.close()
                # the pool could not (out of memory, say)
                finalize_run(str(folder), session.status, signals)
            else:
                future.result()
            del self.waiting[folder]
            self._ended(folder)

    def _ended(self, folder: Path) -> None:
        self.reported += 1
        done = run_folder.read_json(folder / run_folder.SUMMARY)
        status = run_folder.read_json(folder / run_folder.RUN).get("status")
        metrics = list(done.get("metrics", {}).items())[:3]
        numbers = "  ".join(f"{name} {format_number(entry['value'])}" for name, entry in metrics)
        numbers = run_folder.UNMEASURED if run_folder.unmeasured(done) else numbers
        after = f" after {done['epoch']} epochs" if done else ""
        show(f"{self.reported}/{self.number}  {folder.name}  {status}{after}  {numbers}".rstrip())
        self.changed()


_data: dict[str, Dataset] = {}  # of this process: cells share their data set


def finalize_run(folder: str, status: str, signals: Signals | None = None) -> int:
    """Measure and draw a trained run from its folder; the exit code, as of `runner.run.run`.

    ``signals`` is what the caller listens with; without, `_listen` has begun to.
    """
    signals = signals or _signals
    path = Path(folder)
    run_info = run_folder.read_json(path / run_folder.RUN)
    cfg = load.with_measured_precision(run_config.load_config(path), run_info)
    threads = run_info.get("threads")
    device = machine.pick_device(cfg.device)
    log = Reporter(path / run_folder.LOG, quiet=True)
    with machine.numerics(cfg, threads), log as report, capture_messages(report.log):
        try:
            key = str((cfg.dataset, cfg.split_seed))
            if key not in _data:
                _data[key] = load.load_data(cfg).to(device)
            data = _data[key]
            load.same_data(path, data)
            state = setup.new_training(cfg, data, device, resume=True)
            checkpoint.load(path / run_folder.CHECKPOINTS, state)
            return lifecycle.finalize(path, cfg, data, state, status, report, signals)
        except Exception as error:
            return lifecycle.failed(path, error, report)


_signals = Signals()  # of a process of the pool


def _listen(stop: Connection) -> None:
    """A Ctrl-C reaches every process of a terminal; the first one decides, and closes its end of
    ``stop``, as its death does. TERM ends a process that concludes nothing: so the executor ends
    those that are left of a pool that lost one."""
    for number in Signals.HANDLED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _signals.handle)

    def end(number: int, frame: FrameType | None) -> None:
        _signals.handle(number, frame)
        if not _signals.raising:
            os._exit(143)

    signal.signal(signal.SIGTERM, end)

    def wait() -> None:
        stop.poll(None)
        signal.raise_signal(signal.SIGUSR1)

    threading.Thread(target=wait, daemon=True).start()


def _import() -> None:
    """What concluding needs."""
    with capture_messages():
        from genai_cli.evaluation import run_figures  # noqa: F401
