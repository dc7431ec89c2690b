"""Verbs on runs with damaged checkpoints: one line that names the file and what else there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import genai_cli
from genai_cli.errors import UserError

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = ("train", "model=autoencoder", "bottleneck=2", "model.widths=[8]", "epochs=3",
         "dataset.limit=60", "trainer.save_every=1", "trainer.keep=2")  # fmt: skip


@pytest.fixture
def run(genai: Callable) -> Path:
    folder = genai(*WORDS).folders[0]
    assert (folder / "checkpoints" / "best").read_text() == "step-000003\n"
    return folder


def flip(folder: Path, name: str) -> None:
    path = folder / "checkpoints" / name / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_flipped_bit_in_best_is_one_line_for_every_verb(genai: Callable, run: Path) -> None:
    flip(run, "step-000003")
    before = contents(run)
    at = f"{run}/checkpoints/step-000003 is damaged (weights.safetensors is not what was written"
    for words in (("sample", str(run), "n=2"), ("encode", str(run)), ("evaluate", str(run)),
                  ("train", *WORDS[1:], f"init_from={run}")):  # fmt: skip
        done = genai(*words)
        assert done.code == 2, (words, done.err)
        assert done.err.count("\n") == 1
        assert at in done.err
        assert done.err.endswith("name another one: checkpoint=step-000002\n")
    assert len(done.folders) == 1
    with pytest.raises(UserError, match="step-000003 is damaged"):
        genai_cli.load(run)
    assert genai("sample", str(run), "n=2", "checkpoint=step-000002").code == 0
    assert before.items() <= contents(run).items()


def test_no_whole_checkpoint_is_refused_and_nothing_is_written(genai: Callable, run: Path) -> None:
    for name in ("step-000002", "step-000003"):
        flip(run, name)
    before = contents(run)
    done = genai("resume", str(run), "epochs=4")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "holds no whole checkpoint (step-000003: weights.safetensors is not" in done.err
    assert contents(run) == before
