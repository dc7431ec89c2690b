"""The checkpoint policy of a run: when it is saved, and how its best weights are kept.

A checkpoint costs tens of milliseconds (it is made durable file by file), an epoch of a small
network fewer. So by default one is written before the first step, then at ends of epochs at least
`GAP` seconds apart, and at the end. Weights that are the best so far are copied in memory and
written with the next checkpoint; a run that dies before goes on from an older one and computes
them again, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from genai_cli.training import checkpoint, finite
from genai_cli.training.state import Training

GAP = 10.0  # seconds between checkpoints at least,
SHARE = 50  # and this many times what the last one took: a slow disk costs 2 % at most


class Saver:
    """The checkpoints of one run.

    Args:
        folder: its ``checkpoints``.
        every: epochs between them; None: by the clock, as above.
        keep: newest ones kept; the best one is kept besides.
        first: called before a checkpoint is written, to make durable what it counts on.
        back_to: steps of an epoch, where the run may be sent back to the start of one (see
            divergence/rollback.py): then the newest checkpoint there is kept, too.
    """

    def __init__(
        self,
        folder: Path,
        every: int | None,
        keep: int,
        first: Callable[[], None],
        back_to: int | None = None,
    ) -> None:
        self.folder, self.every, self.keep, self.first = folder, every, keep, first
        self.back_to = back_to
        self.best: checkpoint.Snapshot | None = None  # not on disk yet
        self.next = time.monotonic() + GAP

    def begin(self, run: Training) -> None:
        """Before step 1: the weights as drawn, and a proof that the disk takes them."""
        if run.step == 0:
            self._write(_whole(run))

    def epoch(self, run: Training, best: bool) -> None:
        """At the end of an epoch: keep the best so far, write what is due."""
        if best:
            self.best = _whole(run)
        if time.monotonic() >= self.next if self.every is None else run.epoch % self.every == 0:
            self.now(run)

    def now(self, run: Training) -> None:
        """Write the best weights, if they are not on disk yet, and the state as it stands."""
        self.rescue()
        self._write(_whole(run))

    def rescue(self) -> None:
        """Write the best weights alone: the state after them is lost."""
        if self.best is not None:
            self._write(self.best, mark_best=True)
            self.best = None

    def _write(self, state: checkpoint.Snapshot, mark_best: bool = False) -> None:
        started = time.monotonic()
        self.first()
        keep = max(self.keep, self._since_start(state.step))
        checkpoint.write(self.folder, state, keep=keep, mark_best=mark_best)
        now = time.monotonic()
        self.next = now + max(GAP, SHARE * (now - started))

    def _since_start(self, step: int) -> int:
        """How many checkpoints there are from the newest at an end of an epoch to this one, both
        counted; 0 where it does not matter."""
        if self.back_to is None:
            return 0
        there = {int(p.name.removeprefix("step-")) for p in checkpoint.candidates(self.folder)}
        newest_first = sorted({step} | {s for s in there if s < step}, reverse=True)
        ends = (i for i, s in enumerate(newest_first, 1) if s % self.back_to == 0)
        return next(ends, 0)


def _whole(run: Training) -> checkpoint.Snapshot:
    """The state, which is never kept where it holds a number that is not finite.

    Raises:
        Diverged: it does.
    """
    finite.check(run)
    return checkpoint.snapshot(run)
