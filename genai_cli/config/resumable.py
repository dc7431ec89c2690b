"""What a resumed run may change: every key of a config is safe, noted or refused."""

from __future__ import annotations

SAFE = (
    "epochs",
    "tags",
    "trainer.max_steps",
    "trainer.save_every",
    "trainer.keep",
    "trainer.figures_every",
    "trainer.loggers",
    "figures.name",
    "figures.scale",
    "dataset.path",  # the content's hash says whether it is still the same data
    "dataset.root",
    "dataset.workers",
    "dataset.memory_mb",
)
NOTED = (
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.betas",
    "optimizer.eps",
    "optimizer.rho",
    "optimizer.alpha",
    "schedule.horizon",
    "schedule.final",
    "schedule.every",
    "schedule.gamma",
    "schedule.factor",
    "schedule.patience",
    "schedule.min_delta",
    "schedule.floor",
    "device",
    "precision",
    "monitor",
    "trainer.devices",
    "trainer.accumulate",
    "trainer.clip",
    "trainer.patience",
    "trainer.rollback",
    "trainer.min_delta",
    "trainer.step",
    "trainer.threads",
    "trainer.deterministic",
)
WHY_NOT = {  # by key, or for all keys of a group
    "dataset": "the data is what the run is about",
    "model": "its weights would not fit, or its objective would be another",
    "bottleneck": "the weights would not fit",
    "optimizer": "its buffers would not fit",
    "schedule": "it is a function of all steps so far",
    "loss": "the losses so far would not be comparable",
    "force_loss": "the losses so far would not be comparable",
    "batch_size": "it numbers the steps",
    "seed": "it made the weights",
    "split_seed": "test examples would become training examples",
    "init_from": "it made the weights",
    "outputs": "the run stays in its folder",
    "name": "the run stays in its folder",
    "trainer.ema": "the average began with the run",
    "trainer.init": "it made the weights",
    "trainer.pack": "a stack is made when a sweep starts",
}
OTHERWISE = "the rest of the run is not as first planned"


def matches(key: str, names: tuple[str, ...]) -> bool:
    """Whether a key is among names, where ``optimizer.`` stands for all below it."""
    return key in names or any(n.endswith(".") and key.startswith(n) for n in names)


def why_not(key: str) -> str:
    """Why a key that is neither safe nor noted must stay as it is."""
    return WHY_NOT.get(key) or WHY_NOT.get(key.split(".")[0]) or "it is fixed"


def train_longer(run: str, epochs: int, horizon: float | None) -> str:
    """The command that goes on with a run; a schedule that was planned for ``horizon`` epochs, and
    for fewer, is stretched, since its rate is near 0 at their end."""
    stretched = f" schedule.horizon={epochs}" if horizon and horizon < epochs else ""
    return f"genai resume {run} epochs={epochs}{stretched}"
