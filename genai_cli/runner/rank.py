"""One rank of a run whose folder is written: ``python -m genai_cli.runner.rank FOLDER``.

Started by `spawn` on one machine, or by torchrun on several. It goes on from a checkpoint, if any.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from genai_cli.config import ranks
from genai_cli.system.library_messages import capture_messages
from genai_cli.system.preemption import Signals  # before anything slow: a signal may come early

LAST = 60.0  # seconds to save and end, for a rank whose starter is gone


def main(folder: Path) -> int:
    """The exit code of `runner.run.run`, or `ranks.PEER_LOST`."""
    try:
        return _train(folder)
    finally:
        if ranks.is_supervised():  # all is said and written: a late signal is nobody's business
            for number in Signals.HANDLED:
                signal.signal(number, signal.SIG_IGN)


def _train(folder: Path) -> int:
    with Signals() as signals, capture_messages():
        if ranks.is_supervised():
            threading.Thread(target=_outlive_nobody, daemon=True).start()
        from genai_cli.runner.run import run
        from genai_cli.store import run_folder
        from genai_cli.training import checkpoint
        from genai_cli.training.distributed import PeerLost

        begun = any(checkpoint.candidates(folder / run_folder.CHECKPOINTS))
        try:
            return run(folder, resume=begun, signals=signals)
        except KeyboardInterrupt:
            return 130
        except Exception as error:  # before the run could say so itself
            if isinstance(error, PeerLost) and ranks.is_supervised():
                return ranks.PEER_LOST
            message = " ".join(str(error).split())[:300]
            line = f"[rank {ranks.rank()}] {type(error).__name__}: {message}"
            print(f"genai: {folder} failed: {line}", file=sys.stderr)
            return 1


def _outlive_nobody() -> None:
    """When the starter dies its end of our stdin closes: save and end, as on TERM; and end anyway
    where the ranks wait for each other, which no flag ends."""
    while os.read(0, 1024):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
