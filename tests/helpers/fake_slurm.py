"""A Slurm that is a dictionary: what `launchers.queue` asks of the real commands, it answers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from genai_cli.launchers import queue


class FakeSlurm:
    """Jobs are PENDING until a test says otherwise.

    Attributes:
        scripts: those that were taken, by number.
        longest: MaxArraySize.
        limit: tasks that are taken at most; None: all.
        refuses: what sbatch says, instead of taking anything.
        mute: commands that give no answer; sbatch takes the job all the same.
        hidden: whether squeue does not show jobs yet.
        reason: why jobs are in their state.
        requeues: what scontrol says to the next requests to start a job again; None: no answer.
            Requests after these are granted.
    """

    def __init__(self, bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scripts: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.longest, self.limit, self.refuses = 1001, None, ""
        self.mute: set[str] = set()
        self.hidden, self.reason = False, "None"
        self.requeues: list[str | None] = []
        self.asked: list[str] = []
        bin.mkdir()
        for name in ("sbatch", "squeue", "scancel"):  # looked for, never started
            (bin / name).touch(0o755)
        monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
        monkeypatch.setattr(queue, "_run", self)
        monkeypatch.setattr(queue, "LATE", 0.0)
        monkeypatch.setattr(queue, "PAUSE", 0.0)

    def __call__(self, words: Sequence[str], text: str = "") -> object:
        self.asked.append(" ".join(words))
        if words[0] == "sbatch":
            return self._sbatch("--test-only" in words, text)
        if words[0] in self.mute:
            return None
        if words[:2] == ["scontrol", "requeue"]:
            message = self.requeues.pop(0) if self.requeues else ""
            return None if message is None else self._said("", message)
        if words[0] == "scontrol":
            return self._said(f"MaxArraySize            = {self.longest}\n")
        if words[0] == "squeue":
            return self._squeue(words)
        return self._said("")

    def tasks(self, number: str) -> int:
        found = re.search(r"--array=0-(\d+)", self.scripts[number])
        return int(found[1]) + 1 if found else 1

    def _sbatch(self, test: bool, text: str) -> object:
        if self.refuses:
            return self._said("", self.refuses)
        if test:
            return self._said("")
        number = str(len(self.scripts) + 11)
        self.scripts[number] = text
        if self.tasks(number) > self.longest:
            del self.scripts[number]
            return self._said("", "sbatch: error: Invalid job array specification")
        if self.limit is not None and sum(map(self.tasks, self.scripts)) > self.limit:
            del self.scripts[number]
            return self._said("", "sbatch: error: AssocMaxSubmitJobLimit")
        return None if "sbatch" in self.mute else self._said(f"{number}\n")

    def _squeue(self, words: Sequence[str]) -> object:
        if "-n" in words:
            name = f"#SBATCH --job-name={words[words.index('-n') + 1]}\n"
            known = [n for n, script in self.scripts.items() if name in script]
            return self._said("".join(f"{n}\n" for n in known if not self.hidden))
        number, _, task = words[words.index("-j") + 1].partition("_")
        tasks = [int(task)] if task else range(self.tasks(number))
        state = f"{self.states.get(number, 'PENDING')}|{self.reason}"
        lines = [f"{number}_{i}|{state}" for i in tasks]
        return self._said("\n".join(lines))

    def _said(self, out: str, error: str = "") -> object:
        return subprocess.CompletedProcess([], int(bool(error)), out, error)
