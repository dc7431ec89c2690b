"""A small lecture of one's own, and commands that are only said to have run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from genai_cli.lecture import play
from genai_cli.store import run_folder
from genai_cli.system import atomic_write

TABLE = "defaults:\n  - override /dataset: diabetes\n  - override /model: mlp\nepochs: 1\n"
HEADER = """# @package _global_
# Does it learn?
# genai train experiment=lecture/{name}
{more}# Look at: loss_curve.png: whether it falls.
# Lesson: it does.
# Then: epochs=2
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write ``configs/experiment/lecture/NAME.yaml`` of one's own."""
    monkeypatch.setenv("GENAI_PATH", str(tmp_path / "lab"))

    def write(
        name: str, more: str = "", body: str = TABLE, question: str = "Does it learn"
    ) -> Path:
        path = tmp_path / "lab" / "configs" / "experiment" / "lecture" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER.format(name=name, more=more) + body)
        return path

    return write


class Said:
    """The commands that a lecture would have run, in order, and how each is to end."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.outputs: list[str] = []
        self.codes: dict[str, int] = {}  # of a command that has this word
        self.stop_at: int | None = None  # the command during which TERM comes

    def run(self, player: play.LectureRunner, home: Path, words: list[str]) -> int:
        if player.code:
            return player.code
        self.words.append(words)
        self.outputs.append(str(home))
        if words[0] == "train":
            folder = run_folder.claim(home, "mlp-diabetes")
            run_folder.write_config(
                folder, {"model": {"name": "mlp"}, "dataset": {"name": "diabetes"}}
            )
            atomic_write.write_json(
                folder / run_folder.RUN, {"status": "finished", "started": run_folder.now()}
            )
        if len(self.words) - 1 == self.stop_at:
            player.code = 143
            return 143
        return next((code for word, code in self.codes.items() if word in words), 0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """No command runs: what would have is written down, and a training leaves a run's folder."""
    told = Said()
    monkeypatch.setattr(play.LectureRunner, "_run", lambda *words: told.run(*words))
    assert "GENAI_OUTPUTS" not in os.environ
    return told
