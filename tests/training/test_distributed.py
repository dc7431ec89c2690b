"""Several ranks train what one process trains: the same losses, the same weights, one folder."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from genai_cli.config import compose
from genai_cli.data.augment import Augment
from genai_cli.evaluation import run_figures, summary
from genai_cli.runner import spawn
from genai_cli.runner.prepare import Prepared, prepare, start
from genai_cli.runner.run import run
from genai_cli.store import run_folder
from genai_cli.training import loop
from genai_cli.training.distributed import Ranks

BATCHES = ("batch_size=32", "dataset.limit=65", "epochs=2")  # 32, 32 and 1: a rank without any
SMALL = {
    "mlp": ("model=mlp", "model.widths=[16]", "dataset.flip=true", "dataset.shift=1"),
    "autoencoder": ("model=autoencoder", "model.widths=[16]", "trainer.accumulate=3"),
    "vae": (
        "model=vae",
        "loss=gaussian",
        "model.widths=[16]",
        "trainer.ema=0.9",
    ),  # one sigma for the whole batch
    "bernoulli": ("model=vae", "loss=bernoulli", "model.dropout=0.2", "trainer.clip=0.5"),
    "flow": ("model=flow", "model.steps=2", "model.widths=[16]"),
    "latent_flow": ("model=latent_flow", "model.flow_steps=2", "model.flow_widths=[16]"),
    "gan": (
        *("model=gan", "model.widths=[16]", "model.penalty_every=2"),
        *("model.augment=[color]", "model.spectral_norm=true"),
    ),
    "ddpm": ("model=ddpm", "model.timesteps=20", "model.network=mlp", "model.widths=[16]"),
}
SINGLE = ("vae",)  # in single precision, too
TRAIN = """
import sys
from pathlib import Path
from genai_cli.training import loop
loop.EVALUATION_BATCH = 100  # two batches of validation and four of test examples: uneven, too
from genai_cli.evaluation import summary
from genai_cli.evaluation import run_figures
from genai_cli.cli.commands.train import run
run_figures.draw = lambda *a: []
codes = [run(Path(folder)) for folder in sys.argv[1:]]
assert not any(codes), codes
"""


@functools.cache
def prepared(*words: str) -> Prepared:
    config = compose.compose_cells("train", compose.parse_line(list(words)))[0].config
    return prepare(config, lambda _: None)


def written(folder: Path, ready: Prepared) -> Path:
    """A run folder, ready to be trained in."""
    folder.mkdir(parents=True)
    return start(ready, "genai train", folder)


def alone(folders: list[Path]) -> None:
    """Train one run after the other in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for room in (loop, summary):
            patch.setattr(room, "EVALUATION_BATCH", 100)  # as in TRAIN
        patch.setattr(run_figures, "draw", lambda *about: [])
        assert not any(run(folder) for folder in folders)


def together(folders: list[Path], world: int) -> None:
    """Train one run after the other, by ``world`` processes."""
    command = [sys.executable, "-c", TRAIN, *map(str, folders)]
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    own = [spawn.environment(rank, world, store.port) for rank in range(world)]
    processes = [subprocess.Popen(command, env=os.environ | env) for env in own]
    assert [p.wait(timeout=120) for p in processes] == [0] * world


def numbers(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in run_folder.read_metrics(folder)]


def weights(folder: Path) -> dict[str, Tensor]:
    checkpoints = folder / "checkpoints"
    path = checkpoints / (checkpoints / "last").read_text().strip()
    return load_file(path / "weights.safetensors") | load_file(path / "state.safetensors")


Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """``trained(FAMILY, WORLD, precision)``: that family's run, by 1, 2 or 3 processes, trained
    with the first run that is asked for of as many."""
    root = tmp_path_factory.mktemp("families")
    made: set[int] = set()

    def of(family: str, world: int, precision: str = "fp64", again: str = "") -> Path:
        if world not in made:
            ready = {f"{n}-fp64": prepared(*SMALL[n], *BATCHES, "precision=fp64") for n in SMALL}
            ready |= {f"{n}-fp32": prepared(*SMALL[n], *BATCHES) for n in SINGLE}
            if world == 2:
                ready["vae-fp32-again"] = ready["vae-fp32"]
            folders = [written(root / f"{n}-{world}", ready[n]) for n in ready]
            alone(folders) if world == 1 else together(folders, world)
            made.add(world)
        return root / f"{family}-{precision}{again}-{world}"

    return of


# two processes have one without a row of the last batch, three have two; of up to five it is held
# that their rows are the batch: test_rows_of_all_ranks_are_the_batch_in_order
RANKS = pytest.mark.parametrize(
    ("family", "world"),
    [(n, 2) for n in SMALL] + [pytest.param(n, 3, marks=pytest.mark.slow) for n in SMALL],
)


@RANKS
def test_a_run_is_that_of_one_process(trained: Trained, family: str, world: int) -> None:
    for precision, rtol in (("fp64", 1e-9), ("fp32", 1e-5))[: 1 + (family in SINGLE)]:
        one = numbers(trained(family, 1, precision))
        ranks = numbers(trained(family, world, precision))
        assert [list(row) for row in ranks] == [list(row) for row in one]
        assert ranks[-1]["images"] == 130
        for row, wanted in zip(ranks, one, strict=True):
            assert row == pytest.approx(wanted, rel=rtol, abs=rtol)

    states = [weights(trained(family, n)) for n in (world, 1)]
    torch.testing.assert_close(*states, rtol=1e-7, atol=1e-9)

    one, ranks = (
        run_folder.read_json(trained(family, n) / "summary.json")["metrics"] for n in (1, world)
    )
    assert list(ranks) == list(one)
    for name, entry in one.items():
        assert ranks[name]["value"] == pytest.approx(entry["value"], rel=1e-5, abs=1e-9)
        assert ranks[name]["n"] == entry["n"] == 360


def test_the_same_ranks_end_bit_equal_twice(trained: Trained) -> None:
    first, second = (trained("vae", 2, "fp32", again) for again in ("", "-again"))
    once, twice = weights(first), weights(second)
    assert numbers(first) == numbers(second)
    assert all(once[k].equal(twice[k]) for k in once)


def test_rows_of_all_ranks_are_the_batch_in_order() -> None:
    for world in range(1, 6):
        for n in range(1, 17):
            taken: list[int] = []
            for rank in range(world):
                ranks = Ranks(rank, world)
                rows = list(range(n))[ranks.take(n)]
                assert rows  # one that has none computes one, and leaves it out
                assert len(rows) == ranks.count(n)
                taken += [] if ranks.idle else rows
            assert taken == list(range(n))


def test_augmentation_of_some_rows_is_that_of_the_whole_batch() -> None:
    x = torch.rand(7, 1, 6, 6)
    augment = Augment(flip=True, shift=2)
    whole = augment(x, torch.Generator().manual_seed(1))
    rows = slice(2, 5)
    part = augment(x[rows], torch.Generator().manual_seed(1), len(x), rows)
    assert part.equal(whole[rows])


@pytest.mark.slow  # compiles on every rank
def test_compiled_ranks_train_as_one_process(tmp_path: Path) -> None:
    words = ("model=autoencoder", "model.widths=[16]", *BATCHES, "trainer.step=compiled")
    ready = prepared(*words)
    folders = [written(tmp_path / str(n), ready) for n in (1, 2)]
    alone(folders[:1])
    together(folders[1:], 2)
    assert run_folder.read_json(folders[1] / "run.json")["step_kind"] == "compiled"
    for row, wanted in zip(*map(numbers, folders), strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)
