"""Other words for a key: they end as the key in configs, folders and messages."""

from __future__ import annotations

from collections.abc import Callable

from genai_cli.lecture import chapters
from genai_cli.lecture.plan import plan
from genai_cli.store import run_folder

WORDS = ("dataset=wine", "model=autoencoder", "model.widths=[4]", "bottleneck=2", "epochs=1")


def test_grad_clip_is_clip(genai: Callable) -> None:
    (run,) = genai("train", *WORDS, "trainer.grad_clip=0.5").folders
    assert run_folder.read_config(run)["trainer"]["clip"] == 0.5
    done = genai("resume", str(run), "epochs=2", "trainer.grad_clip=0.25")
    assert "note   trainer.clip: 0.5 → 0.25" in done.out
    assert run_folder.read_config(run)["trainer"]["clip"] == 0.25
    twice = genai("train", *WORDS, "trainer.grad_clip=1", "trainer.clip=2")
    assert (twice.code, twice.err) == (2, "genai train: trainer.clip is given twice; keep one\n")
    lecture = plan(chapters.select_experiments(["quick"]), ["trainer.grad_clip=1"])
    assert any("trainer.clip=1" in words for item in lecture for words in item.words)
