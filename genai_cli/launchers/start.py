"""Start the cells of a sweep by their launcher. Each is one file with one function `launch`.

``launch(folder, jobs, how, signals, data)`` returns when every job has ended, or soon after a
signal. A job is a list of run folders that are written whole: one, or a stack. What became of a
cell stands in its folder and nowhere else.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.launchers.settings import Launcher, Slurm
from genai_cli.store import run_folder
from genai_cli.system.preemption import Signals

MODULES = {"processes": "joblib"}  # launcher → its file, where the names differ


def check(launcher: Launcher, configs: Sequence[TrainConfig]) -> None:
    """Check the requirements of a launcher before a folder is claimed.

    Args:
        launcher: the launcher's settings.
        configs: of the jobs.

    Raises:
        UserError: this machine does not have it, or a config asks for more than it gives.
    """
    if not isinstance(launcher, Slurm):
        return
    for command in ("sbatch", "squeue", "scancel"):
        if not shutil.which(command):
            raise UserError(
                f"hydra/launcher=slurm: there is no {command} here; log in to the cluster, "
                "or use hydra/launcher=processes"
            )
    check_resources(launcher, configs)
    from genai_cli.launchers.queue import check_script
    from genai_cli.launchers.script import render_script

    # one of them: how many Slurm takes at once is found out in handing them in
    refused = check_script(render_script(launcher, Path.cwd() / "slurm" / "000.json", 1, "genai"))
    if refused:
        raise UserError(f"hydra/launcher=slurm: sbatch refuses the job: {refused}")


def check_resources(launcher: Slurm, configs: Sequence[TrainConfig]) -> None:
    """Check that ranks and threads of all runs fit the resources of one Slurm job.

    Raises:
        UserError: they do not.
    """
    sizes = {config.trainer.devices for config in configs}
    if launcher.nodes > 1 and len(sizes) > 1:  # torchrun is told in the script that all share
        raise UserError(
            f"trainer.devices={','.join(map(str, sorted(sizes)))} with hydra.launcher.nodes="
            f"{launcher.nodes}: the runs of an array have one number; submit one sweep for each"
        )
    for config in configs:
        _check_run_resources(launcher, config)


def _check_run_resources(launcher: Slurm, config: TrainConfig) -> None:
    devices, threads = config.trainer.devices, config.trainer.threads or 1
    if devices % launcher.nodes:
        raise UserError(
            f"trainer.devices={devices} cannot be shared by hydra.launcher.nodes={launcher.nodes}: "
            "it counts the devices of all nodes; set "
            f"trainer.devices={launcher.nodes * max(1, launcher.gpus)}"
        )
    here = devices // launcher.nodes
    if here * threads > launcher.cpus:
        raise UserError(
            f"hydra.launcher.cpus={launcher.cpus} is less than a run asks for: {here} × {threads} "
            f"threads; set hydra.launcher.cpus={here * threads}"
        )
    if 0 < launcher.gpus < here:
        raise UserError(
            f"trainer.devices={devices} is more than hydra.launcher.gpus={launcher.gpus} of "
            f"{launcher.nodes} node{'s' * (launcher.nodes > 1)}; set hydra.launcher.gpus={here}"
        )


def start(
    folder: Path,
    jobs: Sequence[Sequence[Path]],
    launcher: Launcher,
    signals: Signals,
    data: Mapping[Path, Dataset],
) -> bool:
    """Run ``jobs`` of the sweep in ``folder`` by the module of ``launcher``.

    Returns:
        Whether jobs go on without this process (Slurm's, where nobody waits for them): then their
        cells are not to be touched.

    Raises:
        UserError: this machine does not have what the launcher needs; nothing was started.
    """
    name = MODULES.get(launcher.name, launcher.name)
    module = importlib.import_module(f"genai_cli.launchers.{name}")
    return bool(module.launch(folder, jobs, launcher, signals, data))


def list_queued(folder: Path) -> dict[Path, str]:
    """Return the resolved paths of cells that a cluster may still train, and the job of each.

    Raises:
        UserError: the cluster does not answer.
    """
    if not (folder / "slurm").is_dir():
        return {}
    from genai_cli.launchers.submit import list_queued

    return list_queued(folder)


def submit_one(folder: Path, launcher: Launcher, signals: Signals) -> int:
    """Submit one written run as a job and return its exit code; 0 if nobody waits for it."""
    if start(folder, [[folder]], launcher, signals, {}):
        return signals.code
    status = run_folder.read_json(folder / run_folder.RUN).get("status")
    print(f"run    {folder}")
    return signals.code or int(status == "failed")
