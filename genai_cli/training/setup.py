"""From a settled config to a training state on a device, and from a run folder back to it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from genai_cli import __version__, build, runs
from genai_cli.data.dataset import Dataset, Spec
from genai_cli.data.sources import load as load_dataset
from genai_cli.errors import UserError, listing, nearest
from genai_cli.models.base import Model
from genai_cli.networks.layers import layers
from genai_cli.schema import TrainConfig, wrong_type
from genai_cli.training import checkpoint, optimizers
from genai_cli.training.ema import Ema
from genai_cli.training.init import initialise
from genai_cli.training.loop import PREPARED, Training
from genai_cli.training.randomness import derive, generator
from genai_cli.training.schedule import Schedule

SMALL_STEP = 30_000_000  # multiply-adds of a step below which one CPU thread is used


def load_data(cfg: TrainConfig) -> Dataset:
    return load_dataset(cfg.dataset, cfg.split_seed)


def pick_device(name: str) -> torch.device:
    """The device a config names; ``auto`` is CUDA, then Apple's MPS, then the CPU.

    Raises:
        UserError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={name}: torch finds no CUDA device here; use device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        most = torch.cuda.device_count() - 1
        raise UserError(f"device={name}: there is cuda:0 to cuda:{most} here")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device=mps: torch finds no Apple GPU here; use device=cpu")
    return device


@contextlib.contextmanager
def numerics(cfg: TrainConfig, threads: int | None = None) -> Iterator[None]:
    """Threads, default dtype and determinism of one run, put back afterwards.

    ``threads`` is what run.json recorded: sums in another order would differ in the last bit.
    """
    before, dtype = torch.get_num_threads(), torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        torch.set_num_threads(threads or cfg.trainer.threads or default_threads())
        torch.set_default_dtype(torch.float64 if cfg.precision == "fp64" else torch.float32)
        if cfg.trainer.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic)


def default_threads() -> int:
    """What torch found at its import, but no more than a Slurm job was given."""
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    threads = torch.get_num_threads()
    return min(threads, int(slurm)) if slurm.isdigit() and int(slurm) else threads


def threads_for(work: int, device: torch.device) -> int:
    """CPU threads for steps of ``work`` multiply-adds: one where sharing costs more than it gains.

    On two idle cores a second thread made a step of 8 million multiply-adds slower and one of 65
    million faster; on busy cores small steps with two threads ran up to 60 times slower, because
    each waits for the other many times a millisecond (benchmarks/threads.py).
    """
    return 1 if device.type == "cpu" and work < SMALL_STEP else default_threads()


def check_built(cfg: TrainConfig, data: Dataset) -> None:
    """Build model, optimizer and schedule on the meta device: every mistake shows, nothing is made.

    Raises:
        UserError: a key, type, value or combination that cannot be built.
    """
    with torch.device("meta"):
        model = build.build_model(cfg, data.spec)
    optimizers.check(cfg.optimizer)
    Schedule(cfg.schedule)
    pick_device(cfg.device)
    if cfg.precision == "fp64" and pick_device(cfg.device).type == "mps":
        raise UserError("precision=fp64: an Apple GPU has no double precision; use precision=fp32")
    if model.couples_examples and cfg.trainer.accumulate > 1:
        raise UserError(
            f"trainer.accumulate={cfg.trainer.accumulate} would change this loss, which looks at "
            "the whole batch (loss.sigma=optimal); use loss.sigma=learned or trainer.accumulate=1"
        )
    if cfg.init_from is not None:
        start_from(cfg, build.build_model(cfg, data.spec))
    if not len(data.val) and (cfg.monitor or "").startswith("val/"):
        raise UserError(f"monitor={cfg.monitor} needs a validation split; set monitor=null")
    if cfg.monitor not in (None, "val/loss"):
        _check_monitor(cfg, data)


def _check_monitor(cfg: TrainConfig, data: Dataset) -> None:
    """A column metrics.csv will have: known only from a real loss of one example."""
    model = build.build_model(cfg, data.spec)
    device = torch.device("cpu")
    one = data.train.batch(torch.arange(1))
    columns = []
    for player in model.players():
        terms = model.loss(one, model.noise(1, generator(0, "monitor", 0, device)), player.name)
        prefix = "" if len(model.players()) == 1 else f"{player.name}/"
        columns += [f"{split}/{prefix}{term}" for term in terms for split in ("val", "train")]
    if cfg.monitor not in columns:
        raise UserError(
            f"monitor={cfg.monitor} is no column of this run{nearest(str(cfg.monitor), columns)} "
            f"(choose from: {listing(columns)})"
        )


def new_model(cfg: TrainConfig, data: Spec, device: torch.device) -> Model:
    """Weights drawn on the CPU from the seed alone: the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(cfg.seed, "weights"))
        model = build.build_model(cfg, data)
        initialise(model, cfg.trainer.init)
    return model.to(device)


def start_from(cfg: TrainConfig, model: Model) -> None:
    """Load the weights of ``init_from``, averaged ones where that run has them.

    Raises:
        UserError: that run has no checkpoint, or its weights do not fit.
    """
    if cfg.init_from is not None:
        source = Path(cfg.init_from)
        averaged = config_of(source).trainer.ema is not None
        path = checkpoint.best_or_last(source / runs.CHECKPOINTS)
        checkpoint.load_weights(path, model, averaged)


def new_training(
    cfg: TrainConfig, data: Dataset, device: torch.device, resume: bool = False
) -> Training:
    """The state before step 0; a resumed run gets its weights from its own checkpoint."""
    model = new_model(cfg, data.spec, device)
    model.prepare(data.train.batch(torch.arange(min(PREPARED, len(data.train)))))
    if not resume:
        start_from(cfg, model)  # statistics of the data it was trained on included
    players = model.players()
    return Training(
        model=model,
        players=players,
        optimizers=optimizers.make(players, cfg.optimizer, device),
        schedule=Schedule(cfg.schedule),
        ema=None if cfg.trainer.ema is None else Ema(model, cfg.trainer.ema),
        steps_per_epoch=-(-len(data.train) // cfg.batch_size),
    )


def config_of(run: Path) -> TrainConfig:
    """The config in a run folder, type-checked like a fresh one.

    Raises:
        UserError: it is missing, damaged, or holds a key this version does not know.
    """
    return typed(runs.read_config(run), run / runs.CONFIG)


def typed(config: dict[str, Any], where: Path) -> TrainConfig:
    """Plain data as a `TrainConfig`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), config))
    except OmegaConfBaseException as error:
        said = str(error).splitlines()[0]
        raise UserError(
            wrong_type(error.full_key, said) if error.full_key else f"{where}: {said}"
        ) from None


def plain(cfg: TrainConfig) -> dict[str, Any]:
    """A config as plain data, for config.yaml."""
    return dataclasses.asdict(cfg)


def load_run(run: Path, which: str, ema: bool | None, device: str) -> runs.Loaded:
    """See `genai_cli.load`."""
    cfg = config_of(run)
    place = pick_device(device)
    data = load_data(cfg)
    same_data(run, data)
    folder = run / runs.CHECKPOINTS
    path = checkpoint.best_or_last(folder) if which == "best" else checkpoint.resolve(folder, which)
    model = build.build_model(cfg, data.spec)
    averaged = cfg.trainer.ema is not None if ema is None else ema
    if averaged and cfg.trainer.ema is None:
        raise UserError(f"{run} kept no averaged weights (trainer.ema=null); use ema=False")
    checkpoint.load_weights(path, model, averaged)
    return runs.Loaded(model.to(place).eval(), data.to(place), cfg)


def same_data(run: Path, data: Dataset) -> None:
    """Refuse to go on with other data than a run was started on.

    Raises:
        UserError: the content or the split differs from what run.json recorded.
    """
    recorded = runs.read_json(run / runs.RUN).get("dataset") or {}
    for key, now in (("hash", data.hash), ("split_hash", data.split_hash)):
        if recorded.get(key) not in (None, now):
            raise UserError(
                f"dataset {data.name} is not the one {run.name} was trained on "
                f"({key} {recorded[key]}, now {now}); put the old data back"
            )


def description(cfg: TrainConfig, data: Dataset, command: str) -> dict[str, Any]:
    """What run.json says when a run starts."""
    device = pick_device(cfg.device)
    model = build.build_model(cfg, data.spec)
    one = data.train.batch(torch.arange(1))
    made_of = layers(model, one, model.noise(1, generator(0, "layers")))
    work = 3 * cfg.batch_size * sum(layer.work for layer in made_of)  # backward is twice forward
    return {
        "schema": runs.SCHEMA,
        "status": "running",
        "command": command,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": _device_name(device),
        "precision": cfg.precision,
        "threads": cfg.trainer.threads or threads_for(work, device),
        "step_kind": "eager",
        "versions": {
            "genai_cli": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "cuda": torch.version.cuda if device.type == "cuda" else None,
        },
        "git": _git_commit(),
        "dataset": {
            "name": data.name,
            "hash": data.hash,
            "split_hash": data.split_hash,
            "event_shape": list(data.spec.event_shape),
            "n": data.n,
        },
        "seed": cfg.seed,
        "started": runs.now(),
        "finished": None,
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device} {platform.processor() or platform.machine()}".strip()


def _git_commit() -> str | None:
    """The commit of the code that ran, marked where files were changed; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # an installed package inside somebody else's repository
        return None
    try:
        git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        out = subprocess.run(git, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout.strip() or None if out.returncode == 0 else None
