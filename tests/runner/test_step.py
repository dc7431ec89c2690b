"""`trainer.step` through the real command: chosen, said, recorded, kept on resume."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from genai_cli.runner.console import Reporter
from genai_cli.store import run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = ("train", "model=autoencoder", "model.widths=[8]", "dataset.limit=70", "batch_size=32")


def weights(folder: Path) -> dict:
    last = (folder / "checkpoints" / "last").read_text().strip()
    return load_file(folder / "checkpoints" / last / "weights.safetensors")


def test_what_was_chosen_is_said_and_recorded(genai: Callable) -> None:
    done = genai(*WORDS, "epochs=2")
    described = run_folder.read_json(done.folders[0] / "run.json")
    assert (described["step_kind"], described["threads"]) == ("eager", 1)
    line = "step   eager: 6 steps are too few for compiling to pay"
    assert line in done.out
    assert line in (done.folders[0] / "train.log").read_text()


@pytest.mark.slow
def test_a_compiled_run_resumed_is_the_uninterrupted_one(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    words = (*WORDS, "epochs=3", "trainer.step=compiled")
    whole = genai(*words, "name=whole").folders[0]
    plain = Reporter.step

    def stopping(self: Reporter, now: object) -> None:
        plain(self, now)
        if now.step == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "step", stopping)
        assert genai(*words, "name=cut").code == 130
    done = genai("resume", "latest")
    assert done.code == 0
    assert "step   compiled: as before" in done.out
    cut = next(f for f in done.folders if "-cut-" in f.name)
    assert run_folder.read_json(cut / "run.json")["step_kind"] == "compiled"
    one, other = weights(whole), weights(cut)
    assert all(one[k].equal(other[k]) for k in one)


def test_a_kind_this_machine_lacks_is_refused_before_a_folder(genai: Callable) -> None:
    done = genai(*WORDS, "device=cpu", "trainer.step=graph")
    assert done.code == 2
    assert done.folders == []
    assert "use trainer.step=eager" in done.err
    assert genai(*WORDS, "trainer.step=fast").code == 2


def test_resume_takes_another_kind_with_a_note(genai: Callable) -> None:
    genai(*WORDS, "epochs=1")
    done = genai("resume", "latest", "trainer.step=eager", "epochs=2")
    assert done.code == 0
    assert "trainer.step: auto → eager   (the rest of the run" in done.out
