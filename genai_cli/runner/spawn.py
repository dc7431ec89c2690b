"""Start and monitor the ranks of one run on this machine (``trainer.devices=N``).

torchrun does as much, but of a rank that dies it writes a page, and USR1 kills it. Here a dead
rank is one line, the others are ended, and every signal is passed on: they save and stop together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from genai_cli.config import ranks
from genai_cli.errors import UserError
from genai_cli.runner import lifecycle
from genai_cli.store import run_config, run_folder
from genai_cli.system.cpu import cores
from genai_cli.system.preemption import Signals
from genai_cli.system.subprocesses import python_command
from genai_cli.training import machine

GRACE = 10.0  # seconds for the others to notice that a rank is dead, and to keep what they can
POLL = 0.1
ORDERLY = (0, 130, 143)  # exit codes of a rank that ended as it should


def train(folder: Path, signals: Signals) -> int:
    """Train in ``folder`` with as many processes as its config says; the exit code of the run.

    Raises:
        UserError: this machine has not that many devices, or another process trains there.
    """
    cfg = run_config.load_config(folder)
    ranks.check(cfg, machine.pick_device(cfg.device))
    if run_folder.is_training(folder):
        raise UserError(f"{folder} is being trained by another process")
    import torch.distributed as dist

    n = cfg.trainer.devices
    # the ranks meet here: a port of our own, which nobody can take between choosing and using it
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(n):
            processes.append(_start(folder, rank, n, store.port))
        culprits = _watch(processes, signals)
    except KeyboardInterrupt:  # the second Ctrl-C
        lifecycle.set_status(folder, "interrupted")
        raise
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()
    return _verdict(folder, [p.returncode for p in processes], culprits, signals)


def environment(rank: int, n: int, port: int) -> dict[str, str]:
    """Return the environment variables of rank ``rank`` of ``n``, as torchrun sets them."""
    variables = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": n,
        "LOCAL_WORLD_SIZE": n,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,  # rank 0 opens no store: there is ours
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or max(1, cores() // n),
    }
    return {k: str(v) for k, v in variables.items()}


def _start(folder: Path, rank: int, n: int, port: int) -> subprocess.Popen[bytes]:
    variables = environment(rank, n, port) | {ranks.SUPERVISED: "1"}
    return subprocess.Popen(
        [*python_command("genai_cli.runner.rank"), str(folder)],
        env=os.environ | variables,
        stdin=subprocess.PIPE,  # never written to: closed when we die
        start_new_session=True,  # Ctrl-C comes to us alone, and from us to all
    )


def _watch(processes: Sequence[subprocess.Popen[bytes]], signals: Signals) -> list[int]:
    """Until all have ended; the ranks that ended badly by themselves."""
    passed_on, since, culprits = 0, 0.0, []
    while running := [p for p in processes if p.poll() is None]:
        if signals.code and not passed_on:
            passed_on = signals.code
            for process in running:
                process.send_signal(signal.SIGINT if passed_on == 130 else signal.SIGTERM)
        culprits = _culprits(processes)
        if culprits:
            since = since or time.monotonic()
            if time.monotonic() - since > GRACE:
                return culprits
        time.sleep(POLL)
    return _culprits(processes)


def _culprits(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    fine = (None, ranks.PEER_LOST, *ORDERLY)
    return [i for i, p in enumerate(processes) if p.poll() not in fine]


def _verdict(folder: Path, codes: Sequence[int], culprits: Sequence[int], signals: Signals) -> int:
    """The exit code of the run; what a dead rank could not write itself is written."""
    status = run_folder.read_json(folder / run_folder.RUN).get("status")
    if status in ("finished", "stopped"):  # whoever died then, its work was done
        waits = run_folder.unmeasured(run_folder.read_json(folder / run_folder.SUMMARY))
        waits = waits or bool(run_folder.read_json(folder / run_folder.RUN).get("measure"))
        return (signals.code or max(codes[0], 0) or 143) if waits else 0
    if all(code in ORDERLY for code in codes):
        return codes[0]
    early = (-signal.SIGINT, -signal.SIGTERM)  # a signal that came before a rank could listen
    if signals.code and all(codes[i] in early for i in culprits):
        lifecycle.set_status(folder, "interrupted")
        return signals.code
    if not culprits:
        _say(folder, "the ranks lost each other")
    for rank in culprits:
        if codes[rank] != 1:  # who left with 1 has said why
            _say(folder, f"rank {rank} {_describe_exit(codes[rank])}")
    lifecycle.set_status(folder, "failed")
    return 1


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"left with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _say(folder: Path, what: str) -> None:
    lifecycle.log(folder, what)
    line = f"genai: {folder} failed: {what}; go on with: genai resume {folder}"
    print(line, file=sys.stderr, flush=True)
