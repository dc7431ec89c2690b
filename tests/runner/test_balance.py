"""A balanced order is the epoch's own: resumed, stacked and streamed runs take the same steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = ("model=autoencoder", "dataset=digits", "dataset.limit=150", "batch_size=32", "device=cpu")
BIASED = ("dataset.rare=8", "dataset.rare_share=0.02", "dataset.balance=true", "model.widths=[8]")


def weights(folder: Path) -> dict[str, list[float]]:
    last = (folder / run_folder.CHECKPOINTS / "last").read_text().strip()
    found = load_file(folder / run_folder.CHECKPOINTS / last / "weights.safetensors")
    return {name: value.flatten().tolist() for name, value in found.items()}


def test_a_resumed_run_is_the_uninterrupted_one(genai: Callable) -> None:
    words = ("train", *WORDS, *BIASED)
    assert genai(*words, "epochs=3", "name=whole").code == 0
    assert genai(*words, "epochs=3", "trainer.max_steps=7", "name=part").code == 0
    whole, part = (next(Path("outputs").glob(f"*/*-{name}-*")) for name in ("whole", "part"))
    assert weights(part) != weights(whole)
    assert genai("resume", str(part), "trainer.max_steps=null").code == 0
    assert weights(part) == weights(whole)


def test_balance_changes_the_steps(genai: Callable) -> None:
    for name, value in (("yes", "true"), ("no", "false")):
        words = [w for w in BIASED if "balance" not in w] + [f"dataset.balance={value}"]
        assert genai("train", *WORDS, *words, "epochs=1", f"name={name}").code == 0
    yes, no = (next(Path("outputs").glob(f"*/*-{name}-*")) for name in ("yes", "no"))
    assert weights(yes) != weights(no)
    hashes = [
        run_folder.read_json(folder / run_folder.RUN)["dataset"]["split_hash"]
        for folder in (yes, no)
    ]
    assert hashes[0] == hashes[1]


def test_stacked_runs_take_the_orders_of_runs_alone(genai: Callable) -> None:
    words = ("train", "-m", *WORDS, *BIASED, "epochs=2", "seed=1,2")
    losses = []
    for pack in ("2", "none"):
        assert genai(*words, f"trainer.pack={pack}", f"outputs={pack}").code == 0
        cells = [path.parent for path in sorted(Path(pack).glob("*/*/*/metrics.csv"))]
        losses.append(
            [row["train/loss"] for cell in cells for row in run_folder.read_metrics(cell)]
        )
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
