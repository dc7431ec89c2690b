"""Out of memory: the same batch in smaller pieces, until it fits or cannot be cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sweep_folders import QUICK, cells, table, weights

from genai_cli.launchers import memory
from genai_cli.store import run_folder
from genai_cli.system import atomic_write

pytestmark = pytest.mark.usefixtures("undrawn")

SWEEP = ("train", "-m", "model=autoencoder", "loss=mse,mae", *QUICK)


@pytest.fixture
def room_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A device on which so many examples fit at once, from a step on, for cells of loss=mae."""
    from genai_cli.models.autoencoder import Autoencoder

    plain = Autoencoder.loss

    def set_to(examples: int, step: int = 0, error: Exception | None = None) -> None:
        def full(self: object, batch: object, *more: object) -> dict:
            late = self.training and int(self.step) >= step
            if late and self.loss_name == "mae" and len(batch.x) > examples:
                raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            return plain(self, batch, *more)

        monkeypatch.setattr(Autoencoder, "loss", full)

    return set_to


def test_a_cell_is_cut_until_it_fits_and_is_the_same_run(
    room_for: Callable, genai: Callable
) -> None:
    room_for(8)
    done = genai(*SWEEP)
    assert done.code == 0, done.err
    first, second = cells(done.folders[0])
    assert run_folder.read_config(first)["trainer"]["accumulate"] == 1
    assert run_folder.read_config(second)["trainer"]["accumulate"] == 4
    described = run_folder.read_json(second / "run.json")
    assert described["status"] == "finished"
    assert described["out_of_memory"] == [
        {"step": 0, "accumulate": 2}, {"step": 0, "accumulate": 4},
    ]  # fmt: skip
    assert "in micro-batches of 8 (trainer.accumulate=4); batch_size stays 32" in done.err
    assert "in micro-batches of 8" in (second / "train.log").read_text()
    rows = table(done.folders[0])
    assert [row["note"] for row in rows] == ["", "out of memory: accumulate=4"]
    asked = genai("train", "-m", "model=autoencoder", "loss=mae", "seed=0,1", *QUICK,
                  "trainer.accumulate=4", "name=asked")  # fmt: skip
    other = cells(next(f for f in asked.folders if "-asked-" in f.name))[0]
    a, b = weights(second), weights(other)
    assert all(a[k].equal(b[k]) for k in b)


def test_it_goes_on_from_the_last_checkpoint(room_for: Callable, genai: Callable) -> None:
    room_for(16, step=2)
    done = genai(*SWEEP, "trainer.save_every=1")
    assert done.code == 0, done.err
    second = cells(done.folders[0])[1]
    assert run_folder.read_json(second / "run.json")["out_of_memory"] == [
        {"step": 2, "accumulate": 2}
    ]
    assert "going on after step 2 in micro-batches of 16" in done.err
    assert [int(row["step"]) for row in run_folder.read_metrics(second)] == [2, 4]


def test_a_stack_that_does_not_fit_is_trained_one_by_one(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.training.stack.stack import Stack

    def full(self: object, *more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(Stack, "train", full)
    words = ("model=autoencoder", "bottleneck=3", "seed=1,2,3", *QUICK)
    done = genai("train", "-m", *words, "trainer.pack=9")
    assert done.code == 0, done.err
    assert done.err.count("out of memory in a stack of 3 runs: going on alone") == 3
    assert [(row["status"], row["note"]) for row in table(done.folders[0])] == [
        ("finished", "out of memory: trained alone")
    ] * 3


def test_one_example_is_the_least(room_for: Callable, genai: Callable) -> None:
    room_for(0, step=1)
    done = genai(*SWEEP)
    assert done.code == 1
    second = cells(done.folders[0])[1]
    assert run_folder.read_config(second)["trainer"]["accumulate"] == 32
    assert [row["status"] for row in table(done.folders[0])] == ["finished", "failed"]
    assert "OutOfMemoryError" in table(done.folders[0])[1]["note"]


def test_another_error_is_not_tried_again(room_for: Callable, genai: Callable) -> None:
    room_for(8, error=KeyError("a word"))
    done = genai(*SWEEP)
    assert done.code == 1
    second = cells(done.folders[0])[1]
    assert run_folder.read_config(second)["trainer"]["accumulate"] == 1
    assert "out_of_memory" not in run_folder.read_json(second / "run.json")


def test_a_loss_of_the_whole_batch_is_not_cut(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.models.vae import VAE

    def full(self: object, batch: object, *more: object) -> dict:
        if self.training and len(batch.x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, batch, *more)

    plain = VAE.loss
    monkeypatch.setattr(VAE, "loss", full)
    words = ("model=vae", "loss=gaussian", "loss.sigma=optimal", "bottleneck=2,3", *QUICK)
    done = genai("train", "-m", *words)
    assert done.code == 1
    for cell in cells(done.folders[0]):
        assert run_folder.read_config(cell)["trainer"]["accumulate"] == 1


@pytest.mark.parametrize(
    ("said", "is_memory"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", True),
        ("RuntimeError: CUDA out of memory. Tried", True),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't"
         " allocate memory: you tried to allocate 9 bytes.", True),
        ("MemoryError", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", True),
        ("RuntimeError: mat1 and mat2 shapes cannot be multiplied", False),
        ("genai_cli.runner.lifecycle.Diverged: train/loss became nan", False),
        ("ValueError: two lines\nof no use", False),
    ],
)  # fmt: skip
def test_what_a_log_says_last_decides(said: str, is_memory: bool, tmp_path) -> None:
    frame = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    raise MemoryError\n'
    )
    (tmp_path / "train.log").write_text(f"{frame}{said}\n")
    atomic_write.write_json(tmp_path / "run.json", {"status": "failed"})
    assert memory.ran_out_of_memory(tmp_path) is is_memory
    atomic_write.write_json(tmp_path / "run.json", {"status": "interrupted"})
    assert not memory.ran_out_of_memory(tmp_path)
