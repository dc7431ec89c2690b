"""The time budget of measurements after training, and the test examples that fit it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_cli.store.run_folder import MeasuredPart

SHARE, SECONDS = 0.1, 10.0  # of the time of the training; at least
TEST = 2 / 3  # of that for the numbers; the figures have the rest
FEWEST = 8  # samples in a figure, however long one takes
PROBED, QUICK = 4, 0.05  # samples that are timed first, and seconds that show no need of fewer
LEAST = 1000  # test examples: a 95 % interval 3 times as wide as that of 10,000


@dataclass
class Budget:
    """Hold the seconds that numbers and figures at the end of a run may take.

    Attributes:
        seconds: in all; infinite where all is to be measured, however long it takes.
        part: to be measured, however long it takes: another run measured as much.
        whole: seconds that all test examples would take, once that is known.
    """

    seconds: float = math.inf
    part: MeasuredPart | None = None
    whole: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.monotonic() - self.began)

    def for_test(self) -> float:
        """Return the seconds that are left for the numbers."""
        return self.left() - (1 - TEST) * self.seconds if self.seconds < math.inf else math.inf


def of_training(seconds: float, measure: Any = None) -> Budget:
    """Return the budget of a run that was trained for ``seconds``.

    Args:
        seconds: of all its sessions.
        measure: of its run.json: ``all``, or {n, draws} where that is known before.
    """
    if isinstance(measure, Mapping):
        return Budget(part=MeasuredPart(int(measure["n"]), int(measure["draws"])))
    return Budget() if measure == "all" else Budget(max(SECONDS, SHARE * seconds))


def fit_to_budget(
    whole: MeasuredPart, each: float, once: float, seconds: float, size: int
) -> MeasuredPart:
    """Return the part of ``whole`` that fits: fewer draws first, then fewer examples.

    The variance of a mean over n examples with k draws each is (a + b / k) / n, a between the
    examples and b between the draws of one. For the n k passes that the time allows this is
    (a k + b) / (n k): least with one draw of every example, and with all examples the number is
    still ranked beside those of other runs (n is part of the ruler, draws are not). Only where
    one draw of all takes too long are fewer examples measured, `LEAST` at least.

    Args:
        whole: all of it.
        each: seconds of one draw of ``size`` examples,
        once: and of what is done once for each of them.
        seconds: that there are.
        size: of a batch: fewer examples are a multiple of it.
    """
    if whole.n <= 0 or -(-whole.n // size) * (whole.draws * each + once) <= seconds:
        return whole
    draws = int((seconds / -(-whole.n // size) - once) / max(each, 1e-9))
    if draws >= 1 or whole.n <= LEAST:
        return MeasuredPart(whole.n, min(max(draws, 1), whole.draws))
    batches = max(int(seconds / (each + once)), -(-LEAST // size))
    return MeasuredPart(min(batches * size, whole.n), 1)


def affordable_samples(n: int, draw: Callable[[int], object], seconds: float) -> int:
    """Return ``n``, or the fewer samples that fit into ``seconds``, by timing a few."""
    taken = math.inf
    for _ in range(2):  # the first call allocates
        began = time.monotonic()
        draw(PROBED)
        taken = min(taken, time.monotonic() - began)
        if taken * n / PROBED <= max(seconds, QUICK * n / PROBED):
            return n
    return max(FEWEST, int(PROBED * seconds / taken) // FEWEST * FEWEST)
