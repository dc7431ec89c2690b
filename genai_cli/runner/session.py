"""The training session of a run: what is written and decided at the end of each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genai_cli.training.progress import due, epoch_row, is_best, out_of_patience

if TYPE_CHECKING:  # cli/commands/train.py imports this, and `--cfg job` must not load torch
    import torch

    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset
    from genai_cli.runner.console import Reporter
    from genai_cli.runner.loggers import Loggers
    from genai_cli.runner.stopping_rules import StoppingRules
    from genai_cli.store.metrics_csv import MetricsWriter
    from genai_cli.system.preemption import Signals
    from genai_cli.training.distributed import Ranks
    from genai_cli.training.finite import Diverged
    from genai_cli.training.saving import Saver
    from genai_cli.training.state import Training


# what a run writes in its own folder
WRITTEN = (".json", ".csv", ".yaml", ".png", ".pdf", ".svg", ".gif")


@dataclass
class Session:
    """A run between its first line and its last; the steps in between are somebody else's."""

    folder: Path
    cfg: TrainConfig
    data: Dataset
    state: Training
    report: Reporter
    metrics: MetricsWriter
    saver: Saver
    loggers: Loggers
    stopping_rules: StoppingRules
    status: str  # what it will be if nothing else happens

    @property
    def at_row(self) -> bool:
        """True where a row of metrics.csv is due after this step."""
        return self.state.at_epoch_end or self.state.step == self.cfg.trainer.max_steps

    def end_epoch(self, val: Mapping[str, float]) -> None:
        """Write the row; save and draw where due; ``status`` says whether patience ran out.

        All ranks judge, from the same numbers; rank 0 writes, and its status is everybody's.

        Raises:
            Diverged: a number of the row, or of what was to be saved, is not finite.
        """
        from genai_cli.training.finite import check_finite
        from genai_cli.training.gradients import grad_norms

        now, cfg = self.state, self.cfg
        pulls = grad_norms(now, self.data, cfg.seed)
        row = epoch_row(now, val) | {f"train/{name}": norm for name, norm in pulls.items()}
        check_finite(row)
        best = now.at_epoch_end and is_best(now, row, cfg)
        self._by_first(lambda: self._write(row, best))

    def _by_first(self, write: Callable[[], None]) -> None:
        """Rank 0 writes; its status is everybody's, and so is what it finds not finite: the step
        is looked for by all ranks together."""
        from genai_cli.training.finite import Diverged

        failure = None
        if self.state.ranks.first:
            try:
                write()
            except Diverged as error:
                failure = error
        self.status, failure = self.state.ranks.broadcast((self.status, failure))
        if failure is not None:
            raise failure

    def _write(self, row: Mapping[str, float], best: bool) -> None:
        from genai_cli.training.loop import finish

        now, cfg = self.state, self.cfg
        self.metrics.add(row)
        # before the checkpoint: a run that is killed in between comes to this epoch once more
        over = not now.at_epoch_end or now.done(cfg)
        if out_of_patience(now, cfg) or (not over and self.stopping_rules.should_stop(now, row)):
            self.status = "stopped"
        self.loggers.row(row)
        self.report.epoch(row, best)
        if now.at_epoch_end:
            self.saver.epoch(now, best)
        if due(now, cfg.trainer.figures_every):
            from genai_cli.evaluation import run_figures  # matplotlib: not before step 1

            with now.averaged():
                finish(now.model, self.data)
                run_figures.draw(self.folder, now.model.eval(), self.data, cfg, {}, now.best_epoch)

    def end(self, code: int, signals: Signals | None = None) -> int:
        """Save; conclude, unless a signal (130, 143) came, or comes meanwhile. The exit code.

        Args:
            code: 0, or that of the signal.
            signals: what the caller listens with, if not the ranks.
        """
        from genai_cli.runner import lifecycle

        state, cfg = self.state, self.cfg
        early = code and self.status == "finished" and not state.done(cfg)
        self._by_first(lambda: self.saver.now(state))  # then the best weights are on disk
        if early and not state.ranks.first:
            return code
        if early:
            self.loggers.end("interrupted")
            return lifecycle.interrupted(self.folder, state, code, self.report)
        if code:
            lifecycle.not_measured(self.folder, cfg, state, self.status, self.report)
        else:
            about = self.folder, cfg, self.data, state, self.status, self.report
            code = lifecycle.finalize(*about, signals)
        self.loggers.end("interrupted" if code else self.status)
        return code


def begin(
    folder: Path,
    cfg: TrainConfig,
    data: Dataset,
    device: torch.device,
    report: Reporter,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> Session:
    """The state of a run before its next step, introduced; of several ranks the same on all."""
    from genai_cli.runner import lifecycle, load
    from genai_cli.runner.loggers import Loggers
    from genai_cli.runner.stopping_rules import StoppingRules
    from genai_cli.store import run_folder
    from genai_cli.store.metrics_csv import MetricsWriter
    from genai_cli.system import atomic_write
    from genai_cli.training import checkpoint, setup
    from genai_cli.training.divergence import rollback
    from genai_cli.training.saving import Saver

    load.same_data(folder, data)
    if ranks is None or ranks.first:  # the log is locked: nobody else writes these
        atomic_write.clear_leftovers(folder, WRITTEN)
    state = setup.new_training(cfg, data, device, resume)
    checkpoints = folder / run_folder.CHECKPOINTS
    damaged = checkpoint.load(checkpoints, state) if resume else None
    state.ranks = ranks = ranks or state.ranks
    state.cuts = rollback.cuts(folder)
    if ranks.world > 1:
        averaged = [] if state.ema is None else list(state.ema.shadow.values())
        ranks.broadcast_tensors([*state.model.parameters(), *state.model.buffers(), *averaged])
    metrics = MetricsWriter(folder, state.step, state.steps_per_epoch)
    every, keep = cfg.trainer.save_every, cfg.trainer.keep
    back_to = state.steps_per_epoch if cfg.trainer.rollback else None
    saver = Saver(checkpoints, every, keep, metrics.sync, back_to)
    lifecycle.log_header(report, folder, cfg, data, state, damaged)
    names = cfg.trainer.loggers if ranks.first else []
    asked = (
        run_folder.read_config(folder) if names else {}
    )  # a service refuses another one on resume
    loggers = Loggers(folder, names, asked, state.step, report.line)
    stopping_rules = StoppingRules(folder, cfg, state.epoch)
    status = "stopped" if out_of_patience(state, cfg) or stopping_rules.stopped else "finished"
    if ranks.first:
        saver.begin(state)
    status = ranks.broadcast(status)
    return Session(
        folder, cfg, data, state, report, metrics, saver, loggers, stopping_rules, status
    )


def diverged(
    session: Session,
    device: torch.device,
    kind: str,
    error: Diverged,
    state: Training | None = None,
) -> Diverged | None:
    """Find out why, and go back where the config allows it; of several ranks all call it.

    Args:
        session: its state is taken back on the way,
        state: or this one is, whose step, ranks and cuts are those of the session's.

    Returns:
        What to tell; None where the run is ready to go on from an earlier step.
    """
    from genai_cli.runner import divergence
    from genai_cli.training.divergence import rollback

    state = session.state if state is None else state
    folder, cfg, report = session.folder, session.cfg, session.report
    ranks, noticed = state.ranks, state.step
    report.stop_live()
    report.line(f"{error}; looking for the step")
    incident = divergence.investigate(folder, cfg, session.data, device, kind, state, error)
    back = None
    if ranks.first and not incident.stopped:
        good = max(0, noticed - 1) if incident.step is None else incident.step
        back = rollback.go_back(folder, cfg, good, state.steps_per_epoch)
    back = ranks.broadcast(back)
    if back is None:
        return incident.error.with_traceback(error.__traceback__)
    report.line(str(incident.error))
    report.line(back)
    return None
