"""Log the metrics and figures of a run to TensorBoard, Weights & Biases or MLflow.

The files of the run folder are the truth, and nothing here may stop a run: what goes wrong is said
once, and that logger is left out from then on. A resumed run goes on in the same place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from genai_cli.config import schema
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import lock

TURN = 120.0  # seconds; MLflow makes its tables in about ten
IDS = "loggers.json"  # in the run folder: what each service calls the run


class Logger(Protocol):
    """One service. Made at the start of each session of a run."""

    def row(self, row: Mapping[str, float]) -> None:
        """A row of metrics.csv, as it is written."""

    def end(self, figures: Sequence[Path], status: str) -> None:
        """The last call of a session; figures are there if the run is done."""


class Loggers:
    """All loggers of a run.

    Args:
        folder: of the run.
        names: ``trainer.loggers``.
        config: of the run, plain.
        step: optimizer steps that the run has done.
        tell: is told, once for each, what went wrong.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        config: Mapping[str, Any],
        step: int,
        tell: Callable[[str], None],
    ) -> None:
        self.folder, self.tell = folder, tell
        self.live: dict[str, Logger] = {}
        for name in names:
            made = self._safely(name, lambda name=name: SERVICES[name](folder, config, step))
            if made is not None:
                self.live[name] = made

    def row(self, row: Mapping[str, float]) -> None:
        for name, logger in list(self.live.items()):
            self._safely(name, lambda logger=logger: logger.row(row))

    def end(self, status: str) -> None:
        """After the last file of the run, or at an interruption."""
        done = status in ("finished", "stopped")
        figures = sorted(self.folder.glob("*.png")) if done else []
        summary = (
            run_folder.read_json(self.folder / run_folder.SUMMARY) if done and self.live else {}
        )
        if summary:
            measured = {name: entry["value"] for name, entry in summary["metrics"].items()}
            self.row({"step": summary["step"], **measured})
        for name, logger in list(self.live.items()):
            self._safely(name, lambda logger=logger: logger.end(figures, status))
        self.live.clear()

    def _safely(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self.live.pop(name, None)
            message = " ".join(str(error).split())[:200] or type(error).__name__
            self.tell(f"note   {name}: {message}; left out from here on")
            return None


class TensorBoard:
    """Event files in ``RUN/tensorboard``; ``tensorboard --logdir outputs`` finds all runs."""

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what a killed session wrote after its last checkpoint is taken back
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 or None)
        if not step:
            lines = [f"    {key}: {value}" for key, value in schema.flatten(config).items()]
            self.writer.add_text("config", "\n".join(lines))

    def row(self, row: Mapping[str, float]) -> None:
        for name, value in _numbers(row).items():
            self.writer.add_scalar(name, value, int(row["step"]))
        self.writer.flush()

    def end(self, figures: Sequence[Path], status: str) -> None:
        import numpy as np
        from PIL import Image

        for path in figures:
            image = np.asarray(Image.open(path).convert("RGB"))
            self.writer.add_image(path.stem, image, dataformats="HWC")
        self.writer.close()


class WeightsAndBiases:
    """A run of the project $WANDB_PROJECT, or genai; its files lie in ``RUN/wandb``."""

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        import wandb

        self.folder = folder
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "genai",
            name=folder.name,
            id=_id(folder, "wandb") or _keep(folder, "wandb", wandb.util.generate_id()),
            resume="allow",
            dir=str(folder),
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
        )

    def row(self, row: Mapping[str, float]) -> None:
        self.run.log(_numbers(row), step=int(row["step"]))

    def end(self, figures: Sequence[Path], status: str) -> None:
        import wandb

        if figures:
            self.run.log({path.stem: wandb.Image(str(path)) for path in figures})
        self.run.finish(exit_code=int(status == "failed"))


class MLflow:
    """Logs to MLflow: experiment $MLFLOW_EXPERIMENT_NAME or genai, at $MLFLOW_TRACKING_URI.

    Without a server the runs are in ``mlflow.db`` beside the outputs' folders of days.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        from mlflow.tracking import MlflowClient

        where = os.environ.get("MLFLOW_TRACKING_URI")
        root = folder.parent.parent if run_folder.is_sweep(folder.parent) else folder.parent
        folder_of_outputs = root.parent.resolve()
        known = _id(folder, "mlflow")
        # the client makes the tables, and the first run the experiment: cells of a sweep that begin
        # together would make both twice, and all but one fail
        with _in_turn(folder_of_outputs / ".mlflow.lock"):
            self.client = MlflowClient(where or f"sqlite:///{folder_of_outputs / 'mlflow.db'}")
            if known is None:
                run = self.client.create_run(self._experiment(), run_name=folder.name)
        if known is None:
            known = _keep(folder, "mlflow", run.info.run_id)
            for key, value in schema.flatten(config).items():
                self.client.log_param(known, key, value)
        else:
            self.client.update_run(known, status="RUNNING")
        self.id = known

    def _experiment(self) -> str:
        """The experiment's number; it is made where it is not there."""
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "genai"
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return self.client.create_experiment(name)
            except MlflowException:  # of a server: somebody on another machine was first
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return experiment.experiment_id

    def row(self, row: Mapping[str, float]) -> None:

        from mlflow.entities import Metric

        now, step = int(1000 * time.time()), int(row["step"])
        metrics = [Metric(name, value, now, step) for name, value in _numbers(row).items()]
        self.client.log_batch(self.id, metrics)

    def end(self, figures: Sequence[Path], status: str) -> None:
        for path in figures:
            self.client.log_artifact(self.id, str(path))
        ended = {"failed": "FAILED", "interrupted": "KILLED"}.get(status, "FINISHED")
        self.client.set_terminated(self.id, ended)


@contextmanager
def _in_turn(path: Path) -> Iterator[None]:
    """One process after the other in the block; who waits for more than `TURN` goes on."""
    with open(path, "ab") as file:
        until = time.monotonic() + TURN
        with suppress(OSError):  # a disk without locks
            while not lock(file.fileno()) and time.monotonic() < until:
                time.sleep(0.05)
        yield


SERVICES: dict[str, Callable[[Path, Mapping[str, Any], int], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def _numbers(row: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name != "step"}


def _id(folder: Path, name: str) -> str | None:
    return run_folder.read_json(folder / IDS).get(name)


def _keep(folder: Path, name: str, known: str) -> str:
    atomic_write.write_json(folder / IDS, run_folder.read_json(folder / IDS) | {name: known})
    return known
