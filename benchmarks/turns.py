"""An entrant's side of a race: wait for the turn, time a round, tell the seconds. No script."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any


class Turns:
    """Talks to the race on what was standard output; whatever a library prints goes to the log.

    Attributes:
        rounds: turns to take, warm-up included.
    """

    def __init__(self, rounds: int, device: str) -> None:
        self.rounds, self.cuda, self.started = rounds, device.startswith("cuda"), 0.0
        self.line = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def say(self, **facts: Any) -> None:
        print(json.dumps(facts), file=self.line, flush=True)

    def ready(self, **facts: Any) -> None:
        """Set up: ``images`` a round handles, and what is known of ``version``, ``parameters``,
        ``flops`` (of training on one image), ``bytes`` (of a step)."""
        if self.cuda:
            import torch

            facts["device"] = torch.cuda.get_device_name()
        self.say(**facts)

    def _wait_for_device(self) -> None:
        if self.cuda:
            import torch

            torch.cuda.synchronize()

    def start(self) -> None:
        """Wait for the turn, then start the clock."""
        if not sys.stdin.readline():  # the race is over early: whoever ran it is gone
            os._exit(0)
        self._wait_for_device()
        self.started = time.perf_counter()

    def stop(self, seconds: float | None = None, scale: float = 1.0, **extras: float) -> None:
        """Stop the clock; ``seconds`` where the entrant knows better, ``scale`` where it did only
        a part."""
        self._wait_for_device()
        spent = time.perf_counter() - self.started
        self.say(seconds=(spent if seconds is None else seconds) * scale, **extras)

    def leave(self) -> None:
        """Tell the peak memory: of the device, else of this process or its largest child."""
        if self.cuda:
            import torch

            peak = torch.cuda.max_memory_allocated() / 2**20
        else:
            kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
            unit = 2**20 if sys.platform == "darwin" else 2**10
            peak = max(resource.getrusage(kind).ru_maxrss for kind in kinds) / unit
        self.say(peak_mib=round(peak))
