"""A process that has imported everything once and forks a child for each command line.

One line of JSON in, one out: a `genai` command of half a second would else wait three for imports.
A command is run to its end, or started and asked about later. Nothing here computes with torch
before a fork, so that no thread is lost by it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

LONGEST = 120.0  # seconds a command may take: what hangs is a defect


def main() -> None:
    for name in ("genai_cli", "hydra._internal", "omegaconf", "matplotlib.backends.backend_agg"):
        _everything(name)
    import torch

    torch.set_num_threads(1)
    _prepare("curve" in sys.argv)
    answers = os.fdopen(os.dup(1), "w")
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), file=answers, flush=True)
    os._exit(0)  # with nothing to tidy


def _everything(name: str) -> None:
    """Import a package with all in it that can be imported."""
    module = importlib.import_module(name)
    if not name.startswith("genai_cli"):
        return
    for found in pkgutil.walk_packages(module.__path__, f"{name}."):
        if found.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except ImportError:  # an extra that is not installed
            continue


def _prepare(curve: bool) -> None:
    """Compose what most commands choose; ``curve``: of a run's figures, 9 tenths of its time, there
    is the loss curve alone, and it is a number of epochs."""
    from matplotlib.figure import Figure

    from genai_cli.config import compose
    from genai_cli.evaluation import run_figures
    from genai_cli.figures import style
    from genai_cli.store import run_folder
    from genai_cli.sweeps.search import figure

    for words in (["model=vae"], ["model=vae", "schedule=cosine"]):
        compose.compose_cells("train", compose.parse_line(words))

    def draw(folder: Path, *about: Any) -> list[Path]:
        fig = Figure(figsize=(1, 1))
        fig.text(0.5, 0.5, str(len(run_folder.read_metrics(folder))))
        style.save(fig, folder / "loss_curve.png")
        return [folder / "loss_curve.png"]

    if curve:
        run_figures.draw = draw
        figure.plot_search = lambda *about: None
    gc.collect()
    gc.freeze()  # a child that collects copies no page of these


def _serve(ask: dict[str, Any]) -> dict[str, Any]:
    """Start ``ask["words"]`` in ``ask["cwd"]``, look at a command that was started, or `_run`."""
    if "poll" in ask:
        done, status = os.waitpid(ask["poll"], os.WNOHANG)
        return {"code": os.waitstatus_to_exitcode(status) if done else None}
    if ask.get("start"):
        child = os.fork()
        if child == 0:
            _child(ask)
        return {"pid": child}
    return _run(ask)


def _run(ask: dict[str, Any]) -> dict[str, Any]:
    """A command to its end; killed after ``ask["seconds"]``, if it says so, and sent each of
    ``ask["signals"]``, pairs of seconds and a number."""
    open(ask["out"], "w").close()  # a signal may come before the child has opened it
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(ask)
    due = sorted(ask.get("signals") or [])
    deadline = started + ask.get("seconds", LONGEST)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        while due and time.monotonic() >= started + due[0][0]:
            os.kill(child, due.pop(0)[1])
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": time.monotonic() - started}


def _child(ask: dict[str, Any]) -> None:
    code = 70  # an error that the command let through
    try:
        os.chdir(ask["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # not the server's
        if ask.get("terminal"):
            os.setsid()
            out = os.open(ask["terminal"], os.O_RDWR)  # it becomes the controlling one
        else:
            out = os.open(ask["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.environ.update(ask.get("env") or {})
        from genai_cli.cli.front_door import main as genai

        fault = None
        if ask.get("fault") is not None:
            from fault import Fault  # tests/torture

            fault = Fault(**ask["fault"])
            fault.install()
        code = genai(ask["words"])
        if fault is not None and ask.get("seen"):
            fault.root = os.devnull  # what follows is not the run's
            with open(ask["seen"], "w") as file:
                json.dump(fault.seen, file)
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
