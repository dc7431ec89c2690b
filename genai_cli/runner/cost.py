"""Measure the cost of one run in a separate process: ``python -m genai_cli.runner.cost``.

A fresh process, because memory that was once taken is not given back, and a process that has
failed (out of memory) takes nobody along. Nothing but a few steps, a validation pass and the work
at a run's end are done, in a folder that is removed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.evaluation.budget import SHARE
from genai_cli.system.subprocesses import python_command

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig

if TYPE_CHECKING:
    import torch

    from genai_cli.config.schema import TrainConfig

SECONDS = 2.0  # that steps are timed for, and a validation pass at most
WARM, MOST = 3, 200  # steps before the clock starts, and with it


@dataclass
class Cost:
    """Of one run, in seconds and bytes."""

    parameters: int
    threads: int  # of the CPU
    steps_per_epoch: int
    step: float  # one optimizer step
    timed: int  # how many were timed
    validation: float  # of one epoch
    start: float  # imports, until the data is there: once for each process
    begin: float  # the model, and what is measured to choose threads
    end: float  # measuring the test split, or what 10 s allow of it, drawing, saving
    whole: float  # the same with all of the test split
    memory: int  # of the process at its peak
    gpu: int | None  # of the GPU at its peak; None on a CPU
    checkpoint: int  # one of them
    files: int  # everything else in a run's folder

    def seconds(self, steps: int, epochs: int, figures: int) -> float:
        """A run without the start of its process; ``figures`` times drawn besides the end."""
        training = self.begin + steps * self.step + epochs * self.validation + figures * self.end
        return training + max(self.end, min(self.whole, SHARE * training))


class Failed(Exception):
    """A run of this shape does not even take a few steps here; says why."""


def measure_cost(config: Mapping[str, Any], environment: Mapping[str, str]) -> Cost:
    """Measure the cost of a resolved config in a new process with this environment.

    Raises:
        Failed: it raised, or was killed.
    """
    request = json.dumps({"config": config, "began": time.time()})
    done = subprocess.run(
        python_command("genai_cli.runner.cost"),
        input=request,
        capture_output=True,
        text=True,
        env=dict(environment),
        check=False,
    )
    if done.returncode < 0:
        raise Failed(f"killed by signal {-done.returncode} (out of memory?)")
    if done.returncode:
        raise Failed((done.stderr.strip().split("\n") or [""])[-1][:300])
    return Cost(**json.loads(done.stdout.strip().split("\n")[-1]))


def main() -> int:
    """Read a config on stdin, print its cost; a run's own words go nowhere."""
    from genai_cli.config import schema

    request = json.load(sys.stdin)
    cfg = schema.from_dict(request["config"], Path("plan"))
    with tempfile.TemporaryDirectory(prefix="genai-plan-") as folder:
        print(json.dumps(asdict(cost(cfg, Path(folder), request["began"]))))
    return 0


def cost(cfg: TrainConfig, folder: Path, began: float) -> Cost:
    """Take a few steps of ``cfg``, one validation pass and a run's end in an empty folder.

    Args:
        cfg: settled. ``trainer.step=auto`` is measured as eager: compiling is not tried.
        folder: for what a run writes.
        began: `time.time` when this process was started.
    """
    import dataclasses

    from genai_cli.config import schema
    from genai_cli.evaluation.budget import of_training
    from genai_cli.runner import description, lifecycle, load
    from genai_cli.runner.console import Reporter
    from genai_cli.store import run_folder
    from genai_cli.store.run_folder import MeasuredPart, measured_part
    from genai_cli.system import atomic_write
    from genai_cli.training import checkpoint, machine, setup
    from genai_cli.training.loop import EVALUATION_BATCH, calibrate, evaluation_terms, train
    from genai_cli.training.step_kinds import choose

    device = machine.pick_device(cfg.device)
    if cfg.trainer.step == "auto":
        cfg = dataclasses.replace(cfg, trainer=dataclasses.replace(cfg.trainer, step="eager"))
    run_info = description.description(cfg, data := load.load_data(cfg))
    with machine.numerics(cfg, run_info["threads"]):
        data = data.to(device)
        clock = _Clock(device)
        start, clock.since = time.time() - began, time.perf_counter()
        state = setup.new_training(cfg, data, device)
        chosen = choose.choose(state, data, cfg, device, run_info)
        cfg = dataclasses.replace(cfg, precision=chosen.precision)
        begin = clock.lap()
        steps = train(state, data, cfg, device, chosen.step)
        for _ in itertools.islice(steps, min(WARM, state.last_step(cfg) - 1)):
            pass
        clock.lap()
        timed, seconds = 0, 0.0
        while timed < MOST and seconds < SECONDS:
            taken = sum(1 for _ in itertools.islice(steps, 1 if seconds == 0 else 5))
            seconds += clock.lap()
            timed += taken
            if not taken:
                break
        calibrate(state, data, cfg.seed)
        passes = 0
        spent = clock.lap()
        batches = evaluation_terms(state.model, data.val, cfg.seed, "validation", cfg.precision)
        for _ in batches:
            passes += 1
            spent += clock.lap()
            if spent > SECONDS:
                break
        validation = spent / max(1, passes) * -(-len(data.val) // EVALUATION_BATCH)
        saved = checkpoint.save(folder / run_folder.CHECKPOINTS, state, keep=1, mark_best=True)
        size = _size(saved)
        run_folder.write_config(folder, schema.to_dict(cfg))
        atomic_write.write_json(folder / run_folder.RUN, run_info)
        with Reporter(folder / run_folder.LOG, quiet=True) as report:
            budget = of_training(0.0)
            lifecycle.finalize(folder, cfg, data, state, "finished", report, budget=budget)
        end = clock.lap()
        n, draws = len(data.test), state.model.test_draws
        part = measured_part(
            run_folder.read_json(folder / run_folder.SUMMARY).get("metrics")
        ) or MeasuredPart(n, draws)
        share = part.n * part.draws / max(1, n * draws)
    gpu = None
    if device.type == "cuda":
        import torch

        gpu = torch.cuda.max_memory_allocated(device)
    return Cost(
        parameters=run_info["parameters"],
        threads=chosen.threads,
        steps_per_epoch=state.steps_per_epoch,
        step=seconds / max(1, timed),
        timed=timed,
        validation=validation,
        start=start,
        begin=begin,
        end=end,
        whole=end + (1 - share) * budget.whole,
        memory=peak_memory(),
        gpu=gpu,
        checkpoint=size,
        files=_size(folder) - size,
    )


class _Clock:
    """Seconds between laps, everything that was asked of the device included."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.since = time.perf_counter()

    def lap(self) -> float:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        seconds, self.since = now - self.since, now
        return seconds


def peak_memory() -> int:
    """The most bytes this process has had in memory.

    On Linux from its own account: what `getrusage` says begins with the size of the process that
    started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
SAME_COST = (  # what a step, a checkpoint and a figure cost does not depend on these
    *("seed", "split_seed", "epochs", "name", "tags", "outputs", "monitor", "init_from"),
    *("schedule", "force_loss"),
)


def shape(cfg: TrainConfig) -> str:
    """Equal for configs whose steps cost the same."""
    config: dict[str, Any] = dataclasses.asdict(cfg)
    for key in SAME_COST:
        config.pop(key, None)
    config["optimizer"] = config["optimizer"]["name"]
    for key in ("max_steps", "patience", "min_delta", "figures_every", "save_every", "keep"):
        config["trainer"].pop(key, None)
    return json.dumps(config, sort_keys=True, default=str)
